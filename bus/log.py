"""The log: append-only topics with Kafka's semantics, behind one narrow interface.

Two implementations stand behind it, :class:`bus.embedded.EmbeddedLog` (one SQLite file) and
:class:`bus.kafka.KafkaLog`; tests/bus/test_log_contract.py holds both to the same promises:

- A record published without error is durable, and records of one key keep their order.
- ``publish`` is atomic: all of its records become visible, or none.
- A partition belongs to one consumer of a group at a time. When consumers come, go or die, partitions move.
- A :meth:`Consumer.transaction` writes its records and the consumed offsets together or not at all. A consumer that has
  lost its partitions cannot commit (:class:`bus.errors.Fenced`).
- Readers see committed records only.
"""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Self

from bus.topics import TopicSpec


class Record(NamedTuple):
    """A record to write."""

    topic: str
    key: str
    value: bytes


class Entry(NamedTuple):
    """A record as it stands on the log."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    timestamp: float
    """Seconds since 1970, when it was written."""


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int


class Change(NamedTuple):
    """Where a topic is not as it should be."""

    topic: str
    setting: str
    """``topic`` where it does not exist, ``partitions``, or the log's own name of a setting."""
    now: str
    wanted: str
    obstacle: str = ""
    """Why it cannot be changed, and what to do; empty when :meth:`Log.apply` changes it."""


def partition_change(topic: TopicSpec, now: int, addable: bool) -> Change | None:
    """What stands between a topic and its number of partitions.

    Args:
        now: how many it has.
        addable: whether this log can add partitions to a topic.
    """
    if now == topic.partitions:
        return None
    if now > topic.partitions:
        obstacle = f"partitions cannot be taken away: set partitions = {now}"
    elif topic.keyed_state:
        obstacle = (
            f"the state of each series stays in the partition of its key: set partitions = {now}, or start with new"
            " topics and replay the archive's articles"
        )
    elif not addable:
        obstacle = f"this log's partitions are chosen when it is made: set partitions = {now}"
    else:
        obstacle = ""
    return Change(topic.name, "partitions", str(now), str(topic.partitions), obstacle)


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key: CRC-32 modulo the number of partitions.

    One function for every topic and every log, so that series of equal name meet in partitions of equal number.
    """
    return zlib.crc32(key.encode()) % partitions


class Transaction(ABC):
    """An open transaction of a consumer."""

    @abstractmethod
    def publish(self, records: Sequence[Record]) -> None:
        """Write records that become visible when the transaction commits."""


class Consumer(ABC):
    """One member of a consumer group."""

    @property
    @abstractmethod
    def assignment(self) -> frozenset[Partition]:
        """The partitions that this consumer owns. It changes only inside :meth:`poll`."""

    @abstractmethod
    def poll(self, max_records: int, timeout: float) -> list[Entry]:
        """Records from the owned partitions, in order within each; empty when none came within ``timeout`` seconds.

        The first poll after a change of ownership returns no records, so that the caller can restore state for the
        partitions it has gained before it sees their records. Records polled earlier but not committed by then are
        polled again by whoever owns their partition now.

        Raises:
            UnknownTopic: a subscribed topic does not exist any more.
            LogUnreachable: the log did not answer; the same call may succeed later.
        """

    @abstractmethod
    def gained(self) -> frozenset[Partition]:
        """The partitions whose ownership began since the last call, lost and regained ones among them."""

    @abstractmethod
    def rewind(self) -> None:
        """Go back to the committed offsets, now or at the next poll: what was polled since is polled again.

        For a caller that fails between a poll and its transaction. Raises nothing.
        """

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Transaction]:
        """Commit what the block publishes together with the offsets of everything polled so far.

        When the block raises, nothing is written and the consumer goes back to its committed offsets, so that the
        same records are polled again.

        Raises:
            Fenced: the partitions belong to another consumer by now; nothing was written, and the next poll starts
                from what the group has committed.
            LogFull, LogUnreachable: nothing was written; the same records are polled again.
            RecordTooLarge: as these, but the block must not publish the same again.
        """

    def commit(self) -> None:
        """Commit the offsets of everything polled so far."""
        with self.transaction():
            pass

    @abstractmethod
    def lag(self) -> dict[Partition, int]:
        """Offsets after the committed one, for each owned partition, as of the last poll: zero when all is done.

        On Kafka the markers that end transactions take an offset each and count too, and so does what is not committed
        yet.
        """

    @abstractmethod
    def close(self) -> None:
        """Leave the group, so that others take over at once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Log(ABC):
    """A log that topics live on. Safe to share between the threads of a process, except for its consumers."""

    commit_markers = 0
    """Offsets that one publish takes in each partition it touches, beside its records."""

    @abstractmethod
    def create_topics(self, topics: Iterable[TopicSpec]) -> None:
        """Create the topics that do not exist yet; those of the embedded log that do get their new retention."""

    @abstractmethod
    def changes(self, topics: Iterable[TopicSpec]) -> list[Change]:
        """Where the log's topics are not as they should be, topic by topic; looks and changes nothing."""

    @abstractmethod
    def apply(self, topics: Iterable[TopicSpec]) -> None:
        """Create what is missing and change what :meth:`changes` names without an obstacle; no record is lost by it.

        Shorter retention lets old records go at the log's next cleaning.
        """

    @abstractmethod
    def delete_topic(self, topic: str) -> None:
        """Delete a topic with its records and the offsets committed on it. Raises UnknownTopic."""

    @abstractmethod
    def partitions(self, topic: str) -> int:
        """The number of partitions of a topic. Raises UnknownTopic."""

    @abstractmethod
    def publish(self, records: Sequence[Record]) -> None:
        """Write records, atomically and durably.

        Raises:
            UnknownTopic, LogFull, LogUnreachable: nothing was written.
        """

    @abstractmethod
    def consumer(self, group: str, topics: Sequence[str]) -> Consumer:
        """Join a consumer group. A group without committed offsets starts at the beginning."""

    @abstractmethod
    def read(self, topic: str, partition: int, start: int = 0) -> Iterator[Entry]:
        """The records of one partition from offset ``start`` up to the end at the call, outside any group.

        Every transaction committed before the call is in it. A log that shows open transactions in its end waits for
        theirs, and leaves out what is aborted.
        """

    def latest(self, topic: str, partition: int) -> dict[str, Entry]:
        """The newest record of each key in one partition of a compacted topic."""
        return {entry.key: entry for entry in self.read(topic, partition)}

    @abstractmethod
    def ends(self, topic: str) -> list[int]:
        """For each partition the offset after its last record."""

    @abstractmethod
    def lag(self, group: str, topic: str) -> int:
        """Offsets of a topic that a group has not committed yet, over all partitions; see :meth:`Consumer.lag`."""

    def clean(self) -> None:  # noqa: B027 - a server cleans by itself
        """Delete and compact what the topics' retention allows; a log with a server of its own does this by itself."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read_all(self, topic: str) -> Iterator[Entry]:
        """The records of every partition of a topic, one partition after the other."""
        for number in range(self.partitions(topic)):
            yield from self.read(topic, number)
