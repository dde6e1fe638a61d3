"""When to look at a source again: its interval, longer after failures and where the server asks for it."""

from datetime import datetime
from email.utils import parsedate_to_datetime

JITTER = 0.1
"""Share of the interval by which looks are spread, so that sources of equal interval do not come in one burst."""

LONGEST_BACKOFF = 1_800.0
"""Seconds between looks at a failing source, where its own interval is not longer: news must not wait for an hour once
the server is back."""

LONGEST_RETRY_AFTER = 3_600.0
"""Seconds of a server's Retry-After that are honoured; more would let one answer silence a source for good."""


def next_look(interval: float, failures: int, retry_after: float, spread: float) -> float:
    """Seconds until the next look.

    Args:
        interval: the source's own, in seconds.
        failures: how many looks in a row have failed; each doubles the wait.
        retry_after: what the server asked for, in seconds; 0 when it did not.
        spread: a random number from -1 to 1.
    """
    wait = min(interval * 2.0 ** min(failures, 20), max(interval, LONGEST_BACKOFF))
    return max(wait * (1 + JITTER * spread), min(retry_after, LONGEST_RETRY_AFTER))


def retry_after_seconds(header: str, now: datetime) -> float:
    """What a Retry-After header asks for (RFC 9110 section 10.2.3): seconds or a date; 0 when it cannot be read."""
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - now).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
