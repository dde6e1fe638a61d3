"""Replaying files: the news of the past in its order, at its own speed, a multiple of it, or flat out."""

import csv
import heapq
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from prometheus_client import CollectorRegistry

from bus.errors import ConfigError
from bus.log import Log
from bus.messages import DeadLetter, utcnow
from ingest.articles import Made, make_article
from ingest.fields import NamedItem, convert_record, read_record
from ingest.metrics import REPLAY, IngestMetrics
from ingest.publisher import BATCH, Publisher, Stopped
from ingest.refusals import Refused
from ingest.times import EARLIEST, parse_time

MAX_LINE = 10 * 1024 * 1024
"""Longest line of a file, in bytes without its end; a longer one is refused and skipped."""

LONGEST_GAP = 3_600.0
"""Seconds that a paced replay sleeps at most between two articles: a weekend without news is not waited for."""

csv.field_size_limit(MAX_LINE)

_log = logging.getLogger(__name__)


class ReplayReport(msgspec.Struct):
    """What became of the records of a replay. Those outside ``since`` and ``until`` are read, but nothing else."""

    read: int = 0
    published: int = 0
    duplicates: int = 0
    refused: int = 0
    skipped: int = 0
    """Outside ``since`` and ``until``."""
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = self.read / self.seconds if self.seconds else 0.0
        skipped = f", {self.skipped} outside --from and --to" if self.skipped else ""
        return (
            f"{self.read} read, {self.published} published, {self.duplicates} duplicates, {self.refused} refused"
            f"{skipped}; {self.seconds:.1f} s, {rate:.0f}/s"
        )


class Line(NamedTuple):
    """One record of a file: its item, or why it is refused."""

    time: datetime
    """When it was published; of a record without a readable date, when the one before it was."""
    origin: str
    """``file:line``."""
    value: bytes
    item: NamedItem | Refused


def replay(
    log: Log,
    files: Sequence[Path],
    *,
    speed: float | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    shift: timedelta = timedelta(),
    paced_from: datetime | None = None,
    stop: threading.Event | None = None,
    retention_days: float = 7.0,
    registry: CollectorRegistry | None = None,
) -> ReplayReport:
    """Publish the records of JSONL and CSV files, merged by the time of their publication.

    Each file must be in order of time; where it is not, its own order is kept. Every time below is as the files state
    it, before ``shift``.

    Args:
        log: articles go to news.articles, what is refused to news.dead with file and line.
        files: ``.csv`` with a header, anything else JSON lines (docs/sources.md lists the fields).
        speed: so many times real time, by the gaps between the records; None is flat out.
        since: records before are skipped.
        until: records from then on are skipped.
        shift: added to the time of every record. A result in the future is clamped to now, as everywhere.
        paced_from: flat out before, at ``speed`` from then on.
        stop: ends the replay early.
        retention_days: how long the log keeps articles, and with that how long repeats are recognised.
        registry: where to count; None counts into the report alone.

    Raises:
        ConfigError: a file is missing or cannot be read.
        LogError: the log failed in a way that waiting does not mend.
    """
    stop = stop or threading.Event()
    report = ReplayReport()
    started = time.monotonic()
    metrics = IngestMetrics(registry or CollectorRegistry())
    batch = _Batch(Publisher(log, metrics, stop, retention_days), report, shift)
    try:
        _publish(_merged(files, since, until, report), batch, _Pacer(speed, paced_from), stop)
    except Stopped:
        _log.info("replay stopped while it waited for the log")
    report.seconds = time.monotonic() - started
    return report


def _merged(
    files: Sequence[Path], since: datetime | None, until: datetime | None, report: ReplayReport
) -> Iterator[Line]:
    """The lines of all files by time; items outside the times are counted and left out."""
    for line in heapq.merge(*map(_lines, files), key=lambda line: line.time):
        outside = (since and line.time < since) or (until and line.time >= until)
        if outside and isinstance(line.item, NamedItem):
            report.read += 1
            report.skipped += 1
        else:
            yield line


def _publish(lines: Iterable[Line], batch: "_Batch", pacer: "_Pacer", stop: threading.Event) -> None:
    """Publish each line when it is due, together with those that are due with it. Raises Stopped."""
    for line in lines:
        wait = pacer.wait(line.time)
        if wait > 0 or len(batch) >= BATCH:
            batch.flush()
            stop.wait(max(wait, 0.0))
        if stop.is_set():
            break
        batch.add(line)
    batch.flush()


class _Pacer:
    """Says how long to wait before each record."""

    def __init__(self, speed: float | None, paced_from: datetime | None) -> None:
        self._speed = speed
        self._from = paced_from
        self._zero: tuple[datetime, float] | None = None
        """An event time and the moment of the clock that stands for it."""

    def wait(self, event: datetime) -> float:
        """Seconds until a record of this time is due; 0 or less when it is."""
        if self._speed is None or (self._from and event < self._from):
            return 0.0
        now = time.monotonic()
        if self._zero is None:
            # The paced part begins at paced_from itself, so that a gap before its first record is seen too.
            self._zero = (self._from or event, now)
        due = self._zero[1] + (event - self._zero[0]).total_seconds() / self._speed
        if due - now > LONGEST_GAP:
            self._zero = (event, now + LONGEST_GAP)
            return LONGEST_GAP
        return due - now


class _Batch:
    """Gathers articles and dead letters until they are published together."""

    def __init__(self, publisher: Publisher, report: ReplayReport, shift: timedelta) -> None:
        self._publisher = publisher
        self._report = report
        self._shift = shift
        self._made: list[Made] = []
        self._dead: list[DeadLetter] = []
        self._now = utcnow()

    def __len__(self) -> int:
        return len(self._made) + len(self._dead)

    def add(self, line: Line) -> None:
        self._report.read += 1
        try:
            if isinstance(line.item, Refused):
                raise line.item
            raw = line.item.raw
            if self._shift and (published := parse_time(raw.published)):
                raw.published = _shifted(published, self._shift)
            self._made.append(make_article(raw, source=line.item.source, fetched_at=self._now))
        except Refused as error:
            self._dead.append(self._publisher.refuse(error, line.value, line.origin))
            self._report.refused += 1

    def flush(self) -> None:
        result = self._publisher.publish(self._made, REPLAY)
        self._report.published += result.published
        self._report.duplicates += result.duplicates
        self._publisher.bury(self._dead)
        self._made, self._dead, self._now = [], [], utcnow()


def _shifted(time: datetime, shift: timedelta) -> str:
    try:
        return (time + shift).isoformat()  # a number could be taken for milliseconds
    except OverflowError:
        return f"{time} moved off the calendar"


def _lines(path: Path) -> Iterator[Line]:
    """The records of a file, each with its time."""
    before = EARLIEST
    records = _csv_records(path) if path.suffix.lower() == ".csv" else _json_records(path)
    for number, value, item in records:
        if isinstance(item, NamedItem):
            before = parse_time(item.raw.published) or before
        yield Line(before, f"{path}:{number}", value, item)


Record = tuple[int, bytes, NamedItem | Refused]
"""Line number, original bytes, and what they say."""


def _json_records(path: Path) -> Iterator[Record]:
    with _opened(path, "rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            value = line.strip().removeprefix(b"\xef\xbb\xbf")
            if len(line) > MAX_LINE and not line.endswith(b"\n"):
                while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                    pass
                yield number, value, Refused("record", f"a line of more than {MAX_LINE} bytes")
            elif value:
                yield number, value, _attempt(lambda value=value: read_record(value))  # type: ignore[misc]


def _csv_records(path: Path) -> Iterator[Record]:
    with _opened(path, "r", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        lines = _Lines(file)
        rows = csv.reader(lines)
        header = _header(rows, path)
        while True:
            lines.taken.clear()
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield rows.line_num, lines.original(), Refused("record", f"not CSV: {error}")
                continue
            if row is None:
                return
            if row:
                yield rows.line_num, lines.original(), _attempt(lambda row=row: _csv_item(header, row))  # type: ignore[misc]


class _Lines(Iterator[str]):
    """The lines of a CSV file as text, and those that the current row was made of as they stand in the file."""

    def __init__(self, file: Iterator[str]) -> None:
        self._file = file
        self.taken: list[str] = []
        """With a lone surrogate for each byte that is no UTF-8, so that the file's bytes can be had back."""

    def __next__(self) -> str:
        line = next(self._file)
        self.taken.append(line)
        return line if line.isascii() else line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    def original(self) -> bytes:
        """The bytes of the lines that were taken, without the last one's end."""
        return "".join(self.taken).rstrip("\r\n").encode("utf-8", "surrogateescape")


def _opened(path: Path, mode: str, **options: Any) -> Any:
    try:
        return path.open(mode, **options)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _attempt(read: Callable[[], NamedItem]) -> NamedItem | Refused:
    try:
        return read()
    except Refused as error:
        return error


def _header(rows: Iterator[list[str]], path: Path) -> list[str]:
    try:
        header = [name.strip().lower() for name in next(rows, [])]
    except csv.Error as error:
        raise ConfigError(f"{path}:1: not CSV: {error}") from error
    if not {"title", "headline"} & set(header):
        raise ConfigError(
            f"{path}:1: expected a header with a column 'title', got {', '.join(header)[:200] or 'nothing'}"
        )
    return header


def _csv_item(header: list[str], row: list[str]) -> NamedItem:
    if len(row) != len(header):
        raise Refused("record", f"{len(row)} columns where the header has {len(header)}")
    return convert_record({name: value for name, value in zip(header, row, strict=True) if value})
