"""What the worker needs of a model."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from model.classifier import Verdict
from model.drift import Reference


class Model(Protocol):
    """A loaded model; :class:`model.classifier.Classifier` is one."""

    version: str
    languages: frozenset[str]
    tokens: int
    """Tokens read so far."""

    @property
    def reference(self) -> Mapping[str, Reference]:
        """By head, its answers on the news it was measured on; empty where the bundle does not say."""
        ...

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        """The verdict on each text, in their order."""
        ...
