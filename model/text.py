"""One cleaning for training and serving, so that the model sees live text the way it learned it."""

import html
import re
import unicodedata

import ftfy

MAX_RAW = 8_000
"""Characters of a title or a summary that are looked at: about ten times what 128 tokens hold, room for markup."""

_TAG = re.compile(r"<[/!?a-zA-Z][^<>]*>")
_LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_INVISIBLE = re.compile(r"[\ud800-\udfff\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufffd]")
"""Lone surrogates (no UTF-8 can hold them), soft hyphens, zero-width and direction marks, replacement characters."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ENDLESS_REFERENCE = re.compile(r"&#\d{8,};?")
_NOT_WORD = re.compile(r"[\W_]+")


def clean(text: str) -> str:
    """The words of a text: no mojibake, entities, tags, links, invisible characters; single spaces.

    Feeds escape twice ("&amp;lt;b&amp;gt;") often enough that entities are resolved twice.
    """
    text = text[:MAX_RAW]
    # Most headlines have nothing to clean, and every article passes here.
    if text.isascii() and text.isprintable() and not _unclean(text):
        return " ".join(text.split())
    if "&" in text:
        text = _unescaped(_unescaped(text))
    if not text.isascii():
        text = ftfy.fix_encoding(text)  # "Nestl\u00c3\u00a9": UTF-8 that somebody read as Latin-1
    if "<" in text:
        text = _TAG.sub(" ", text)
    text = _LINK.sub(" ", text)
    text = _INVISIBLE.sub("", text)
    return " ".join(_CONTROL.sub(" ", text).split())


def _unescaped(text: str) -> str:
    # Python refuses to read numbers of more than 4,300 digits; Unicode's need seven.
    return html.unescape(_ENDLESS_REFERENCE.sub(" ", text))


def _unclean(text: str) -> bool:
    return "&" in text or "<" in text or "://" in text or "www." in text.lower()


def article_text(title: str, summary: str = "") -> str:
    """The one text of an article that the model reads.

    The title, then the summary, unless one of them only repeats the beginning of the other.
    """
    title, summary = clean(title), clean(summary)
    if not summary or title.startswith(summary):
        return title
    if not title or summary.startswith(title):
        return summary
    return f"{title} {summary}" if title.endswith((".", "!", "?", "…")) else f"{title}. {summary}"


def normalised(text: str) -> str:
    """What is left of a text without links, punctuation and case: equal for copies of one text, to group splits by."""
    words = _NOT_WORD.sub(" ", unicodedata.normalize("NFKC", clean(text)).casefold())
    return " ".join(words.split())
