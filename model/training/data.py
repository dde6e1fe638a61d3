"""Labelled texts, and the split that no text and no day crosses."""

import hashlib
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from model.text import normalised

UNLABELLED = "unlabelled"
"""The name of the set of articles without labels."""

NONE = -1
"""In place of a label that a row does not have."""

DEVELOPED = ("news", "wide_news", "sentfin")
"""The sets whose development part a bundle is measured on: labelled by one reader, or published with labels."""


class Example(Struct, frozen=True):
    """One labelled text; labels are positions in :data:`model.labels.HEADS`, or :data:`NONE`."""

    set: str
    title: str
    summary: str = ""
    sentiment: int = NONE
    topic: int = NONE
    relevance: int = NONE
    day: str = ""
    """``2023-04-25`` where the text is dated: split by day, since one day's news tells the same stories."""


def labels_of(examples: Sequence[Example], head: str) -> NDArray[np.int64]:
    """One head's labels, :data:`NONE` where an example has none."""
    return np.array([getattr(example, head) for example in examples], np.int64)


def digest_of(examples: Sequence[Example]) -> str:
    """16 hexadecimal digits that tell one list of examples from another."""
    return hashlib.sha256(msgspec.json.encode(examples)).hexdigest()[:16]


class Split(Struct, frozen=True):
    """Examples to train on, and examples that no training sees."""

    train: list[Example]
    development: list[Example]


def split(examples: Sequence[Example], share: float) -> Split:
    """Keep a share of the days, or of the titles of undated sets of :data:`DEVELOPED`, for development.

    A day or a title falls on its side by its own hash: the same in every run, and more data moves nothing. A text whose
    normalised title stands on the development side is dropped from the training side. Undated sets on whose part no
    bundle is measured (tweets have a published validation file, corrections are few) train whole.
    """
    development = [example for example in examples if is_held_out(example, share)]
    held = {normalised(example.title) for example in development}
    train = [e for e in examples if not is_held_out(e, share) and normalised(e.title) not in held]
    return Split(train, development)


def is_held_out(example: Example, share: float) -> bool:
    """Whether an example's day, or its title in an undated set of :data:`DEVELOPED`, is kept for development."""
    if not example.day and example.set not in DEVELOPED:
        return False
    group = example.day or normalised(example.title)
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:4]) < share * 2**32


def by_set(examples: Sequence[Example]) -> Iterator[tuple[str, list[Example]]]:
    """The examples of each set, sets in order of first appearance."""
    names = dict.fromkeys(example.set for example in examples)
    for name in names:
        yield name, [example for example in examples if example.set == name]
