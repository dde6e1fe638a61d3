"""How far a distribution has moved from another: the population stability index, and what it is measured on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

SMOOTHING = 0.5
"""Added to each count (Jeffreys' prior): a label that has not occurred yet is rare, not impossible."""
CONFIDENCE_BINS = 10
"""Of equal width, from 0 to 1."""


class Reference(Struct, frozen=True):
    """What a model answered on the news that it was measured on: the one head's counts."""

    labels: list[int]
    """Answers by label, in the order of the logits."""
    confidence: list[int]
    """Answers by the probability that the model gave them, in :data:`CONFIDENCE_BINS` bins."""


def reference_of(probabilities: NDArray[np.float64]) -> Reference:
    """Counts of one head's answers.

    Args:
        probabilities: (texts, labels), calibrated.
    """
    labels = np.bincount(probabilities.argmax(1), minlength=probabilities.shape[1])
    bins = np.minimum((probabilities.max(1) * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    return Reference(labels.tolist(), np.bincount(bins, minlength=CONFIDENCE_BINS).tolist())


def psi(reference: Sequence[float] | NDArray[Any], observed: Sequence[float] | NDArray[Any]) -> float:
    """The population stability index of two histograms with the same bins, 0 for equal shares.

    The sum over bins of (observed - reference) ln(observed / reference), the symmetric Kullback-Leibler divergence.
    By convention (Siddiqi 2006, Credit Risk Scorecards) below 0.1 nothing has moved, above 0.25 a model wants a look.

    Args:
        reference: count of each bin.
        observed: count of each bin; none at all gives 0.
    """
    counts = np.asarray([reference, observed], np.float64)
    if not counts.sum(1).all():
        return 0.0
    counts += SMOOTHING
    shares = counts / counts.sum(1, keepdims=True)
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


class Recent:
    """A histogram that forgets: of the last ``memory`` texts, about, however many there have been."""

    def __init__(self, memory: int) -> None:
        self._keep = 1 - 1 / memory
        self.counts: NDArray[np.float64] = np.zeros(0)

    def add(self, counts: Sequence[int]) -> None:
        """Add one batch's counts."""
        added = np.asarray(counts, np.float64)
        self.counts = added if not self.counts.size else self.counts * self._keep ** added.sum() + added

    @property
    def texts(self) -> float:
        """How many texts it holds, those half forgotten by half."""
        return float(self.counts.sum())
