"""Whether the model's recent verdicts are still like those it gave when it was measured, as metrics."""

from collections.abc import Mapping, Sequence

import numpy as np
from prometheus_client import CollectorRegistry, Gauge

from model.classifier import Verdict
from model.drift import Recent, Reference, psi, reference_of
from model.labels import HEADS

MEMORY = 5_000
"""Recent articles that are looked at: some hours of a busy stream."""
LEAST = 500
"""Articles below which nothing is said: of fewer, chance alone moves 20 topics by 0.1."""


class Drift:
    """The drift of the live model's verdicts; one model at a time."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._labels = Gauge(
            "squall_model_drift",
            "Population stability index of the recent answers against those on the news the model was measured on.",
            ["head"],
            registry=registry,
        )
        self._confidence = Gauge(
            "squall_model_confidence_drift",
            "Population stability index of the recent answers' probabilities, against the same reference.",
            ["head"],
            registry=registry,
        )
        self._version = ""
        self._recent: dict[str, tuple[Recent, Recent]] = {}

    def judged(self, version: str, reference: Mapping[str, Reference], verdicts: Sequence[Verdict]) -> None:
        """Count a batch's verdicts; a model without a reference, from before there was one, has no drift."""
        if version != self._version:
            self._version = version
            self._recent = {head: (Recent(MEMORY), Recent(MEMORY)) for head in reference}
            self._labels.clear()
            self._confidence.clear()
        if not verdicts:
            return
        for head, (labels, confidence) in self._recent.items():
            found = reference_of(probabilities_of(verdicts, head))
            labels.add(found.labels)
            confidence.add(found.confidence)
            if labels.texts >= LEAST:
                self._labels.labels(head).set(psi(reference[head].labels, labels.counts))
                self._confidence.labels(head).set(psi(reference[head].confidence, confidence.counts))


def probabilities_of(verdicts: Sequence[Verdict], head: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """One head's probabilities, (verdicts, labels)."""
    found = [getattr(verdict, head).probabilities for verdict in verdicts]
    return np.array([[row.get(label, 0.0) for label in HEADS[head]] for row in found])
