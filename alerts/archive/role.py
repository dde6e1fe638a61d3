"""The archive role: from the log into the store."""

import logging
import threading
import time
from collections.abc import Sequence

from msgspec import field
from prometheus_client import CollectorRegistry, Counter, Gauge

from alerts.archive.store import Refused, Store
from bus.errors import ArchiveError, Fenced, LogFull, LogUnreachable, MessageError, SquallError
from bus.log import Consumer, Entry, Log, Record
from bus.messages import (
    OUTCOMES,
    DeadLetter,
    Message,
    Point,
    ScoredArticle,
    SpikeEvent,
    TrendState,
    decode,
    encode,
    utcnow,
)
from bus.topics import DEAD, SCORED, SPIKES, TRENDS

logger = logging.getLogger(__name__)

GROUP = "archive"
TOPICS = (SCORED, SPIKES, TRENDS)

BATCH = 2_000
"""Records saved before their offsets are committed: some 150 ms of work on SQLite."""

POLL_SECONDS = 0.5
"""How long a poll waits for records: what a stop costs at most."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
"""Seconds between two attempts while the database or the log is away: doubling, and within the group's session time."""

LOOK_SECONDS = 2.0
"""How often the lag is measured."""

PRUNE_SECONDS = 3_600.0
"""How often what is too old is deleted."""


class _Points(Message):
    """The part of a :class:`bus.messages.TrendState` that is archived; decoding the rest would be wasted."""

    series: str
    points: list[Point] = field(default_factory=list)


class ArchiveMetrics:
    """What the archive role tells Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.articles = Counter(
            "squall_archive_articles_total",
            "Articles written to the archive, repeats after a restart among them.",
            ["outcome"],
            registry=registry,
        )
        self.failures = Counter(
            "squall_archive_failures_total", "Batches that could not be saved and were tried again.", registry=registry
        )
        self.dead = Counter(
            "squall_dead_letters_total", "Records put aside in news.dead.", ["stage"], registry=registry
        )
        self.lag = Gauge(
            "squall_archive_lag_seconds",
            "Age of the last record archived while others wait; 0 when none do.",
            registry=registry,
        )
        self.records = Gauge(
            "squall_consumer_lag", "Records that a group has not committed yet.", ["group", "topic"], registry=registry
        )
        self.fenced = Counter(
            "squall_fenced_total",
            "Transactions refused because another process took over.",
            ["group"],
            registry=registry,
        )
        self.fenced.labels(GROUP)
        for outcome in OUTCOMES:
            self.articles.labels(outcome)
        self.dead.labels(GROUP)


def run(log: Log, store: Store, *, stop: threading.Event, registry: CollectorRegistry, days: float = 90.0) -> None:
    """Archive news.scored, news.spikes and news.trends until ``stop`` is set.

    Rows are upserted first and the offsets committed after that, so a crash between the two repeats upserts that
    change nothing: at-least-once is exact here. While the database is away the records wait on the log.

    Raises:
        LogError: the log is corrupt, or a topic was deleted.
    """
    archive = _Archive(store, ArchiveMetrics(registry), days)
    with log.consumer(GROUP, TOPICS) as consumer:
        pause = 0.0
        while not stop.wait(pause):
            try:
                saved = archive.step(consumer)
            except (ArchiveError, LogUnreachable, LogFull) as error:
                pause = min(pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
                archive.failed(error)
            else:
                pause = 0.0
                if saved:
                    archive.worked()


class _Archive:
    def __init__(self, store: Store, metrics: ArchiveMetrics, days: float) -> None:
        self._store = store
        self._metrics = metrics
        self._days = days
        self._failing = False
        self._looked = float("-inf")
        self._pruned = time.monotonic()  # a start is busy enough
        self._archived = time.time()

    def step(self, consumer: Consumer) -> bool:
        """Poll, upsert, then commit the offsets together with the dead letters; whether anything was saved."""
        self._look(consumer)
        entries = consumer.poll(BATCH, POLL_SECONDS)
        if entries:
            try:
                with consumer.transaction() as transaction:
                    dead = self._save(entries)
                    transaction.publish([Record(DEAD, key, encode(letter)) for key, letter in dead])
            except Fenced:  # another process has these partitions now, and repeats the upserts
                self._metrics.fenced.labels(GROUP).inc()
                return False
            for _, letter in dead:
                self._metrics.dead.labels(GROUP).inc()
                where = (letter.topic, letter.partition, letter.offset)
                logger.error("%s partition %d offset %d: %s; put aside in %s", *where, letter.error, DEAD)
            self._archived = min(entry.timestamp for entry in entries)
        if time.monotonic() - self._pruned > PRUNE_SECONDS:
            self._pruned = time.monotonic()
            gone = self._store.prune(self._days)
            logger.info("archive: %d articles older than %g days removed", gone, self._days)
        return bool(entries)

    def failed(self, error: SquallError) -> None:
        """Count a failure; only the first of a row is a line in the log."""
        self._metrics.failures.inc()
        if not self._failing:
            logger.error("%s; nothing is lost, the records wait on the log and are tried again", error)
        self._failing = True

    def worked(self) -> None:
        if self._failing:
            logger.info("archive: saving again")
        self._failing = False

    def _save(self, entries: Sequence[Entry]) -> list[tuple[str, DeadLetter]]:
        """Upsert what the records say; returns the dead letters for those that cannot be."""
        batch = _Batch()
        for entry in entries:
            batch.add(entry)
        try:
            batch.save(self._store)
        except Refused:  # one of them, so each alone
            batch = _one_by_one(entries, self._store)
        for scored in batch.scored:
            self._metrics.articles.labels(scored.outcome).inc()
        return batch.dead

    def _look(self, consumer: Consumer) -> None:
        """Measure the lag, now and then."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        waiting = dict.fromkeys(TOPICS, 0)
        for partition, records in consumer.lag().items():
            waiting[partition.topic] += records
        for topic, records in waiting.items():
            self._metrics.records.labels(GROUP, topic).set(records)
        self._metrics.lag.set(max(0.0, time.time() - self._archived) if any(waiting.values()) else 0.0)


class _Batch:
    """Records by kind, decoded; what is no message goes to ``dead``."""

    def __init__(self) -> None:
        self.scored: list[ScoredArticle] = []
        self.spikes: list[SpikeEvent] = []
        self.states: list[TrendState] = []
        self.dead: list[tuple[str, DeadLetter]] = []
        """Under the record's key."""

    def add(self, entry: Entry) -> None:
        try:
            if entry.topic == SCORED:
                self.scored.append(decode(entry.value, ScoredArticle))
            elif entry.topic == SPIKES:
                self.spikes.append(decode(entry.value, SpikeEvent))
            else:
                part = decode(entry.value, _Points)
                self.states.append(TrendState(series=part.series, points=part.points))
        except MessageError as error:
            self.bury(entry, error)

    def bury(self, entry: Entry, error: SquallError) -> None:
        """Put a record aside as a dead letter."""
        letter = DeadLetter(
            stage=GROUP,
            error=str(error),
            value=entry.value,
            at=utcnow(),
            topic=entry.topic,
            partition=entry.partition,
            offset=entry.offset,
        )
        self.dead.append((entry.key, letter))

    def save(self, store: Store) -> None:
        """Articles first, so that whoever sees a spike finds its stories."""
        store.save_scored(self.scored)
        store.save_spikes(self.spikes)
        store.save_points(self.states)


def _one_by_one(entries: Sequence[Entry], store: Store) -> _Batch:
    """Save each record alone, so that one which the database refuses takes no other with it."""
    whole = _Batch()
    for entry in entries:
        single = _Batch()
        single.add(entry)
        try:
            single.save(store)
        except Refused as error:
            single = _Batch()
            single.bury(entry, error)
        for name in ("scored", "spikes", "states", "dead"):
            getattr(whole, name).extend(getattr(single, name))
    return whole
