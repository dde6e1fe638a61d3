"""The classifier at run time, on the bundle that ships."""

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.messages import RELEVANCES, SENTIMENTS
from model.classifier import DECIMALS, Classifier, calibrated, run_bound, run_plain, usable_cores
from model.labels import TOPICS
from tests.model.conftest import SHIPPED

HEADLINES = [
    "Lender collapses after run on deposits, shares suspended",
    "Chipmaker raises forecast as quarterly profit beats estimates",
    "Central bank keeps interest rates unchanged",
    "Airline to cut 10,000 jobs after record loss",
]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(SHIPPED)


def test_bad_and_good_news_are_told_apart(classifier: Classifier) -> None:
    labels = [verdict.sentiment.label for verdict in classifier.classify(HEADLINES)]

    assert labels == ["negative", "positive", "neutral", "negative"]


def test_topics_are_told_apart(classifier: Classifier) -> None:
    labels = [verdict.topic.label for verdict in classifier.classify(HEADLINES)]

    assert labels[:3] == ["Financials", "Earnings", "Fed | Central Banks"]


def test_a_desk_wants_news_of_markets_and_not_of_sport(classifier: Classifier) -> None:
    sport = "Striker scores twice as United win the derby. Fans celebrated late into the night."

    verdicts = classifier.classify([*HEADLINES, sport])

    assert [verdict.relevance.label for verdict in verdicts] == ["relevant"] * 4 + ["irrelevant"]


def test_every_head_gives_all_its_labels_in_order_and_they_add_up_to_one(classifier: Classifier) -> None:
    verdict = classifier.classify(HEADLINES[:1])[0]

    for judgement, labels in (
        (verdict.sentiment, SENTIMENTS),
        (verdict.topic, TOPICS),
        (verdict.relevance, RELEVANCES),
    ):
        assert tuple(judgement.probabilities) == labels
        assert sum(judgement.probabilities.values()) == pytest.approx(1, abs=1e-9)
        assert judgement.label == max(judgement.probabilities, key=judgement.probabilities.__getitem__)


def test_an_embedding_has_length_one_and_is_near_that_of_a_copy(classifier: Classifier) -> None:
    texts = [HEADLINES[0], "Lender fails after a run on its deposits; shares halted", HEADLINES[1]]

    first, copy, other = (verdict.embedding for verdict in classifier.classify(texts))

    assert first.dtype == np.float32
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-3)
    assert first @ copy > first @ other


def test_verdicts_come_in_the_order_of_the_texts(classifier: Classifier) -> None:
    texts = [headline * (1 + number % 5) for number, headline in enumerate(HEADLINES * 40)]

    together = classifier.classify(texts)
    alone = [classifier.classify([text])[0] for text in texts[:12]]

    assert len(together) == len(texts)
    for a, b in zip(together, alone, strict=False):
        assert a.embedding @ b.embedding > 0.98  # int8 lets batch-mates shift it a little


@pytest.mark.parametrize("text", ["", " ", "\ud800", "\x00", "😀", "日本銀行", "a" * 1_000_000, "word " * 200_000])
def test_any_text_gets_a_verdict(classifier: Classifier, text: str) -> None:
    assert classifier.classify([text])[0].sentiment.label in SENTIMENTS


def test_no_texts_get_no_verdicts(classifier: Classifier) -> None:
    assert classifier.classify([]) == []


def test_a_text_of_a_million_characters_costs_no_more_than_a_long_one(classifier: Classifier) -> None:
    started = time.perf_counter()
    classifier.classify(["shares fall " * 90_000] * 20)

    assert time.perf_counter() - started < 5


def test_a_classifier_says_what_it_is(classifier: Classifier) -> None:
    assert classifier.version == classifier.manifest.version
    assert classifier.languages == {"en"}
    assert classifier.topics == TOPICS


def test_one_thread_gives_the_same_verdicts_as_many() -> None:
    one, many = (Classifier.load(SHIPPED, threads=threads).classify(HEADLINES * 10) for threads in (1, 4))

    assert [verdict[:3] for verdict in one] == [verdict[:3] for verdict in many]


def test_neither_torch_nor_transformers_are_needed() -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "import model.benchmark, model.language, model.lines\n"
        "from model.classifier import Classifier\n"
        f"Classifier.load(Path({str(SHIPPED)!r})).classify(['Oil falls'])\n"
        "model.language.detect('Oil falls')\n"
        "print(sorted({'torch', 'transformers', 'pandas', 'onnx', 'sklearn'} & set(sys.modules)))\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_a_process_has_at_least_one_core() -> None:
    assert usable_cores() >= 1


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), min_size=1, max_size=20),
    st.floats(0.25, 8),
)
def test_calibrated_probabilities_keep_the_order_and_add_up(logits: list[list[float]], temperature: float) -> None:
    array = np.array(logits, np.float32)

    probabilities = calibrated(array, temperature)

    assert np.allclose(probabilities.sum(1), 1, atol=1e-9)
    assert (probabilities >= 0).all()
    sharper = np.take_along_axis(probabilities, array.argmax(1)[:, None], 1)
    assert (sharper >= probabilities.max(1, keepdims=True) - 10**-DECIMALS).all()


def test_bound_inputs_and_outputs_give_what_a_plain_run_gives() -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(SHIPPED / "model.int8.onnx"), providers=["CPUExecutionProvider"])
    ids = np.array([[101, 3514, 4212, 102], [101, 9944, 102, 0]])
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64), "token_type_ids": np.zeros_like(ids)}
    outputs = ["sentiment", "embedding"]
    for plain, bound in zip(run_plain(session, inputs, outputs), run_bound(session, inputs, outputs), strict=True):
        np.testing.assert_array_equal(plain, bound)
