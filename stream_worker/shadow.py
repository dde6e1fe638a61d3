"""A shadow: a second model that judges a sample of the stream, to be compared, never to be published."""

import contextlib
import logging
import queue
import threading
import zlib
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from model.classifier import Verdict
from model.drift import Recent, psi, reference_of
from model.labels import HEADS
from stream_worker.drift import LEAST, MEMORY, probabilities_of
from stream_worker.model import Model

logger = logging.getLogger(__name__)


class Shadow:
    """Compares a second model's verdicts with those of the live one, in a thread of its own.

    The live model never waits for it: a batch that comes while it is still at the one before is passed over. On a CPU
    it takes its share of the cores all the same.

    Args:
        share: of the articles that are sampled, by a hash of their text: copies of a text go the same way everywhere.
    """

    def __init__(self, model: Model, share: float, registry: CollectorRegistry) -> None:
        self._model = model
        self._below = share * 2**32
        self._waiting: queue.Queue[tuple[str, list[str], list[Verdict]]] = queue.Queue(maxsize=1)
        self._live = ""
        self.compared = Counter(
            "squall_shadow_compared_total", "Articles that the shadow judged too.", ["version"], registry=registry
        )
        self.agreed = Counter(
            "squall_shadow_agreed_total", "Articles to which both models gave one label.", ["head"], registry=registry
        )
        self.drift = Gauge(
            "squall_shadow_drift",
            "Population stability index of the shadow's recent answers against the live model's on the same articles.",
            ["head"],
            registry=registry,
        )
        for head in HEADS:
            self.agreed.labels(head)
        self.compared.labels(model.version)
        self._recent: dict[str, tuple[Recent, Recent]] = {}

    def offer(self, version: str, texts: Sequence[str], verdicts: Sequence[Verdict]) -> None:
        """Sample a batch of the live model, which has this version: another one is compared anew."""
        chosen = [i for i, text in enumerate(texts) if zlib.crc32(text.encode("utf-8", "replace")) < self._below]
        if chosen:
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait((version, [texts[i] for i in chosen], [verdicts[i] for i in chosen]))

    def run(self, stop: threading.Event) -> None:
        """Compare what is offered until ``stop`` is set; a model that fails ends the comparison, nothing else."""
        try:
            while not stop.is_set():
                try:
                    version, texts, verdicts = self._waiting.get(timeout=0.5)
                except queue.Empty:
                    continue
                self.compare(version, texts, verdicts)
        except Exception:
            logger.exception("shadow %s: gave up; the live model goes on", self._model.version)
            self.compared.clear()
            self.drift.clear()

    def compare(self, version: str, texts: Sequence[str], verdicts: Sequence[Verdict]) -> None:
        """Judge texts and count where both models agree."""
        if version != self._live:
            self._live = version
            self._recent = {head: (Recent(MEMORY), Recent(MEMORY)) for head in HEADS}
            self.drift.clear()
        own = self._model.classify(texts)
        self.compared.labels(self._model.version).inc(len(texts))
        for head, (live, shadow) in self._recent.items():
            pairs = zip(own, verdicts, strict=True)
            self.agreed.labels(head).inc(sum(getattr(a, head).label == getattr(b, head).label for a, b in pairs))
            live.add(reference_of(probabilities_of(verdicts, head)).labels)
            shadow.add(reference_of(probabilities_of(own, head)).labels)
            if live.texts >= LEAST:
                self.drift.labels(head).set(psi(live.counts, shadow.counts))
