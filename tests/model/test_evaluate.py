"""Figures: accuracy, macro-F1, calibration."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.classifier import calibrated
from model.training.calibration import calibration_error, fit_temperature
from model.training.evaluate import accuracy, confusion, evaluate_bundle, figures, held_out, interval, macro_f1, table


def test_macro_f1_weighs_rare_labels_like_common_ones() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    predicted = np.array([0, 0, 0, 1, 1, 0])

    assert macro_f1(confusion(predicted, labels, 4)) == pytest.approx((0.75 + 0.5) / 2)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_figures_of_a_confusion_matrix_are_those_of_the_definition(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    counts = confusion(predicted, labels, 4)
    scores = [
        2 * ((predicted == x) & (labels == x)).sum() / ((predicted == x).sum() + (labels == x).sum())
        for x in np.union1d(predicted, labels)
    ]
    assert macro_f1(counts) == pytest.approx(np.mean(scores))
    assert accuracy(counts) == pytest.approx((predicted == labels).mean())


def test_an_interval_is_as_wide_as_theory_says_and_the_same_every_time() -> None:
    counts = np.array([[450, 50], [50, 450]])
    low, high = interval(counts, accuracy)
    assert (high - low) / 2 == pytest.approx(1.96 * (0.9 * 0.1 / 1_000) ** 0.5, rel=0.15)
    assert interval(counts, accuracy) == (low, high)


def test_figures_of_a_perfect_and_a_constant_answer() -> None:
    labels = np.array([0, 1, 0, 1])
    perfect = figures(np.eye(2)[labels], labels)
    constant = figures(np.array([[0.9, 0.1]] * 4), labels)

    assert (perfect["rows"], perfect["accuracy"], perfect["macro_f1"], perfect["calibration_error"]) == (4, 1, 1, 0)
    assert (perfect["accuracy_low"], perfect["accuracy_high"]) == (1, 1)
    assert constant["accuracy"] == 0.5
    assert constant["calibration_error"] == pytest.approx(0.4)


def test_an_overconfident_model_is_cooled_until_its_probabilities_are_true() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(4_000, 3)).astype(np.float32)
    odds = np.exp(truth) / np.exp(truth).sum(1, keepdims=True)
    labels = (odds.cumsum(1) > rng.random((4_000, 1))).argmax(1)
    overconfident = truth * 2.5

    temperature = fit_temperature(overconfident, labels)

    assert temperature == pytest.approx(2.5, rel=0.1)
    before = calibration_error(calibrated(overconfident, 1.0), labels)
    after = calibration_error(calibrated(overconfident, temperature), labels)
    assert after < 0.03 < before


def test_a_bundle_is_measured_on_what_it_never_saw(tiny: Path, data: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="needs the train extra")
    root = tmp_path / "data"
    root.mkdir()
    for name in ("stream", "sentfin"):
        (root / name).symlink_to(data / name)
    (root / "sentiment").mkdir()
    (root / "topic").mkdir()
    (root / "sentiment" / "twitter_valid.csv").write_text("text,label\noil falls today,0\noil gains today,1\n")
    table_of_tweets = pandas.DataFrame({"text": ["oil falls", "euro gains"], "label": [6, 8]})
    table_of_tweets.to_parquet(root / "topic" / "twitter_topic_valid.parquet")

    (root / "sentiment" / "twitter_train.csv").write_text("text,label\noil falls today http://t.co/x,0\n")
    table_of_tweets[:1].to_parquet(root / "topic" / "twitter_topic_train.parquet")

    examples = held_out(root, 0.15, print)
    report = evaluate_bundle(tiny, examples).figures

    assert report["news"]["topic"]["accuracy"] > 0.9
    assert report["twitter_sentiment_valid"]["sentiment"]["rows"] == 2
    assert report["twitter_sentiment_valid"]["sentiment"]["accuracy"] >= 0.5
    assert report["twitter_sentiment_valid_deleaked"]["sentiment"]["rows"] == 1
    assert "| twitter_topic_valid | topic | 2 |" in table(report)
