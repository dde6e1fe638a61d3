"""The fields of a news record in JSON or CSV, under the names that people use for them (docs/sources.md lists them)."""

import json
from typing import NamedTuple

import msgspec
from msgspec import Struct

from ingest.articles import RawItem
from ingest.refusals import Refused

Stamp = str | int | float | None


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
    published_at: Stamp = None
    published: Stamp = None
    date: Stamp = None
    timestamp: Stamp = None
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


_decoder = msgspec.json.Decoder(Fields)


def read_record(value: bytes) -> NamedItem:
    """Read one JSON object.

    Raises:
        Refused: it is not JSON, not an object, or a field has the wrong type.
    """
    try:
        return _decoder.decode(value).item()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if b"\\ud" not in value.lower():
            raise Refused("record", f"not a news record: {error}") from error
    # msgspec refuses lone surrogates (half an emoji, cut by somebody's length limit); json reads them, and cleaning the
    # text removes them.
    try:
        return convert_record(json.loads(value))
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
