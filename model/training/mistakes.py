"""What a model gets wrong: the mistakes that it was surest of, and the labels that it takes for one another."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from model.classifier import Scores, calibrated
from model.labels import HEADS
from model.training.data import NONE, Example, labels_of
from model.training.evaluate import confusion, of_news

WORST = 50
"""Mistakes that a report lists of each head and set."""
CARD_WORST = 10
"""Mistakes that the model card quotes of each public set."""
CARD_CONFUSIONS = 10
"""Pairs of labels that it names of each head."""
PUBLIC = ("sentfin", "twitter_sentiment_valid", "twitter_topic_valid")
"""Sets whose texts may be quoted; the news is its publishers'."""


class Mistake(NamedTuple):
    """A text whose label the model missed."""

    title: str
    label: str
    answer: str
    confidence: float
    """The probability of the wrong answer."""


class Confusion(Struct, frozen=True):
    """A label of the news that the model takes for another."""

    head: str
    label: str
    answer: str
    texts: int
    of: int
    """Texts that carry the label."""


def worst(
    examples: Sequence[Example],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    most: int = WORST,
) -> list[Mistake]:
    """The mistakes that the model was surest of, the surest first, ``most`` of them.

    Args:
        probabilities: (examples, labels), calibrated.
        classes: the names of the labels.
    """
    answers, confidence = probabilities.argmax(1), probabilities.max(1)
    wrong = np.flatnonzero(answers != labels)
    ordered = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    return [
        Mistake(examples[i].title, classes[labels[i]], classes[answers[i]], round(float(confidence[i]), 3))
        for i in ordered
    ]


def confusions(scores: Scores, examples: Sequence[Example], temperatures: Mapping[str, float]) -> list[Confusion]:
    """The labels of the news that are most often taken for others, head by head."""
    news = of_news(examples)
    found = []
    for head, classes in HEADS.items():
        labels = labels_of(examples, head)
        chosen = news & (labels != NONE)
        answers = calibrated(scores.logits[head][chosen], temperatures[head]).argmax(1)
        counts = confusion(answers, labels[chosen], len(classes))
        wrong = counts * (1 - np.eye(len(classes), dtype=np.int64))
        for flat in np.argsort(-wrong, axis=None, kind="stable")[:CARD_CONFUSIONS]:
            label, answer = divmod(int(flat), len(classes))
            if wrong[label, answer]:
                texts, of = int(wrong[label, answer]), int(counts[label].sum())
                found.append(Confusion(head, classes[label], classes[answer], texts, of))
    return found


def quotable(
    scores: Scores, examples: Sequence[Example], temperatures: Mapping[str, float]
) -> dict[str, list[Mistake]]:
    """The surest mistakes of each public set, on the head that it labels."""
    found = {}
    for name in PUBLIC:
        for head, classes in HEADS.items():
            labels = labels_of(examples, head)
            rows = [i for i, each in enumerate(examples) if each.set == name and labels[i] != NONE]
            if rows:
                probabilities = calibrated(scores.logits[head][rows], temperatures[head])
                found[name] = worst([examples[i] for i in rows], labels[rows], probabilities, classes, CARD_WORST)
    return found
