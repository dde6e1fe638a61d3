"""Words for people: names of series, times, durations and numbers, the same in messages and on the page."""

import unicodedata
from datetime import UTC, datetime, timedelta

_KINDS = {"topic": "Topic", "entity": "Watchlist", "story": "Story"}


def subject(series: str) -> str:
    """What a series is about, for people."""
    kind, colon, name = series.partition(":")
    return name if colon and kind in _KINDS and name else "all financial news" if series == "all" else series


def kind(series: str) -> str:
    """What kind of series it is, for people."""
    return _KINDS.get(series.partition(":")[0], "Market")


def moment(time: datetime) -> str:
    """A time in full: ``26 Apr 2023 14:05 UTC``."""
    return time.astimezone(UTC).strftime("%-d %b %Y %H:%M UTC")


def clock(time: datetime, today: datetime) -> str:
    """A time among others of about today: the day only where it is another one than today's."""
    local = time.astimezone(UTC)
    return local.strftime("%H:%M" if local.date() == today.astimezone(UTC).date() else "%-d %b %H:%M")


def span(length: timedelta) -> str:
    """A duration: ``45 min``, ``2 h 5 min``, ``3 d 4 h``."""
    whole = max(0, round(length.total_seconds() / 60))
    if whole < 60:
        return f"{whole} min"
    if whole < 48 * 60:
        return f"{whole // 60} h {whole % 60} min" if whole % 60 else f"{whole // 60} h"
    return f"{whole // 1440} d {whole % 1440 // 60} h" if whole % 1440 // 60 else f"{whole // 1440} d"


def number(value: float) -> str:
    """A count that may be discounted: ``12``, ``3.5``, ``0.3``."""
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def plural(count: int, word: str) -> str:
    """``1 source``, ``3 sources``, ``2 stories``."""
    if count == 1:
        return f"1 {word}"
    return f"{count} {word[:-1]}ies" if word.endswith("y") else f"{count} {word}s"


def plain(text: str) -> str:
    """One line without control characters and without needless space."""
    return " ".join(harmless(text).split())


def harmless(text: str) -> str:
    """Text without control characters: those that turn the direction of text could disguise what follows them."""
    if text.isprintable():
        return text
    return "".join(" " if unicodedata.category(character) in ("Cc", "Cf", "Cs") else character for character in text)
