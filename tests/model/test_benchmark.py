"""The comparison with the transformers pipeline measures both sides on the same texts."""

from pathlib import Path

from model.benchmark import classifier_against_transformers, rate


def test_both_sides_are_measured(tiny: Path) -> None:
    figures = classifier_against_transformers(["oil falls today", "euro gains"] * 20, tiny, threads=1, repeats=3)

    assert (figures.texts, figures.threads, figures.repeats) == (40, 1, 3)
    for side in (figures.classifier, figures.transformers):
        assert 0 < side.least <= side.median <= side.most
    assert figures.times_faster > 0


def test_a_rate_is_texts_by_seconds() -> None:
    assert rate(lambda texts: None, ["a"] * 100) > 100
