"""Which time the page shows: what "now" is, and the range that a reader chose."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alerts.archive.rows import hour_of
from alerts.links import stamp
from bus.errors import SquallError

LIVE = timedelta(days=1)
"""While the newest article is younger than this, now is now. When it is older, the archive holds the past (a replay),
or nothing has come in for a day: then the page shows time as of the newest article, and says so."""

RANGES = {"24h": 24, "3d": 72, "7d": 168, "30d": 720}
"""The ranges offered, in hours."""

DEFAULT = "3d"
LONGEST_HOURS = 24 * 92
MOST_SLOTS = 200
"""Bars that a chart can hold; a longer range is drawn in slots of several hours."""

SLOT_HOURS = (1, 3, 6, 12, 24)


class RequestError(SquallError):
    """Raised when an address of the page asks for something that cannot be."""


@dataclass(frozen=True, slots=True)
class Now:
    """The moment that the page is about."""

    moment: datetime
    is_past: bool
    """Whether it is the newest article's time, and not the clock's."""
    reached: datetime
    """How far the news has come: the newest article's time. Durations that go on end here, not at the clock."""

    @property
    def hour(self) -> int:
        return hour_of(self.moment)


def now(newest: datetime | None, clock: datetime) -> Now:
    """What "now" is, given the newest article's event time."""
    if newest is None or newest > clock - LIVE:
        return Now(clock, is_past=False, reached=min(newest or clock, clock))
    return Now(newest, is_past=True, reached=newest)


@dataclass(frozen=True, slots=True)
class Period:
    """A range of whole hours, and the slot of it whose stories are shown."""

    first: int
    """Hours since 1970; both ends are inclusive."""
    last: int
    name: str
    """One of :data:`RANGES`, or empty where the reader gave both ends."""
    chosen: int | None = None
    """First hour of the chosen slot."""

    @property
    def start(self) -> datetime:
        return moment_of(self.first)

    @property
    def end(self) -> datetime:
        return moment_of(self.last + 1)

    @property
    def slot(self) -> int:
        """Hours of one bar."""
        hours = self.last - self.first + 1
        return next(size for size in SLOT_HOURS if hours <= size * MOST_SLOTS)

    @property
    def query(self) -> dict[str, str]:
        """What an address needs to show this range again."""
        return {"range": self.name} if self.name else {"from": stamp(self.start), "to": stamp(self.end)}


def moment_of(hour: int) -> datetime:
    """The start of an hour."""
    return datetime.fromtimestamp(hour * 3600, UTC)


def read_period(query: Mapping[str, str], at: Now) -> Period:
    """The range in the query of an address: ``from`` and ``to``, or ``range``; and ``hour``.

    Raises:
        RequestError: one of them cannot be read.
    """
    chosen = _hour(query["hour"]) if query.get("hour") else None
    if query.get("from") or query.get("to"):
        last = hour_of(_time("to", query["to"]) - timedelta(seconds=1)) if query.get("to") else at.hour
        first = hour_of(_time("from", query["from"])) if query.get("from") else last - RANGES[DEFAULT] + 1
        if first > last:
            raise RequestError("from: must lie before to")
        if last - first >= LONGEST_HOURS:
            raise RequestError(f"from, to: at most {LONGEST_HOURS // 24} days")
        return Period(first, last, "", chosen)
    name = query.get("range") or DEFAULT
    if name not in RANGES:
        raise RequestError(f"range: expected one of {', '.join(RANGES)}, got {name[:40]!r}")
    return Period(at.hour - RANGES[name] + 1, at.hour, name, chosen)


def _time(name: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        if found.year >= 1970:
            return found
    except (ValueError, OverflowError):
        pass
    raise RequestError(f"{name}: expected a UTC time like 2023-04-26T12:00, got {text[:40]!r}")


def _hour(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 7:
        return int(text)
    raise RequestError(f"hour: expected hours since 1970, got {text[:40]!r}")
