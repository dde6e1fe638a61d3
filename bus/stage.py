"""The loop of every stage that reads the log: poll, handle, commit; and what becomes of faults.

One step, in this order:

1. Poll. Where partitions were gained, the stage restores its state for them before it sees their records.
2. The stage turns the records into records to write.
3. Those and the consumed offsets are committed in one transaction.

Faults:

- Fenced: another consumer owns the partitions now. Nothing was written; the stage goes on with what it owns.
- The log is full or unreachable, or a stage's own database or queue is (:meth:`Stage.passes`): nothing was written;
  the same records come again after a pause.
- The stage raises an error of its own, or makes a record that is too large for the log: the batch is polled again
  record by record, and a record that fails alone :data:`TRIES` times goes to ``news.dead`` with its error. The others
  lose nothing.
- A deleted topic or a corrupt log ends the role with one clear line; its supervisor starts it again.
"""

import logging
import threading
import time
import traceback
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bus.errors import Fenced, LogError, LogFull, LogUnreachable, RecordTooLarge, SquallError
from bus.log import Consumer, Entry, Log, Partition, Record
from bus.messages import DeadLetter, encode, utcnow
from bus.topics import DEAD

logger = logging.getLogger(__name__)

TRIES = 3
"""How often a record that fails alone is tried before it is put aside."""

LETTER_BYTES = 500_000
"""Most bytes of a record that its dead letter holds: as base64 they still fit a Kafka record of 1 MB."""

POLL_SECONDS = 0.5
"""Longest wait for records: what a stop costs, and how often an idle stage is given a tick."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
"""Seconds between two attempts while the log is away: doubling, and within a group's session."""

LAG_SECONDS = 2.0
"""How often the lag is measured; it costs a query."""


class Stage(ABC):
    """What a role does with the records that it reads. Its state may depend on records in their order only."""

    name: str
    """The consumer group, and the stage that dead letters name."""
    topics: tuple[str, ...]

    def restore(self, gained: frozenset[Partition], owned: frozenset[Partition]) -> None:  # noqa: B027
        """Make the state of the gained partitions what the log says, and forget that of partitions not owned."""

    @abstractmethod
    def handle(self, entries: Sequence[Entry]) -> list[Record]:
        """The records to write for a batch. What it changes in the stage's state must follow from the log alone."""

    def tick(self) -> list[Record]:
        """Records to write because time has passed; called when a poll has brought none."""
        return []

    def passes(self, error: Exception) -> bool:
        """Whether an error of this stage will pass by itself, like a database that is away: the records wait then."""
        return False

    def committed(self) -> None:  # noqa: B027
        """Called when what the last ``handle`` or ``tick`` returned is on the log."""


class StageMetrics:
    """What every stage tells Prometheus of its reading."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.lag = Gauge(
            "squall_consumer_lag", "Records not committed yet.", ["group", "topic", "partition"], registry=registry
        )
        self.dead = Counter(
            "squall_dead_letters_total", "Records put aside in news.dead.", ["stage"], registry=registry
        )
        self.fenced = Counter(
            "squall_fenced_total", "Transactions refused because partitions had moved.", ["group"], registry=registry
        )
        self.retries = Counter(
            "squall_retries_total",
            "Batches repeated because the log, or a stage's own store, was away.",
            ["group", "reason"],
            registry=registry,
        )


def latency(registry: CollectorRegistry) -> Histogram:
    """The histogram of the time that an article takes between two stages, of which each role fills its own."""
    return Histogram(
        "squall_end_to_end_seconds",
        "Seconds that an article takes between two stages.",
        ["stage"],
        buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600),
        registry=registry,
    )


def dead_letter(stage: str, entry: Entry, error: BaseException) -> Record:
    """The record that puts an entry aside, with the error and a hash of its traceback that groups equal faults."""
    text = f"{type(error).__name__}: {error}" if not isinstance(error, SquallError) else str(error)
    trace = "".join(traceback.format_tb(error.__traceback__))
    if trace and not isinstance(error, SquallError):
        text += f" [trace {zlib.crc32(trace.encode()):08x}]"
    letter = DeadLetter(
        stage=stage,
        error=text,
        value=entry.value[:LETTER_BYTES],
        length=len(entry.value),
        at=utcnow(),
        topic=entry.topic,
        partition=entry.partition,
        offset=entry.offset,
    )
    logger.error("%s: %s[%d]@%d put aside in %s: %s", stage, entry.topic, entry.partition, entry.offset, DEAD, text)
    return Record(DEAD, entry.key, encode(letter))


def run_stage(log: Log, stage: Stage, *, batch: int, stop: threading.Event, registry: CollectorRegistry) -> None:
    """Run a stage until ``stop`` is set.

    Args:
        batch: most records of one transaction.

    Raises:
        LogError: a topic was deleted or the log is corrupt; starting again may help.
    """
    metrics = StageMetrics(registry)
    metrics.dead.labels(stage.name)
    with log.consumer(stage.name, stage.topics) as consumer:
        loop = _Loop(stage, consumer, metrics, batch)
        pause = 0.0
        while not stop.wait(pause):
            try:
                worked = loop.step()
            except Fenced as error:
                logger.info("%s", error)
                metrics.fenced.labels(stage.name).inc()
                loop.stale = True
            except Exception as error:
                away = "log" if isinstance(error, LogFull | LogUnreachable) else "store"
                if away == "store" and not stage.passes(error):
                    raise
                if not pause:  # the first of a row is said, the others are counted
                    logger.error("%s: %s; nothing is lost, the records wait and are tried again", stage.name, error)
                pause = min(pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
                metrics.retries.labels(stage.name, away).inc()
                loop.stale = True
            else:
                if pause and worked:
                    logger.info("%s: going on", stage.name)
                pause = 0.0


class _Loop:
    """The steps of one consumer; it remembers what failed."""

    def __init__(self, stage: Stage, consumer: Consumer, metrics: StageMetrics, batch: int) -> None:
        self._stage = stage
        self._consumer = consumer
        self._metrics = metrics
        self._batch = batch
        self.stale = False
        """Whether the stage's state holds changes that were not committed."""
        self._singly = 0
        """Records still to be polled one by one, because one of them fails."""
        self._failures = 0
        """How often the record at hand has failed alone."""
        self._error: Exception | None = None
        """What it failed with."""
        self._measured = 0.0
        self._reported: set[Partition] = set()
        """Partitions whose lag Prometheus was told."""

    def step(self) -> bool:
        """Poll, handle, commit; whether there was anything to do."""
        entries = self._consumer.poll(1 if self._singly else self._batch, POLL_SECONDS)
        gained = self._consumer.gained()
        if gained or self.stale:
            owned = self._consumer.assignment
            # Set first: when restoring fails half-way it has to be done again, for everything.
            gained, self.stale = (owned if self.stale else gained), True
            try:
                self._stage.restore(gained, owned)
            except BaseException:
                self._consumer.rewind()  # the records just polled must come again, after the state
                raise
            self.stale = False
        if entries:
            self._handle(entries)
        elif records := self._stage.tick():
            self._commit(records)
        self._measure()
        return bool(entries)

    def _handle(self, entries: Sequence[Entry]) -> None:
        condemned = self._error if len(entries) == 1 and self._failures >= TRIES else None
        try:
            with self._consumer.transaction() as transaction:
                if condemned is None:
                    records = self._stage.handle(entries)
                else:
                    records = [dead_letter(self._stage.name, entries[0], condemned)]
                transaction.publish(records)
        except Exception as error:
            self.stale = True
            if self._spares_records(error):
                raise
            self._error = error
            if len(entries) == 1:
                self._failures += 1
            else:
                self._singly = len(entries)
                logger.warning("%s: %s in a batch of %d; trying them one by one", self._stage.name, error, len(entries))
        else:
            self._failures, self._error = 0, None
            self._singly = max(0, self._singly - 1)
            self._metrics.dead.labels(self._stage.name).inc(sum(record.topic == DEAD for record in records))
            if condemned is None:
                self._stage.committed()

    def _spares_records(self, error: Exception) -> bool:
        """Whether an error is not the fault of the records at hand: none of them is put aside for it."""
        of_the_log = isinstance(error, LogError) and not isinstance(error, RecordTooLarge)
        return of_the_log or self._stage.passes(error)

    def _commit(self, records: Sequence[Record]) -> None:
        with self._consumer.transaction() as transaction:
            transaction.publish(records)
        self._stage.committed()

    def _measure(self) -> None:
        """Measure the lag, now and then."""
        if time.monotonic() - self._measured < LAG_SECONDS:
            return
        self._measured = time.monotonic()
        lag = self._consumer.lag()
        for partition in self._reported - lag.keys():  # its new owner reports it now
            self._metrics.lag.remove(self._stage.name, partition.topic, partition.number)
        self._reported = set(lag)
        for partition, count in lag.items():
            self._metrics.lag.labels(self._stage.name, partition.topic, partition.number).set(count)
