"""The loop of every stage: what becomes of batches when something fails."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

import bus.stage
from bus.embedded import EmbeddedLog
from bus.errors import LogFull, LogUnreachable, UnknownTopic
from bus.log import Entry, Log, Partition, Record
from bus.messages import DeadLetter, decode
from bus.stage import Stage, run_stage
from bus.topics import DEAD, TopicSpec
from tests.services.ports import wait_until


@pytest.fixture
def log(tmp_path: Path) -> EmbeddedLog:
    log = EmbeddedLog(tmp_path / "log.db")
    log.create_topics([TopicSpec("in", 2), TopicSpec("out", 1), TopicSpec(DEAD, 1)])
    return log


class Copy(Stage):
    """Copies records, and counts them in a state that follows from the log."""

    name = "copy"
    topics = ("in",)

    def __init__(self, log: Log, fails: Callable[[Entry], bool] = lambda entry: False) -> None:
        self._log = log
        self._fails = fails
        self.count = 0
        self.batches: list[int] = []

    def restore(self, gained: frozenset[Partition], owned: frozenset[Partition]) -> None:
        self.count = len(list(self._log.read_all("out")))

    def handle(self, entries: Sequence[Entry]) -> list[Record]:
        self.batches.append(len(entries))
        for entry in entries:
            self.count += 1
            if self._fails(entry):
                raise RuntimeError(f"cannot digest {entry.value!r}")
        return [Record("out", entry.key, entry.value) for entry in entries]


@contextmanager
def running(log: Log, stage: Stage, registry: CollectorRegistry) -> Iterator[None]:
    """Run the stage in a thread."""
    stop = threading.Event()
    arguments = {"batch": 10, "stop": stop, "registry": registry}
    thread = threading.Thread(target=run_stage, args=(log, stage), kwargs=arguments)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def run_until(log: Log, stage: Stage, done: Callable[[], bool], registry: CollectorRegistry | None = None) -> None:
    """Run the stage in a thread until ``done``."""
    with running(log, stage, registry or CollectorRegistry()):
        wait_until(done, 20, "the stage's work")
    assert done()


def written(log: Log, topic: str) -> list[bytes]:
    return sorted(entry.value for entry in log.read_all(topic))


def test_records_flow_through_and_the_state_agrees(log: EmbeddedLog) -> None:
    log.publish([Record("in", f"k{i}", b"%02d" % i) for i in range(50)])
    stage = Copy(log)
    run_until(log, stage, lambda: len(written(log, "out")) == 50)
    assert stage.count == 50
    assert log.lag("copy", "in") == 0


def test_the_lag_of_a_partition_is_told_by_its_owner_alone(log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus.stage, "LAG_SECONDS", 0.0)
    first, second = CollectorRegistry(), CollectorRegistry()

    def told(registry: CollectorRegistry) -> set[str]:
        labels = [{"group": "copy", "topic": "in", "partition": number} for number in "01"]
        return {each["partition"] for each in labels if registry.get_sample_value("squall_consumer_lag", each) == 0}

    with running(log, Copy(log), first):
        wait_until(lambda: told(first) == {"0", "1"}, 10, "one member to tell of both partitions")
        with running(log, Copy(log), second):
            wait_until(lambda: {*map(tuple, (told(first), told(second)))} == {("0",), ("1",)}, 10, "one each")
        wait_until(lambda: told(first) == {"0", "1"}, 10, "the partition to come back")


def test_a_poison_record_goes_to_the_dead_letters_and_no_other_is_lost(log: EmbeddedLog) -> None:
    log.publish([Record("in", f"k{i}", b"%02d" % i) for i in range(50)])
    stage = Copy(log, fails=lambda entry: entry.value == b"23")
    registry = CollectorRegistry()
    run_until(log, stage, lambda: len(written(log, "out")) == 49, registry)
    assert written(log, "out") == [b"%02d" % i for i in range(50) if i != 23]
    (dead,) = [decode(entry.value, DeadLetter) for entry in log.read_all(DEAD)]
    assert (dead.stage, dead.value, dead.topic) == ("copy", b"23", "in")
    assert dead.error.startswith("RuntimeError: cannot digest b'23' [trace ")
    assert stage.count == 49, "what the failing record changed was forgotten"
    assert registry.get_sample_value("squall_dead_letters_total", {"stage": "copy"}) == 1


def test_a_passing_fault_costs_nothing(log: EmbeddedLog) -> None:
    log.publish([Record("in", f"k{i}", b"%02d" % i) for i in range(20)])
    failures = iter([True, True])
    stage = Copy(log, fails=lambda entry: next(failures, False))
    run_until(log, stage, lambda: len(written(log, "out")) == 20)
    assert list(log.read_all(DEAD)) == []


def test_a_full_disk_is_waited_out(log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus.stage, "FIRST_PAUSE", 0.05)
    log.publish([Record("in", f"k{i}", b"%02d" % i) for i in range(20)])
    full = iter([True, True, True])

    class FullDisk(Copy):
        def handle(self, entries: Sequence[Entry]) -> list[Record]:
            if next(full, False):
                raise LogFull("disk full")
            return super().handle(entries)

    registry = CollectorRegistry()
    run_until(log, FullDisk(log), lambda: len(written(log, "out")) == 20, registry)
    assert written(log, "out") == [b"%02d" % i for i in range(20)]
    assert registry.get_sample_value("squall_retries_total", {"group": "copy", "reason": "log"}) == 3


def test_a_deleted_topic_ends_the_role_with_one_clear_line(log: EmbeddedLog) -> None:
    stage = Copy(log)
    timer = threading.Timer(0.3, log.delete_topic, ["in"])
    timer.start()
    with pytest.raises(UnknownTopic, match="topic 'in' was deleted while group 'copy' reads it"):
        run_stage(log, stage, batch=10, stop=threading.Event(), registry=CollectorRegistry())
    timer.join()


def test_records_polled_before_a_restore_that_fails_are_not_lost(
    log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus.stage, "FIRST_PAUSE", 0.05)
    log.publish([Record("in", f"k{i}", b"%02d" % i) for i in range(30)])
    faults = iter(["none", "handle", "restore", "restore"])

    class Flapping(Copy):
        def restore(self, gained: frozenset[Partition], owned: frozenset[Partition]) -> None:
            if next(faults, "none") == "restore":
                raise LogUnreachable("no answer")
            super().restore(gained, owned)

        def handle(self, entries: Sequence[Entry]) -> list[Record]:
            if next(faults, "none") == "handle":
                raise LogFull("disk full")
            return super().handle(entries)

    stage = Flapping(log)
    run_until(log, stage, lambda: len(written(log, "out")) >= 30)
    assert written(log, "out") == [b"%02d" % i for i in range(30)]
    assert stage.count == 30
