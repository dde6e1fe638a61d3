"""Classifying a stream of lines: one text a line, or one JSON object a line; one JSON line out for each, in order."""

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

import msgspec
from msgspec import UNSET, Struct, UnsetType

from bus.messages import Judgement
from model.classifier import Classifier
from model.language import detect
from model.text import article_text

CHUNK = 256
"""Lines that are classified together: memory stays that of one chunk."""
MAX_LINE = 16_000_000
"""Bytes of the longest line that is read."""


class Item(Struct, frozen=True):
    """What a JSON line may say; other fields are ignored."""

    title: str
    summary: str = ""
    id: str | int = ""
    language: str = ""


class Text(Struct, frozen=True):
    """A line that can be classified."""

    id: str
    text: str
    language: str


class Result(Struct, frozen=True):
    """The answer to one text; the judgements are null together, and then ``unscored`` says why."""

    id: str
    language: str
    model_version: str
    sentiment: Judgement | None = None
    topic: Judgement | None = None
    relevance: Judgement | None = None
    unscored: str | UnsetType = UNSET


class Failure(Struct, frozen=True):
    """The answer to a line that could not be read."""

    line: int
    """Counted from 1."""
    error: str


def classify_lines(stream: BinaryIO, classifier: Classifier) -> Iterator[Result | Failure]:
    """The answer to every line that is not blank, in order.

    A line that starts with "{" is JSON (:class:`Item`), any other is a title. Results come in chunks of up to
    :data:`CHUNK` lines.
    """
    for chunk in _chunks(read_lines(stream, classifier.languages)):
        yield from classify_texts(chunk, classifier)


def classify_texts(chunk: list[Text | Failure], classifier: Classifier) -> Iterator[Result | Failure]:
    """The answers to texts in their order, all that can be scored in one batch; failures pass through."""
    readable = [each for each in chunk if isinstance(each, Text) and each.language in classifier.languages]
    verdicts = iter(classifier.classify([each.text for each in readable]))
    for each in chunk:
        if isinstance(each, Failure):
            yield each
        elif each.language in classifier.languages:
            verdict = next(verdicts)
            yield Result(
                each.id, each.language, classifier.version, verdict.sentiment, verdict.topic, verdict.relevance
            )
        else:
            yield Result(each.id, each.language, classifier.version, unscored=f"language:{each.language}")


def text_of(item: Item, languages: frozenset[str]) -> Text:
    """An item ready for the model; without an id it gets 16 hexadecimal digits made from its text."""
    text = article_text(item.title, item.summary)
    identity = str(item.id) or hashlib.sha256(text.encode()).hexdigest()[:16]
    return Text(identity, text, detect(text, item.language, languages))


def read_lines(stream: BinaryIO, languages: frozenset[str]) -> Iterator[Text | Failure]:
    """What stands on each line that is not blank."""
    decoder = msgspec.json.Decoder(Item)
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_LINE)
            yield Failure(number, f"longer than {MAX_LINE} bytes; one text a line was expected")
            continue
        line = line.strip()
        if not line:
            continue
        try:
            item = decoder.decode(line) if line.startswith(b"{") else Item(line.decode("utf-8", "replace"))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield Failure(number, f'{error}; expected {{"title": ..., "summary": ..., "id": ...}}')
            continue
        yield text_of(item, languages)


def _chunks(lines: Iterator[Text | Failure]) -> Iterator[list[Text | Failure]]:
    while chunk := list(islice(lines, CHUNK)):
        yield chunk
