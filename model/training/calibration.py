"""Calibration: a probability of 0.8 should be right in eight of ten cases (Guo et al. 2017, arXiv:1706.04599)."""

import math

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Of equal width, as in Guo et al."""
_RANGE = (math.log(0.25), math.log(8.0))
_GOLDEN = (math.sqrt(5) - 1) / 2


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature in 0.25 to 8 that makes the labels most probable; 1 without any label.

    The negative log-likelihood has one minimum in 1/temperature, so that golden-section search finds it.

    Args:
        logits: (texts, labels).
        labels: (texts,), positions.
    """
    if not len(labels):
        return 1.0
    low, high = _RANGE
    while high - low > 1e-3:
        first, second = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if _loss(logits, labels, math.exp(first)) < _loss(logits, labels, math.exp(second)):
            high = second
        else:
            low = first
    return round(math.exp((low + high) / 2), 3)


def _loss(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float) -> float:
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(1, keepdims=True)
    normaliser = np.log(np.exp(scaled).sum(1))
    return float((normaliser - scaled[np.arange(len(labels)), labels]).mean())


def bins_of(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin, 0 to :data:`BINS` - 1, of each probability."""
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The expected calibration error: how far confidence and accuracy lie apart, mean over bins of confidence."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    bins = bins_of(confidence)
    error = 0.0
    for number in np.unique(bins):
        inside = bins == number
        error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return float(error)
