"""The fields of a news record in JSON or CSV, under the names that people use for them (docs/sources.md lists them)."""

import json
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from ingest.articles import RawItem
from ingest.refusals import Refused

T = TypeVar("T")


class Fields(Struct):
    """One record. Of several names for the same thing the first that is not empty counts; other fields are ignored."""

    title: str | None = None
    headline: str | None = None
    summary: str | None = None
    description: str | None = None
    abstract: str | None = None
    body: str | None = None
    content: str | None = None
    text: str | None = None
    url: str | None = None
    link: str | None = None
    # Anything: a date that is none is replaced like every other that cannot be read.
    published_at: Any = None
    published: Any = None
    date: Any = None
    timestamp: Any = None
    language: str | None = None
    lang: str | None = None
    source: str | None = None
    publisher: str | None = None

    def item(self) -> "NamedItem":
        """The record as a raw item, with the source that it names (empty when it names none)."""
        published = self.published_at
        for other in (self.published, self.date, self.timestamp):
            published = other if published is None or published == "" else published
        raw = RawItem(
            title=self.title or self.headline or "",
            summary=self.summary or self.description or self.abstract or "",
            body=self.body or self.content or self.text or "",
            url=self.url or self.link or "",
            published=published,
            language=self.language or self.lang or "",
        )
        return NamedItem(self.source or self.publisher or "", raw)


class NamedItem(NamedTuple):
    """A raw item and the name of its source."""

    source: str
    raw: RawItem


def read_json(value: bytes, type: type[T]) -> T:
    """Decode JSON, lone surrogates and numbers beyond all floats included.

    msgspec refuses both, and with them whatever stands beside them: half an emoji, cut by somebody's length limit,
    would cost the whole feed. Cleaning the text removes the one, reading the date the other.

    Raises:
        ValueError, RecursionError: it is not JSON, or not of that type.
    """
    try:
        return msgspec.json.decode(value, type=type)
    except msgspec.DecodeError as error:
        if b"\\ud" not in value.lower() and "out of range" not in str(error):
            raise
    # parse_int, since int() takes no more than 4,300 digits.
    return msgspec.convert(json.loads(value, parse_int=float), type)


def read_record(value: bytes) -> NamedItem:
    """Read one JSON object.

    Raises:
        Refused: it is not JSON, not an object, or a field has the wrong type.
    """
    try:
        return read_json(value, Fields).item()
    except (ValueError, RecursionError) as error:
        raise Refused("record", f"not a news record: {error}") from error


def convert_record(value: object) -> NamedItem:
    """Read one record from an object decoded before (a JSON value, a row of a CSV file).

    Raises:
        Refused: it is not a mapping, or a field has the wrong type.
    """
    try:
        return msgspec.convert(value, Fields).item()
    except msgspec.ValidationError as error:
        raise Refused("record", f"not a news record: {error}") from error
