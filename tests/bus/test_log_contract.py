"""The promises of bus.log, held by both logs: every test here runs on the embedded log and on a real Kafka broker."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bus.embedded import EmbeddedLog
from bus.errors import Fenced, UnknownTopic
from bus.log import Change, Consumer, Entry, Log, Record, partition_of
from bus.topics import DAY, TopicSpec
from tests.services.ports import wait_until

_names = itertools.count(int(time.time() * 1000))

Open = Callable[[], Log]


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the same log again and again, as several processes would."""
    opened: list[Log] = []
    if request.param == "embedded":

        def new() -> Log:
            opened.append(EmbeddedLog(tmp_path / "log.db"))
            return opened[-1]
    else:
        broker: str = request.getfixturevalue("kafka_broker")

        def new() -> Log:
            from bus.kafka import KafkaLog

            opened.append(KafkaLog([broker], {}, session_seconds=6.0, poll_seconds=8.0))
            return opened[-1]

    yield new
    for log in opened:
        log.close()


@pytest.fixture
def log(open_log: Open) -> Log:
    return open_log()


def new_topic(log: Log, partitions: int = 1, compacted: bool = False) -> str:
    name = f"test.{next(_names)}"
    log.create_topics([TopicSpec(name, partitions, compacted)])
    return name


def records(topic: str, count: int, key: str | None = None, start: int = 0) -> list[Record]:
    return [Record(topic, key or f"k{i}", b"v%d" % i) for i in range(start, start + count)]


def values(entries: list[Entry]) -> list[str]:
    return sorted(entry.value.decode() for entry in entries)


def drain(consumer: Consumer, expected: int, seconds: float = 30.0, commit: bool = True) -> list[Entry]:
    """Poll until so many records have come."""
    entries: list[Entry] = []
    deadline = time.monotonic() + seconds
    while len(entries) < expected and time.monotonic() < deadline:
        entries += consumer.poll(1000, 0.2)
        if commit and entries:
            consumer.commit()
    return entries


def settle(consumers: list[Consumer], partitions: int, seconds: float = 40.0) -> None:
    """Poll all consumers, each in a thread as if in a process of its own, until all partitions are shared out."""
    settled = threading.Event()

    def poll(consumer: Consumer) -> None:
        while not settled.is_set():
            assert consumer.poll(1, 0.2) == []

    threads = [threading.Thread(target=poll, args=(consumer,)) for consumer in consumers]
    for thread in threads:
        thread.start()
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            shares = [consumer.assignment for consumer in consumers]
            if all(shares) and len(frozenset().union(*shares)) == sum(map(len, shares)) == partitions:
                return
            time.sleep(0.05)
        raise AssertionError(f"no stable assignment after {seconds} s: {shares}")
    finally:
        settled.set()
        for thread in threads:
            thread.join()


def test_records_of_a_key_are_read_in_the_order_they_were_published(log: Log) -> None:
    topic = new_topic(log, partitions=3)
    for start in range(0, 30, 10):
        log.publish(records(topic, 10, key="same", start=start))
    number = partition_of("same", 3)
    entries = list(log.read(topic, number))
    assert [entry.value for entry in entries] == [b"v%d" % i for i in range(30)]
    assert [entry.offset for entry in entries] == sorted({entry.offset for entry in entries})
    assert {entry.key for entry in entries} == {"same"}


def test_keys_spread_over_partitions_by_one_function(log: Log) -> None:
    topic = new_topic(log, partitions=4)
    log.publish(records(topic, 100))
    for number in range(4):
        assert all(partition_of(entry.key, 4) == number for entry in log.read(topic, number))
    assert len(list(log.read_all(topic))) == 100


def test_creating_a_topic_twice_keeps_its_records(log: Log) -> None:
    topic = new_topic(log, partitions=2)
    log.publish(records(topic, 5))
    log.create_topics([TopicSpec(topic, 2)])
    assert log.partitions(topic) == 2
    assert len(list(log.read_all(topic))) == 5


def test_an_unknown_topic_is_named_in_the_error(log: Log) -> None:
    with pytest.raises(UnknownTopic, match=r"no\.such"):
        log.publish([Record("no.such", "k", b"v")])
    with pytest.raises(UnknownTopic, match=r"no\.such"):
        log.partitions("no.such")


def test_publish_to_a_missing_topic_writes_nothing_else_either(log: Log) -> None:
    topic = new_topic(log)
    with pytest.raises(UnknownTopic):
        log.publish([*records(topic, 3), Record("no.such", "k", b"v")])
    assert list(log.read_all(topic)) == []


def test_a_new_group_starts_at_the_beginning(log: Log) -> None:
    topic = new_topic(log, partitions=2)
    log.publish(records(topic, 20))
    with log.consumer(f"g.{topic}", [topic]) as consumer:
        assert values(drain(consumer, 20)) == values([Entry(topic, 0, 0, "", r.value, 0) for r in records(topic, 20)])


def test_a_group_goes_on_after_its_committed_offsets(log: Log, open_log: Open) -> None:
    topic = new_topic(log, partitions=2)
    log.publish(records(topic, 10))
    with log.consumer(f"g.{topic}", [topic]) as consumer:
        drain(consumer, 10)
    log.publish(records(topic, 5, start=10))
    with open_log().consumer(f"g.{topic}", [topic]) as consumer:
        assert values(drain(consumer, 5)) == sorted(f"v{i}" for i in range(10, 15))


def test_groups_do_not_disturb_each_other(log: Log) -> None:
    topic = new_topic(log)
    log.publish(records(topic, 10))
    with log.consumer(f"a.{topic}", [topic]) as first:
        drain(first, 10)
    with log.consumer(f"b.{topic}", [topic]) as second:
        assert len(drain(second, 10)) == 10


def test_uncommitted_records_come_again_after_a_restart(log: Log, open_log: Open) -> None:
    topic = new_topic(log)
    log.publish(records(topic, 10))
    with log.consumer(f"g.{topic}", [topic]) as consumer:
        assert len(drain(consumer, 10, commit=False)) == 10
    with open_log().consumer(f"g.{topic}", [topic]) as consumer:
        assert len(drain(consumer, 10)) == 10


def test_a_transaction_writes_records_and_offsets_together(log: Log) -> None:
    source, target = new_topic(log), new_topic(log)
    log.publish(records(source, 10))
    with log.consumer(f"g.{source}", [source]) as consumer:
        entries = drain(consumer, 10, commit=False)
        with consumer.transaction() as transaction:
            transaction.publish([Record(target, e.key, e.value) for e in entries])
        wait_until(lambda: sum(consumer.lag().values()) == 0, 10, "nothing is left")
    assert values(list(log.read_all(target))) == values(entries)
    wait_until(lambda: log.lag(f"g.{source}", source) == 0, 10, "nothing is left")


def test_a_failed_transaction_writes_nothing_and_polls_the_same_records_again(log: Log) -> None:
    source, target = new_topic(log, partitions=2), new_topic(log)
    log.publish(records(source, 10))
    with log.consumer(f"g.{source}", [source]) as consumer:
        entries = drain(consumer, 10, commit=False)
        with pytest.raises(ZeroDivisionError), consumer.transaction() as transaction:
            transaction.publish([Record(target, e.key, e.value) for e in entries])
            raise ZeroDivisionError
        assert list(log.read_all(target)) == []
        assert values(drain(consumer, 10, commit=False)) == values(entries)


def test_readers_never_see_an_open_transaction(log: Log, open_log: Open) -> None:
    source, target = new_topic(log), new_topic(log)
    log.publish(records(source, 1))
    other = open_log()
    with log.consumer(f"g.{source}", [source]) as consumer:
        drain(consumer, 1, commit=False)
        with consumer.transaction() as transaction:
            transaction.publish(records(target, 100))
            seen: list[Entry] = []
            reader = threading.Thread(target=lambda: seen.extend(other.read_all(target)))
            reader.start()
            reader.join(0.5)
            assert seen == []
    reader.join(10)
    assert len(seen) in (0, 100), "all of a transaction or nothing, whether a reader waits for its end or not"
    assert len(list(other.read_all(target))) == 100


def test_partitions_are_shared_out_and_each_record_goes_to_one_member(log: Log, open_log: Open) -> None:
    topic = new_topic(log, partitions=4)
    group = f"g.{topic}"
    with log.consumer(group, [topic]) as first, open_log().consumer(group, [topic]) as second:
        settle([first, second], 4)
        log.publish(records(topic, 100))
        entries: list[Entry] = []
        deadline = time.monotonic() + 30
        while len(entries) < 100 and time.monotonic() < deadline:
            for consumer in (first, second):
                entries += consumer.poll(1000, 0.1)
                consumer.commit()
        assert values(entries) == sorted(f"v{i}" for i in range(100))


def test_a_member_that_leaves_hands_its_partitions_over(log: Log, open_log: Open) -> None:
    topic = new_topic(log, partitions=4)
    group = f"g.{topic}"
    second = open_log().consumer(group, [topic])
    with log.consumer(group, [topic]) as first:
        settle([first, second], 4)
        first.gained()
        before = first.assignment
        second.close()
        settle([first], 4)
        assert first.gained() >= first.assignment - before
        log.publish(records(topic, 40))
        assert len(drain(first, 40)) == 40


def test_gained_partitions_are_reported_before_their_records(log: Log) -> None:
    topic = new_topic(log, partitions=3)
    log.publish(records(topic, 10))
    with log.consumer(f"g.{topic}", [topic]) as consumer:
        seen = frozenset()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            entries = consumer.poll(1000, 0.2)
            seen |= consumer.gained()
            if entries:
                break
        assert seen == consumer.assignment
        assert len(seen) == 3
        assert consumer.gained() == frozenset()


def test_a_consumer_that_lost_its_partitions_cannot_commit(log: Log, open_log: Open) -> None:
    source, target = new_topic(log, partitions=2), new_topic(log)
    group = f"g.{source}"
    log.publish(records(source, 20))
    with log.consumer(group, [source]) as zombie:
        entries = drain(zombie, 20, commit=False)
        successor = open_log().consumer(group, [source])
        stop = threading.Event()
        results: list[Entry] = []

        def take_over() -> None:
            while not stop.is_set():
                found = successor.poll(1000, 0.2)
                with successor.transaction() as transaction:
                    transaction.publish([Record(target, e.key, e.value) for e in found])
                results.extend(found)

        thread = threading.Thread(target=take_over)
        thread.start()
        try:
            # The zombie does not poll: when its time is over, or at once where joining fences, the other has it all.
            with pytest.raises(Fenced):
                deadline = time.monotonic() + 40
                while time.monotonic() < deadline:
                    time.sleep(0.5)
                    if not results and not successor.assignment:
                        continue
                    with zombie.transaction() as transaction:
                        transaction.publish([Record(target, e.key, e.value) for e in entries])
                    break
            deadline = time.monotonic() + 60
            while len(list(log.read_all(target))) < 20 and time.monotonic() < deadline:
                zombie_entries = zombie.poll(1000, 0.2)
                with zombie.transaction() as transaction:
                    transaction.publish([Record(target, e.key, e.value) for e in zombie_entries])
        finally:
            stop.set()
            thread.join()
            successor.close()
    assert values(list(log.read_all(target))) == sorted(f"v{i}" for i in range(20))


def test_lag_counts_what_is_not_committed_and_ends_at_zero(log: Log) -> None:
    topic = new_topic(log, partitions=2)
    group = f"g.{topic}"
    log.publish(records(topic, 10))
    wait_until(lambda: log.lag(group, topic) >= 10, 10, "the lag counts all")
    with log.consumer(group, [topic]) as consumer:
        drain(consumer, 10)
        log.publish(records(topic, 3))
        assert len(drain(consumer, 3, commit=False)) == 3
        assert sum(consumer.lag().values()) >= 3, "what is polled counts until it is committed"
        consumer.commit()
        # Kafka shows a committed transaction once its markers are written, a moment after the commit has returned.
        wait_until(lambda: consumer.poll(10, 0.1) == [] and not any(consumer.lag().values()), 10, "nothing is left")
        consumer.commit()
    wait_until(lambda: log.lag(group, topic) == 0, 10, "nothing is left")


def test_a_read_ends_where_the_log_ended_at_the_call(log: Log) -> None:
    topic = new_topic(log)
    log.publish(records(topic, 5))
    reading = log.read(topic, 0, 2)
    log.publish(records(topic, 5))
    assert [entry.value for entry in reading] == [b"v2", b"v3", b"v4"]


def test_a_read_sees_every_commit_before_it(log: Log, open_log: Open) -> None:
    topic, other = new_topic(log), open_log()
    for count in range(1, 21):
        log.publish(records(topic, 1))
        assert len(list(other.read_all(topic))) == count


def test_the_newest_record_of_each_key_is_found(log: Log) -> None:
    topic = new_topic(log, compacted=True)
    for i in range(5):
        log.publish([Record(topic, key, f"{key}{i}".encode()) for key in ("a", "b")])
    log.publish([Record(topic, "c", b"c")])
    assert {key: entry.value for key, entry in log.latest(topic, 0).items()} == {"a": b"a4", "b": b"b4", "c": b"c"}


def test_a_topic_deleted_under_a_consumer_is_an_error_and_can_be_made_anew(log: Log, open_log: Open) -> None:
    topic = new_topic(log)
    group = f"g.{topic}"
    log.publish(records(topic, 10))
    with log.consumer(group, [topic]) as consumer:
        drain(consumer, 10)
        open_log().delete_topic(topic)
        with pytest.raises(UnknownTopic, match=topic):
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                consumer.poll(10, 0.5)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:  # Kafka deletes in the background
        try:
            log.create_topics([TopicSpec(topic, 1)])
            log.publish(records(topic, 3))
            break
        except UnknownTopic:
            time.sleep(0.5)
    with open_log().consumer(group, [topic]) as consumer:
        assert len(drain(consumer, 3)) == 3


def test_empty_keys_values_and_unicode_survive(log: Log) -> None:
    topic = new_topic(log)
    written = [Record(topic, "", b""), Record(topic, "topic:M&A | Investments", "Zürich 銀行".encode())]
    log.publish(written)
    assert [(e.key, e.value) for e in log.read(topic, 0)] == [(r.key, r.value) for r in written]


def test_topics_are_compared_with_what_they_should_be_and_brought_there(log: Log) -> None:
    topic = new_topic(log, partitions=2)
    log.publish(records(topic, 3))
    wanted = [TopicSpec(topic, 2, retention_seconds=3 * DAY), TopicSpec(f"{topic}.new", 1)]

    (age, missing) = log.changes(wanted)
    assert (age.topic, age.obstacle, missing) == (topic, "", Change(f"{topic}.new", "topic", "missing", "1 partitions"))
    assert log.changes(wanted) == [age, missing], "looking changes nothing"

    log.apply(wanted)
    wait_until(lambda: log.changes(wanted) == [], 10, "the changes to take effect")
    assert len(list(log.read_all(topic))) == 3


def test_partitions_that_hold_state_stay_as_they_are(log: Log) -> None:
    topic = new_topic(log, partitions=2)
    for partitions, reason in ((3, "state of each series"), (1, "cannot be taken away: set partitions = 2")):
        wanted = [TopicSpec(topic, partitions, keyed_state=True)]
        (change,) = log.changes(wanted)
        assert (change.setting, change.now, change.wanted) == ("partitions", "2", str(partitions))
        assert reason in change.obstacle
        log.apply(wanted)
        assert log.partitions(topic) == 2
