"""What only the Kafka log can get wrong: members that lose their place unnoticed, brokers that fall silent."""

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from bus.errors import Fenced, LogUnreachable, RecordTooLarge
from bus.kafka import KafkaLog
from bus.log import Consumer, Entry, Record
from bus.messages import DeadLetter, decode
from bus.stage import Stage, run_stage
from bus.topics import DEAD, TopicSpec
from tests.services import kafka
from tests.services.ports import wait_until

pytestmark = pytest.mark.kafka


@pytest.fixture
def log(kafka_broker: str) -> Iterator[KafkaLog]:
    with KafkaLog([kafka_broker], {}, session_seconds=6.0, poll_seconds=6.0) as log:
        yield log


class Copy(Stage):
    """Copies records from one topic to another."""

    def __init__(self, source: str, target: str, grow: int = 1) -> None:
        self.name = f"g.{source}"
        self.topics = (source,)
        self._target = target
        self._grow = grow

    def handle(self, entries: Sequence[Entry]) -> list[Record]:
        return [Record(self._target, entry.key, entry.value * self._grow) for entry in entries]


def new_topics(log: KafkaLog) -> tuple[str, str]:
    mark = uuid.uuid4().hex[:8]
    log.create_topics([TopicSpec(f"in.{mark}"), TopicSpec(f"out.{mark}"), TopicSpec(DEAD)])
    return f"in.{mark}", f"out.{mark}"


def copied(log: KafkaLog, topic: str) -> list[bytes]:
    return sorted(entry.value for entry in log.read_all(topic))


def test_a_member_whose_time_between_polls_has_run_out_cannot_commit(log: KafkaLog, kafka_broker: str) -> None:
    source, target = new_topics(log)
    log.publish([Record(source, f"k{i}", b"%02d" % i) for i in range(20)])
    with log.consumer("g." + source, [source]) as zombie:
        entries: list[Entry] = []
        wait_until(lambda: bool(entries.extend(zombie.poll(100, 0.5)) or len(entries) == 20), 30, "the records")
        stop, registry = threading.Event(), CollectorRegistry()
        with KafkaLog([kafka_broker], {}, session_seconds=6.0, poll_seconds=60.0) as other:
            arguments = {"batch": 10, "stop": stop, "registry": registry}
            successor = threading.Thread(target=run_stage, args=(other, Copy(source, target)), kwargs=arguments)
            successor.start()
            try:
                wait_until(lambda: len(copied(log, target)) == 20, 60, "the successor has copied all")
                time.sleep(3)  # the zombie's heartbeat learns that it is no member any more, and forgets its name
                with pytest.raises(Fenced), zombie.transaction() as transaction:
                    transaction.publish([Record(target, entry.key, entry.value) for entry in entries])
            finally:
                stop.set()
                successor.join()
    assert copied(log, target) == [b"%02d" % i for i in range(20)]


def test_a_record_that_is_too_large_for_the_log_is_put_aside_alone(log: KafkaLog) -> None:
    source, target = new_topics(log)
    log.publish([Record(source, "k", b"x" * size) for size in (10, 200_000, 20)])
    dead = len(list(log.read_all(DEAD)))
    stop, registry = threading.Event(), CollectorRegistry()
    arguments = {"batch": 10, "stop": stop, "registry": registry}
    role = threading.Thread(target=run_stage, args=(log, Copy(source, target, grow=10)), kwargs=arguments)
    role.start()
    try:
        wait_until(lambda: len(list(log.read_all(DEAD))) > dead, 60, "a dead letter")
        wait_until(lambda: len(copied(log, target)) == 2, 30, "the others are copied")
    finally:
        stop.set()
        role.join()
    assert [len(value) for value in copied(log, target)] == [100, 200]
    letter = decode(list(log.read_all(DEAD))[-1].value, DeadLetter)
    assert (letter.topic, letter.length) == (source, 200_000)
    with pytest.raises(RecordTooLarge):
        log.publish([Record(source, "k", b"x" * 2_000_000)])


def test_a_broker_that_falls_silent_is_reported_and_neither_stops_a_stop_nor_costs_a_record(tmp_path: Path) -> None:
    with kafka.broker(tmp_path) as broker, KafkaLog([broker.address], {}, session_seconds=6.0) as log:
        source, target = new_topics(log)
        stop, registry, handling = threading.Event(), CollectorRegistry(), threading.Event()

        class Paused(Copy):
            def handle(self, entries: Sequence[Entry]) -> list[Record]:
                if not handling.is_set():
                    broker.pause()
                    handling.set()
                return super().handle(entries)

        def retries() -> float:
            labels = {"group": "g." + source, "reason": "log"}
            return registry.get_sample_value("squall_retries_total", labels) or 0.0

        log.publish([Record(source, f"k{i}", b"%02d" % i) for i in range(20)])
        arguments = {"batch": 10, "stop": stop, "registry": registry}
        role = threading.Thread(target=run_stage, args=(log, Paused(source, target)), kwargs=arguments)
        role.start()
        assert handling.wait(60)
        wait_until(lambda: retries() > 0, 40, "the silence is noticed")
        with pytest.raises(LogUnreachable):
            log.publish([Record(source, "k", b"never")])
        broker.resume()
        wait_until(lambda: len(copied(log, target)) == 20, 60, "the records come after all")
        broker.pause()
        time.sleep(1)
        stop.set()
        role.join(40)
        assert not role.is_alive()
        broker.resume()
        assert copied(log, target) == [b"%02d" % i for i in range(20)]


def test_partitions_are_added_where_no_state_hangs_on_them_and_a_running_member_reads_them(kafka_broker: str) -> None:
    log = KafkaLog([kafka_broker], {"metadata_max_age_ms": 1_000})
    topic = f"grows.{uuid.uuid4().hex[:8]}"
    log.create_topics([TopicSpec(topic, 1)])
    log.publish([Record(topic, f"k{i}", b"before") for i in range(5)])
    wider = [TopicSpec(topic, 3)]
    with log, log.consumer("g." + topic, [topic]) as consumer:
        entries: list[Entry] = []
        wait_until(lambda: bool(entries.extend(consumer.poll(100, 0.5)) or len(entries) == 5), 30, "the first records")
        assert [change.setting for change in log.changes(wider)] == ["partitions"]
        log.apply(wider)
        written = [Record(topic, f"k{i}", b"after") for i in range(20)]
        log.publish(written)  # by a producer that knows the old ones: it goes on with those until it hears of the new
        time.sleep(2)
        log.publish(written)
        assert all(end > 0 for end in log.ends(topic))
        seen: set[tuple[int, int]] = set()

        def all_seen() -> bool:
            seen.update((entry.partition, entry.offset) for entry in consumer.poll(100, 0.5) if entry.value == b"after")
            return len(seen) == 40

        wait_until(all_seen, 60, "the records of the new partitions")


def test_a_named_member_that_comes_back_moves_no_partitions(kafka_broker: str, log: KafkaLog) -> None:
    wide = f"wide.{uuid.uuid4().hex[:8]}"
    log.create_topics([TopicSpec(wide, 4)])
    opened = [KafkaLog([kafka_broker], {}, session_seconds=20.0, member=name) for name in ("a", "b", "a")]
    try:
        first, other = (each.consumer("g." + wide, [wide]) for each in opened[:2])
        wait_until(lambda: shared(first, other) == {2}, 30, "two partitions each")
        before = first.assignment, other.assignment
        other.gained()
        first.close()
        again = opened[2].consumer("g." + wide, [wide])
        wait_until(lambda: again.poll(10, 0.3) == [] and again.assignment == before[0], 15, "its partitions to be back")
        other.poll(10, 0.3)
        assert (other.assignment, other.gained()) == (before[1], frozenset()), "nothing moved"
        log.publish([Record(wide, f"k{i}", b"v") for i in range(8)])
        for consumer in (again, other):
            wait_until(lambda consumer=consumer: bool(consumer.poll(10, 0.3)), 10, "records")  # type: ignore[misc]
            consumer.commit()
            consumer.close()
    finally:
        for each in opened:
            each.close()


def shared(*members: Consumer) -> set[int]:
    """How many partitions each of the members has, after a poll."""
    for member in members:
        member.poll(10, 0.3)
    return {len(member.assignment) for member in members}


def test_a_member_that_the_group_has_forgotten_joins_afresh(log: KafkaLog) -> None:
    topic, _ = new_topics(log)
    with log.consumer("g." + topic, [topic]) as consumer:
        wait_until(lambda: consumer.poll(10, 0.3) == [] and len(consumer.assignment) == 1, 30, "its partition")
        consumer.gained()
        consumer._settled = consumer._checked = -1e9  # as if its last joins had come to nothing
        consumer._check_membership()
        wait_until(lambda: consumer.poll(10, 0.3) == [] and len(consumer.assignment) == 1, 30, "its partition again")
        assert consumer.gained() == consumer.assignment, "its state is restored"
        log.publish([Record(topic, "k", b"v")])
        entries: list[Entry] = []
        wait_until(lambda: bool(entries.extend(consumer.poll(10, 0.3)) or entries), 10, "the record")
        consumer.commit()
    assert [entry.value for entry in entries] == [b"v"]
