"""The arithmetic of surprise: how improbable is so much bad news, given what is normal for a series?

Pure functions of numbers. The model: negative articles per hour are negative-binomial, with a rate that is learned by a
Gamma prior and exponential forgetting (West and Harrison 1997), and a dispersion from the forgetting variance of hourly
counts, as in the quasi-Poisson family of outbreak detection (Farrington et al. 1996, Noufaily et al. 2013).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import betainc, gammaincinv

HALF_LIFE_HOURS = 7 * 24.0
"""After so many hours the past counts half: long enough for a weekly rhythm, short enough to follow a season."""

FORGET = 0.5 ** (1.0 / HALF_LIFE_HOURS)
"""What one hour leaves of the past."""

PRIOR_HOURS = 4.0
"""How many hours of observation the prior is worth."""

PRIOR_RATE = 0.25
"""Negative articles an hour that the prior expects of a series never seen before."""

PRIOR_DISPERSION = 1.5
DISPERSION_HOURS = 24.0
"""Variance over mean that is assumed at first, and how many hours of observation that assumption is worth."""

SURPRISE_MAX = 300.0
"""The smallest probability that a float holds is about 1e-308."""


class Baseline(NamedTuple):
    """What is normal for a series."""

    rate: float
    """Negative weight an hour."""
    dispersion: float
    """Variance over mean of an hour's weight, at least 1."""
    evidence: float
    """Negative weight that the rate was learned from, the prior's included."""


class Expectation(NamedTuple):
    """What the baseline expects of a stretch of time: mean and variance of the negative weight."""

    mean: float
    variance: float


def baseline(exposure: float, mass: float, squares: float) -> Baseline:
    """The baseline of forgetting sums over absorbed hours.

    Args:
        exposure: sum of hours.
        mass: sum of their negative weight.
        squares: sum of their squared negative weight.
    """
    evidence = mass + PRIOR_HOURS * PRIOR_RATE
    rate = evidence / (exposure + PRIOR_HOURS)
    raw = PRIOR_DISPERSION
    if exposure > 0 and mass > 0:
        mean = mass / exposure
        raw = max(1.0, (squares / exposure - mean * mean) / mean)
    dispersion = (exposure * raw + DISPERSION_HOURS * PRIOR_DISPERSION) / (exposure + DISPERSION_HOURS)
    return Baseline(rate, dispersion, evidence)


def expect(normal: Baseline, hours: float) -> Expectation:
    """Mean and variance over a stretch of ``hours``: counting noise and dispersion, and the rate's own uncertainty."""
    mean = normal.rate * hours
    return Expectation(mean, normal.dispersion * mean + mean * mean / normal.evidence)


def surprise(observed: float, expected: Expectation) -> float:
    """-log10 of the probability of ``observed`` or more under the negative binomial of this mean and variance.

    The tail is a regularised incomplete beta function, so that discounted weights need not be whole numbers.
    """
    if observed <= 0:
        return 0.0
    size = expected.mean**2 / (expected.variance - expected.mean)
    tail = float(betainc(observed, size, expected.mean / (expected.mean + size)))
    return min(SURPRISE_MAX, -float(np.log10(tail))) if tail > 0 else SURPRISE_MAX


def upper(expected: Expectation, probability: float = 0.99) -> float:
    """The quantile below which the weight stays with this probability, by the Gamma distribution of equal moments."""
    shape = expected.mean**2 / expected.variance
    return float(gammaincinv(shape, probability)) * expected.variance / expected.mean


def capped_sum(weights: dict[str, float]) -> float:
    """The weight of all sources, where the loudest one counts at most twice what all others do together.

    One source that repeats itself is not a surge: news that matters is reported by several.
    """
    total, loudest = sum(weights.values()), max(weights.values(), default=0.0)
    others = total - loudest
    return others + min(loudest, 2 * others)
