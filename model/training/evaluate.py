"""How good a model is: accuracy, macro-F1 and calibration of each head on each labelled set."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bus.errors import ConfigError
from model.classifier import Classifier, Scores, calibrated
from model.drift import Reference, reference_of
from model.labels import HEADS
from model.text import article_text, normalised
from model.training.calibration import calibration_error, fit_temperature
from model.training.data import DEVELOPED, NONE, Example, by_set, labels_of, split
from model.training.sets import PUBLISHED, load_sets

Figures = dict[str, Any]
Scorer = Callable[[Sequence[str]], Scores]

RESAMPLES = 1_000
"""Bootstrap samples of an interval."""

NEWS = ("news", "wide_news")
"""The sets that are like live articles: temperatures are fitted on their development part."""


def held_out(root: Path, share: float, progress: Callable[[str], None]) -> list[Example]:
    """What a bundle is measured on: the development part of the news and headline sets, and the published sets.

    A published set that has a training file stands there twice: as published, and de-leaked.
    One that is not in the folder is left out, and said so.

    Raises:
        ConfigError: a news or headline set is missing.
    """
    examples, _ = load_sets(DEVELOPED, root)
    chosen = split(examples, share).development
    for name, (load, trained_on) in PUBLISHED.items():
        try:
            published, _ = load(root)
            trained = load_sets([trained_on], root)[0] if trained_on else []
        except ConfigError as error:
            progress(f"not measured on {name}: {error}")
            continue
        chosen += published
        if trained:
            chosen += [msgspec.structs.replace(each, set=f"{name}_deleaked") for each in deleaked(published, trained)]
    return chosen


def deleaked(published: Sequence[Example], trained: Sequence[Example]) -> list[Example]:
    """The texts of a published validation set that its training set does not hold, each once.

    Texts are the same that differ in links, punctuation and case alone.
    """
    known = {normalised(example.title) for example in trained}
    kept: dict[str, Example] = {}
    for example in published:
        key = normalised(example.title)
        if key not in known:
            kept.setdefault(key, example)
    return list(kept.values())


def confusion(predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """How many texts of each label (rows) were given each label (columns): (classes, classes)."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def accuracy(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of right answers of confusion matrices (..., classes, classes)."""
    hits: NDArray[np.float64] = np.trace(counts, axis1=-2, axis2=-1) / counts.sum((-2, -1))
    return hits


def macro_f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean F1 over the labels that occur, as truth or as answer, in confusion matrices (..., classes, classes)."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    both = counts.sum(-1) + counts.sum(-2)
    occurs = both > 0
    scores = np.divide(2 * hits, both, out=np.zeros(both.shape), where=occurs)
    mean: NDArray[np.float64] = scores.sum(-1) / occurs.sum(-1)
    return mean


def interval(
    counts: NDArray[np.int64], figure: Callable[[NDArray[np.int64]], NDArray[np.float64]]
) -> tuple[float, float]:
    """The 95 % bootstrap interval of a figure (Efron and Tibshirani 1993, percentile method).

    Drawing texts with replacement and counting them anew is drawing the cells of the confusion matrix from a
    multinomial distribution, which takes a thousand draws in one call.
    """
    total, shape = int(counts.sum()), counts.shape
    rng = np.random.default_rng(20_26)
    drawn = rng.multinomial(total, counts.ravel() / total, size=RESAMPLES).reshape(-1, *shape)
    low, high = np.quantile(figure(drawn), [0.025, 0.975])
    return round(float(low), 4), round(float(high), 4)


def figures(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Figures:
    """Rows, accuracy and macro-F1 with their 95 % intervals, and the expected calibration error."""
    counts = confusion(probabilities.argmax(1), labels, probabilities.shape[1])
    found: Figures = {"rows": len(labels)}
    for name, figure in (("accuracy", accuracy), ("macro_f1", macro_f1)):
        found[name] = round(float(figure(counts)), 4)
        found[f"{name}_low"], found[f"{name}_high"] = interval(counts, figure)
    return found | {"calibration_error": round(calibration_error(probabilities, labels), 4)}


def scored(score: Scorer, examples: Sequence[Example]) -> Scores:
    """What a model puts out for examples, in their order."""
    return score([article_text(example.title, example.summary) for example in examples])


def of_news(examples: Sequence[Example]) -> NDArray[np.bool_]:
    """Which examples are news; all of them, where none is."""
    news = np.array([example.set in NEWS for example in examples])
    return news if news.any() else ~news


def references(scores: Scores, examples: Sequence[Example], temperatures: Mapping[str, float]) -> dict[str, Reference]:
    """By head, the model's answers on the news, right or wrong: what a live stream's answers are compared with."""
    news = of_news(examples)
    return {head: reference_of(calibrated(scores.logits[head][news], temperatures[head])) for head in HEADS}


def fit_temperatures(scores: Scores, examples: Sequence[Example]) -> dict[str, float]:
    """A temperature for each head, from the examples of :data:`NEWS` (from all, if there are none)."""
    news = of_news(examples)
    temperatures = {}
    for head in HEADS:
        labels = labels_of(examples, head)
        chosen = news & (labels != NONE)
        temperatures[head] = fit_temperature(scores.logits[head][chosen], labels[chosen])
    return temperatures


def evaluate(scores: Scores, examples: Sequence[Example], temperatures: Mapping[str, float]) -> dict[str, Figures]:
    """Figures by set and head.

    Where a set of financial headlines has no relevance labels, the share that the model finds relevant is given.
    """
    names = np.array([example.set for example in examples])
    report: dict[str, Figures] = {}
    for name, _ in by_set(examples):
        report[name] = {}
        for head in HEADS:
            labels = labels_of(examples, head)
            probabilities = calibrated(scores.logits[head], temperatures[head])
            chosen = (names == name) & (labels != NONE)
            if chosen.any():
                report[name][head] = figures(probabilities[chosen], labels[chosen])
            elif head == "relevance":
                report[name]["share_relevant"] = round(float(probabilities[names == name].argmax(1).mean()), 4)
    return report


class Evaluation(NamedTuple):
    """A bundle measured on texts that it was not trained on."""

    scores: Scores
    examples: list[Example]
    temperatures: dict[str, float]
    figures: dict[str, Figures]


def evaluate_bundle(folder: Path, examples: list[Example], device: str = "cpu") -> Evaluation:
    """Measure a bundle, as it scores on this machine.

    Raises:
        BundleError: the bundle cannot be used.
    """
    classifier = Classifier.load(folder, device=device)
    scores, temperatures = scored(classifier.scores, examples), classifier.manifest.temperatures
    return Evaluation(scores, examples, temperatures, evaluate(scores, examples, temperatures))


def table(report: Mapping[str, Figures]) -> str:
    """The figures as lines of a Markdown table."""
    lines = ["| set | head | rows | accuracy | macro-F1 | calibration error |", "|---|---|---|---|---|---|"]
    for name, heads in report.items():
        for head in HEADS:
            if head in heads:
                row = heads[head]
                numbers = " | ".join(f"{row[key]:.3f}" for key in ("accuracy", "macro_f1", "calibration_error"))
                lines.append(f"| {name} | {head} | {row['rows']} | {numbers} |")
    return "\n".join(lines)
