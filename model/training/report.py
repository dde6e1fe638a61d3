"""The evaluation as one page to read: figures with their intervals, confusion, reliability, the worst mistakes."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader
from numpy.typing import NDArray

from model.classifier import Scores, calibrated
from model.labels import HEADS
from model.training.calibration import BINS, bins_of
from model.training.data import NONE, Example, by_set, labels_of
from model.training.evaluate import Figures, confusion
from model.training.mistakes import Mistake, worst


class Section(NamedTuple):
    """One head on one set."""

    name: str
    head: str
    figures: Figures
    classes: list[tuple[str, int, int, int]]
    """Of each label that occurs: how many texts carry it, how many were given it, how many of both."""
    pictures: list[str]
    """PNG files as data: URLs: the confusion matrix and the reliability plot."""
    mistakes: list[Mistake]


def sections(
    scores: Scores, examples: Sequence[Example], temperatures: Mapping[str, float], figures: Mapping[str, Figures]
) -> list[Section]:
    """What the page shows, set by set and head by head."""
    names = np.array([example.set for example in examples])
    found = []
    for name, _ in by_set(examples):
        for head, classes in HEADS.items():
            labels = labels_of(examples, head)
            chosen = np.flatnonzero((names == name) & (labels != NONE)).tolist()
            if chosen:
                probabilities = calibrated(scores.logits[head], temperatures[head])[chosen]
                part = [examples[i] for i in chosen]
                found.append(_section(name, head, classes, figures[name][head], part, labels[chosen], probabilities))
    return found


def _section(
    name: str,
    head: str,
    classes: Sequence[str],
    figures: Figures,
    examples: Sequence[Example],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
) -> Section:
    answers = probabilities.argmax(1)
    counts = confusion(answers, labels, len(classes))
    rows = [
        (label, int(counts[i].sum()), int(counts[:, i].sum()), int(counts[i, i]))
        for i, label in enumerate(classes)
        if counts[i].sum() + counts[:, i].sum()
    ]
    pictures = [confusion_picture(counts, classes), reliability_picture(probabilities, labels)]
    return Section(name, head, figures, rows, pictures, worst(examples, labels, probabilities, classes))


def confusion_picture(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    """The confusion matrix, each row as shares of its label."""
    from matplotlib.figure import Figure

    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = 2.2 + 0.32 * len(classes)
    figure = Figure(figsize=(size + 1.2, size))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=8)
    axes.set_yticks(range(len(classes)), classes, fontsize=8)
    axes.set_xlabel("answer")
    axes.set_ylabel("label")
    for i, j in zip(*np.nonzero(counts), strict=True):
        axes.text(
            j, i, counts[i, j], ha="center", va="center", fontsize=7, color="white" if shares[i, j] > 0.5 else "black"
        )
    return _png(figure)


def reliability_picture(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> str:
    """How often the model is right, by how sure it is; on the diagonal its probabilities are true."""
    from matplotlib.figure import Figure

    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = bins_of(confidence)
    used = np.unique(bins)
    figure = Figure(figsize=(3.6, 3.4))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.bar(
        [(b + 0.5) / BINS for b in used], [right[bins == b].mean() for b in used], width=0.9 / BINS, color="#2b5b84"
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("probability of the answer")
    axes.set_ylabel("share that is right")
    return _png(figure)


def _png(figure: Any) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, bbox_inches="tight")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def rendered(template: str, **content: object) -> str:
    """A page of this folder's templates: one HTML file that needs no other."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    return environment.get_template(template).render(content)


def write_report(file: Path, title: str, found: Sequence[Section]) -> None:
    """Write the page."""
    file.write_text(rendered("report.html", title=title, sections=found), encoding="utf-8")
