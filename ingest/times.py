"""Publication times: every form that feeds use, read into aware UTC datetimes."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
"""Anything before is no publication time: 0 and year 1 are what programs write that have no date."""

MILLISECONDS_FROM = 1e11
"""Epoch numbers from here on are milliseconds: as seconds it would be the year 5138."""

MICROSECONDS_FROM = 1e14

LONGEST = 100
"""Characters of a stated time that are looked at, without white space at its ends; no form has half as many."""

_NUMBER = re.compile(r"\d{9,16}(\.\d+)?")
_YEAR_MONTH = re.compile(r"\d{4}-\d{2}")
_ZONE_WORD = re.compile(r"\s*(UTC|GMT|Z)$", re.IGNORECASE)


def parse_time(value: object) -> datetime | None:
    """The time that a feed states, or None when it states none that can be read, whatever it states instead.

    Read are ISO 8601 (with or without zone; date only; year and month), RFC 822 and 850, and Unix time in seconds,
    milliseconds or microseconds, as number or text. A time without a zone is taken as UTC, a date as its midnight.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _from_epoch(value)
    if not isinstance(value, str) or len(text := value.strip()) > LONGEST:
        return None
    if _NUMBER.fullmatch(text):  # before fromisoformat, which takes 1741010100000 for a day of 1741
        return _from_epoch(float(text))
    try:
        return _checked(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return _from_other_forms(text)


def _from_other_forms(text: str) -> datetime | None:
    try:
        if _YEAR_MONTH.fullmatch(text):
            return _checked(datetime.fromisoformat(f"{text}-01"))
        if text[:1].isdigit() and (zone := _ZONE_WORD.search(text)):
            return _checked(datetime.fromisoformat(text[: zone.start()]))
    except (ValueError, OverflowError):
        pass
    try:
        return _checked(parsedate_to_datetime(text))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _from_epoch(value: float) -> datetime | None:
    try:
        if value >= MICROSECONDS_FROM:
            value /= 1e6  # an OverflowError for an integer that is longer than any float
        elif value >= MILLISECONDS_FROM:
            value /= 1e3
        return _checked(datetime.fromtimestamp(value, UTC))
    except (ValueError, OverflowError, OSError):
        return None


def _checked(time: datetime) -> datetime | None:
    """The time in UTC; None when it is too early to be one. Raises OverflowError at the calendar's ends."""
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time if time >= EARLIEST else None
