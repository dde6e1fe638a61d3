"""Articles and verdicts for tests, and a model that reads its verdicts off the text."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from bus.messages import Article, Judgement
from model.classifier import Verdict
from model.drift import Reference

START = datetime(2023, 2, 1, tzinfo=UTC)


def article(number: int, title: str = "", minutes: float = 0, source: str = "wire", **fields: object) -> Article:
    """An article published so many minutes after START."""
    at = START + timedelta(minutes=minutes)
    title = title or f"neutral headline {number}"
    return Article(id=f"{number:016x}", source=source, title=title, published_at=at, fetched_at=at, **fields)  # type: ignore[arg-type]


def _judgement(label: str) -> Judgement:
    return Judgement(label=label, probabilities={label: 1.0})


class WordModel:
    """Judges by words: "bad" is negative, "good" positive, "sport" irrelevant; the topic is Markets or Macro."""

    version = "words-1"
    languages = frozenset({"en"})
    reference: Mapping[str, Reference] = {}

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.tokens = 0

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        self.batches.append(len(texts))
        self.tokens += sum(len(text.split()) for text in texts)
        return [self._judge(text) for text in texts]

    def _judge(self, text: str) -> Verdict:
        sentiment = "negative" if "bad" in text else "positive" if "good" in text else "neutral"
        relevance = "irrelevant" if "sport" in text else "relevant"
        topic = "Markets" if "Markets" in text else "Macro"
        return Verdict(_judgement(sentiment), _judgement(topic), _judgement(relevance), np.zeros(4, np.float32))
