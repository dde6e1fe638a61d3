"""A second model beside the live one, and the drift of the live one's verdicts."""

import threading
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from model.classifier import Verdict
from model.drift import Reference
from stream_worker.drift import Drift
from stream_worker.shadow import Shadow
from tests.services.ports import wait_until
from tests.stream_worker.articles import WordModel


class Pessimist(WordModel):
    """Finds everything bad."""

    version = "pessimist-1"

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        return super().classify([f"bad {text}" for text in texts])


class Broken(WordModel):
    """Fails at its first text."""

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        raise RuntimeError("no memory left")


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    found = registry.get_sample_value(name, labels)
    return -1.0 if found is None else found


def test_a_shadow_counts_where_both_models_agree() -> None:
    registry = CollectorRegistry()
    shadow = Shadow(Pessimist(), 1.0, registry)
    texts = ["bad news"] * 300 + ["good news"] * 300
    shadow.compare("words-1", texts, WordModel().classify(texts))

    assert value(registry, "squall_shadow_compared_total", version="pessimist-1") == 600
    assert value(registry, "squall_shadow_agreed_total", head="sentiment") == 300
    assert value(registry, "squall_shadow_agreed_total", head="topic") == 600
    assert value(registry, "squall_shadow_drift", head="sentiment") > 0.25
    assert value(registry, "squall_shadow_drift", head="topic") == pytest.approx(0.0)


def test_a_shadow_judges_a_share_of_the_stream() -> None:
    registry = CollectorRegistry()
    shadow = Shadow(WordModel(), 0.2, registry)
    stop = threading.Event()
    thread = threading.Thread(target=shadow.run, args=(stop,))
    thread.start()
    texts = [f"headline {number}" for number in range(5_000)]
    shadow.offer("words-1", texts, WordModel().classify(texts))
    wait_until(lambda: value(registry, "squall_shadow_agreed_total", head="topic") > 0, 10, "a comparison")
    stop.set()
    thread.join(5)
    assert 800 < value(registry, "squall_shadow_compared_total", version="words-1") < 1_200


def test_a_shadow_that_is_busy_passes_a_batch_over_and_one_that_fails_gives_up() -> None:
    shadow = Shadow(Broken(), 1.0, CollectorRegistry())
    verdicts = WordModel().classify(["bad news"])
    for _ in range(3):
        shadow.offer("words-1", ["bad news"], verdicts)  # nobody takes them: none of these calls may wait
    shadow.run(threading.Event())  # returns although nothing stops it


def test_verdicts_unlike_those_of_the_reference_are_drift() -> None:
    registry = CollectorRegistry()
    drift = Drift(registry)
    reference = {
        "sentiment": Reference([300, 400, 300], [0] * 9 + [1000]),
        "relevance": Reference([0, 1000], [0] * 9 + [1000]),
    }
    texts = ["bad news"] * 400 + ["good news"] * 200
    drift.judged("words-1", reference, WordModel().classify(texts))

    assert value(registry, "squall_model_drift", head="sentiment") > 0.25
    assert value(registry, "squall_model_drift", head="relevance") < 0.01
    assert value(registry, "squall_model_confidence_drift", head="sentiment") < 0.01


def test_of_a_few_articles_nothing_is_said_and_another_model_begins_anew() -> None:
    registry = CollectorRegistry()
    drift = Drift(registry)
    reference = {"sentiment": Reference([300, 400, 300], [0] * 9 + [1000])}
    drift.judged("words-1", reference, WordModel().classify(["bad news"] * 499))
    assert value(registry, "squall_model_drift", head="sentiment") == -1.0
    drift.judged("words-1", reference, WordModel().classify(["bad news"] * 10))
    assert value(registry, "squall_model_drift", head="sentiment") > 0.25
    drift.judged("words-2", reference, [])
    assert value(registry, "squall_model_drift", head="sentiment") == -1.0
