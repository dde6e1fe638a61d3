"""One member of a Kafka consumer group with its own transactional producer (KIP-447)."""

import heapq
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import CoordinatorNotAvailableError
from kafka.future import Future
from kafka.structs import MemberState, OffsetAndMetadata

from bus.errors import Fenced
from bus.kafka.client import BLOCK_MS, TransactionalProducer, entry_of, translated
from bus.log import Consumer, Entry, Partition, Record, Transaction

TOPIC_CHECK_SECONDS = 5.0
"""How often an idle consumer asks whether its topics still exist: a deleted topic is silent otherwise."""

LOOKUP_SECONDS = 0.1
"""Least time between two questions for the group's coordinator."""

PATIENCE = 2.0
"""Sessions for which a member may be without a place in its group, as while others finish a batch before they join."""

_logger = logging.getLogger(__name__)


class _Flag(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes changes of ownership and nothing else: callbacks run on the thread that sends heartbeats."""

    def __init__(self) -> None:
        self.changed = False
        self.gained: set[Partition] = set()

    def on_partitions_revoked(self, revoked: Any) -> None:
        self.changed = True
        self.gained -= {Partition(p.topic, p.partition) for p in revoked}

    def on_partitions_assigned(self, assigned: Any) -> None:
        self.changed = True
        self.gained |= {Partition(p.topic, p.partition) for p in assigned}


def _identity(member: Any) -> Any:
    """What a broker fences a member by."""
    return member and (member.generation_id, member.member_id)


class _Open(Transaction):
    def __init__(self, producer: TransactionalProducer) -> None:
        self._producer = producer

    def publish(self, records: Sequence[Record]) -> None:
        self._producer.send(records)


def _look_up_in_peace(coordinator: Any) -> None:
    """Let a consumer ask for its group's coordinator every :data:`LOOKUP_SECONDS` at most.

    kafka-python 3.0.12 asks without a pause while the broker that it is told of cannot be reached: a thousand times a
    second for as long as the cluster believes in a dead one. A failure that may be tried again makes it wait.
    """
    look_up, asked = coordinator.lookup_coordinator, 0.0

    def patiently() -> Any:
        nonlocal asked
        now = time.monotonic()
        if coordinator._find_coordinator_future is None and now - asked < LOOKUP_SECONDS:
            return Future().failure(CoordinatorNotAvailableError("asked a moment ago"))
        asked = now
        return look_up()

    coordinator.lookup_coordinator = patiently


class KafkaLogConsumer(Consumer):
    """One member of a consumer group: cooperative rebalancing, read-committed, offsets only inside transactions."""

    def __init__(
        self,
        servers: Sequence[str],
        options: dict[str, Any],
        producer: TransactionalProducer,
        group: str,
        topics: Sequence[str],
        look_up: Callable[[str], int],
    ) -> None:
        self._servers = servers
        self._producer = producer
        self._group = group
        self._topics = tuple(topics)
        self._look_up = look_up
        self._checked = time.monotonic()
        self._flag = _Flag()
        self._sent: dict[TopicPartition, int] = {}
        """The offsets that the group has committed, of the owned partitions."""
        self._handed_out: dict[TopicPartition, int] = {}
        """The offset after the last record that a poll has returned."""
        self._settled = time.monotonic()
        """When this was last seen to be a member in good standing."""
        self._patience = PATIENCE * options["session_timeout_ms"] / 1000
        self._member: Any = None
        """Who this was in the group at the last poll: what a transaction's offsets are committed as."""
        self._options = options
        self._consumer = self._joined()

    def _joined(self) -> KafkaConsumer:
        """A new member of the group."""
        with translated(self._servers, f"joining group {self._group!r}"):
            consumer = KafkaConsumer(
                bootstrap_servers=list(self._servers),
                group_id=self._group,
                isolation_level="read_committed",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
                partition_assignment_strategy=(CooperativeStickyAssignor(),),
                **({"bootstrap_timeout_ms": BLOCK_MS} | self._options),
            )
            _look_up_in_peace(consumer._coordinator)
            consumer.subscribe(list(self._topics), listener=self._flag)
            # Asked for before the first join: a leader that learns of its topics' partitions only afterwards joins once
            # more, and kafka-python 3.0.12 forgets the outcome of that join when a poll has ended in between.
            for topic in self._topics:
                consumer.partitions_for_topic(topic)
            self._settled = time.monotonic()
            return consumer

    @property
    def assignment(self) -> frozenset[Partition]:
        return frozenset(Partition(p.topic, p.partition) for p in self._consumer.assignment())

    def gained(self) -> frozenset[Partition]:
        gained = frozenset(self._flag.gained) & self.assignment
        self._flag.gained = set()
        return gained

    def poll(self, max_records: int, timeout: float) -> list[Entry]:
        with translated(self._servers, f"polling {', '.join(self._topics)}"):
            self._producer.settle()
            found = self._consumer.poll(timeout_ms=int(timeout * 1000), max_records=max_records)
            # Taken here, with the records: a heartbeat that is answered "unknown member" empties it behind our back,
            # and brokers accept offsets from a nameless member.
            self._member = self._consumer.group_metadata()
            if self._member.state == MemberState.STABLE:
                self._settled = time.monotonic()
            if self._flag.changed:
                self._rewind()
                self._flag.changed = False
                return []
            if not found and time.monotonic() - self._checked > TOPIC_CHECK_SECONDS:
                self._checked = time.monotonic()
                for topic in self._topics:
                    self._look_up(topic)
                self._check_membership()
            # Merged in the order they were written, as far as this poll reaches; each partition keeps its own order.
            partitions = [[entry_of(record) for record in records] for records in found.values()]
            self._handed_out.update((partition, records[-1].offset + 1) for partition, records in found.items())
            return list(heapq.merge(*partitions, key=lambda entry: entry.timestamp))

    def _rewind(self) -> None:
        """Go back to the group's committed offsets, or to the beginning where there are none."""
        self._sent.clear()
        self._handed_out.clear()
        for partition in self._consumer.assignment():
            committed = self._consumer.committed(partition, timeout_ms=BLOCK_MS)
            if committed is None:
                self._consumer.seek_to_beginning(partition)
            else:
                self._consumer.seek(partition, committed)
                self._sent[partition] = committed

    def rewind(self) -> None:
        self._flag.changed = True

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        what = f"transaction of group {self._group!r}"
        with translated(self._servers, what):
            self._check_ownership(what)
            try:
                self._producer.begin()
                yield _Open(self._producer)
                self._check_ownership(what)
                positions = self._positions()
                offsets = {p: OffsetAndMetadata(at, "", -1) for p, at in positions.items() if self._sent.get(p) != at}
                self._producer.commit(offsets, self._member)
                self._sent = positions
            except BaseException:
                self._producer.abort()
                self.rewind()  # at the next poll, when the transaction's outcome is known
                raise

    def _check_membership(self) -> None:
        """Join afresh after :data:`PATIENCE` without a place in the group.

        kafka-python 3.0.12 sometimes forgets the outcome of a leader's join; the member then has no place, and waits
        for ever.
        """
        if time.monotonic() - self._settled > self._patience:
            _logger.warning(
                "group %s has given this member no place for %g s: joining afresh", self._group, self._patience
            )
            former, self._consumer = self._consumer, self._joined()
            self._flag.changed = True
            former.close(autocommit=False, timeout_ms=2_000)

    def _check_ownership(self, what: str) -> None:
        if self._flag.changed or _identity(self._consumer.group_metadata()) != _identity(self._member):
            self._flag.changed = True
            raise Fenced(f"kafka:{','.join(self._servers)}: {what}: its partitions are moving")

    def _positions(self) -> dict[TopicPartition, int]:
        """The next offset of each owned partition; past transaction markers too, so that no lag remains of them."""
        owned = self._consumer.assignment()
        return {p: at for p in owned if (at := self._consumer.position(p, timeout_ms=BLOCK_MS)) is not None}

    def lag(self) -> dict[Partition, int]:
        # By what the last fetch said, without a question: while a broker is away the answer would take a poll's time.
        ends = {p: self._consumer.highwater(p) for p in self._consumer.assignment()}
        return {
            Partition(p.topic, p.partition): max(0, end - self._done(p)) for p, end in ends.items() if end is not None
        }

    def _done(self, partition: TopicPartition) -> int:
        """The offset up to which a partition is done: past transaction markers where every record is committed."""
        committed = self._sent.get(partition, 0)
        if self._handed_out.get(partition, 0) > committed:
            return committed
        return max(committed, self._consumer.position(partition, timeout_ms=100) or 0)

    def close(self) -> None:
        with translated(self._servers, f"leaving group {self._group!r}"):
            self._producer.close()
            self._consumer.close(autocommit=False, timeout_ms=2_000)
