"""What only the embedded log promises: several processes, crashes, retention, and clear errors about its file."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bus.embedded.consumer as consumer_module
from bus.embedded import EmbeddedLog
from bus.errors import Fenced, LogCorrupt, LogFull
from bus.log import Record
from bus.topics import TopicSpec


@pytest.fixture
def log(tmp_path: Path) -> EmbeddedLog:
    log = EmbeddedLog(tmp_path / "log.db")
    log.create_topics([TopicSpec("t", 2), TopicSpec("out", 1), TopicSpec("c", 1, compacted=True, retention_seconds=0)])
    return log


READER = """
import sys, time
from pathlib import Path
from bus.embedded import EmbeddedLog
consumer = EmbeddedLog(Path(sys.argv[1])).consumer("g", ["t"])
while True:
    if consumer.poll(10, 0.1):
        print("polled", flush=True)
        time.sleep(3600)
"""


def test_a_killed_process_loses_its_partitions_at_once_and_no_record(log: EmbeddedLog) -> None:
    log.publish([Record("t", f"k{i}", b"v") for i in range(10)])
    process = subprocess.Popen([sys.executable, "-c", READER, str(log.path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"polled\n"
    with log.consumer("g", ["t"]) as consumer:
        process.send_signal(signal.SIGKILL)
        found, deadline = 0, time.monotonic() + 5
        while found < 10 and time.monotonic() < deadline:
            entries = consumer.poll(100, 0.1)
            consumer.commit()
            found += len(entries)
    process.wait()
    assert found == 10


def test_a_member_that_hangs_past_its_session_is_replaced_and_fenced(
    log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "SESSION_SECONDS", 0.5)
    log.publish([Record("t", "k", b"v")])
    hanging, other = log.consumer("g", ["t"]), log.consumer("g", ["t"])
    while not hanging.poll(10, 0.1):
        pass
    time.sleep(0.7)
    deadline = time.monotonic() + 5
    while len(other.assignment) < 2 and time.monotonic() < deadline:
        other.poll(10, 0.1)
    assert len(other.assignment) == 2
    with pytest.raises(Fenced, match="left the group"):
        hanging.commit()


def test_old_records_expire_and_offsets_go_on(log: EmbeddedLog, tmp_path: Path) -> None:
    log.create_topics([TopicSpec("short", 1, retention_seconds=0.0)])
    log.publish([Record("short", f"k{i}", b"v") for i in range(10)])
    time.sleep(0.01)
    log.clean()
    assert list(log.read_all("short")) == []
    log.publish([Record("short", "k", b"new")])
    assert [(entry.offset, entry.value) for entry in log.read_all("short")] == [(10, b"new")]


def test_compaction_keeps_the_newest_record_of_each_key(log: EmbeddedLog) -> None:
    for i in range(5):
        log.publish([Record("c", key, b"%d" % i) for key in "ab"])
    time.sleep(0.01)
    before = log.latest("c", 0)
    log.clean()
    assert [entry.value for entry in log.read_all("c")] == [b"4", b"4"]
    assert log.latest("c", 0) == before


def test_a_full_disk_is_one_clear_error_and_loses_nothing(log: EmbeddedLog) -> None:
    log.publish([Record("t", "k", b"before")])
    connection = log._connection()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(LogFull, match="nothing of this transaction was written"):
        log.publish([Record("t", f"k{i}", b"x" * 10_000) for i in range(10)])
    assert [entry.value for entry in log.read_all("t")] == [b"before"]
    connection.execute("PRAGMA max_page_count = 1000000")
    log.publish([Record("t", "k", b"after")])
    assert sorted(entry.value for entry in log.read_all("t")) == [b"after", b"before"]


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(LogCorrupt, match=r"log\.db.*not a database.*restore it from a backup"):
        EmbeddedLog(path)


def test_a_damaged_database_is_named(log: EmbeddedLog) -> None:
    log.publish([Record("t", f"k{i}", b"x" * 1000) for i in range(1000)])
    log._connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    log.close()
    with log.path.open("r+b") as file:
        for page in range(1, file.seek(0, os.SEEK_END) // 4096):
            file.seek(page * 4096)
            file.write(os.urandom(4096))
    with pytest.raises(LogCorrupt, match=r"log\.db"):
        list(EmbeddedLog(log.path).read_all("t"))


def test_a_topic_recreated_under_a_consumer_is_not_skipped(log: EmbeddedLog) -> None:
    log.publish([Record("t", f"k{i}", b"v") for i in range(10)])
    consumer = log.consumer("g", ["t"])
    found = 0
    while found < 10:
        found += len(consumer.poll(100, 0.1))
    log.delete_topic("t")
    log.create_topics([TopicSpec("t", 2)])
    log.publish([Record("t", f"k{i}", b"w") for i in range(10)])
    with pytest.raises(Exception, match="was deleted"):
        consumer.commit()
    assert log.lag("g", "t") == 10


@settings(max_examples=25, deadline=None)
@given(
    batches=st.lists(st.lists(st.tuples(st.text("abc", max_size=2), st.binary(max_size=20)), max_size=20), max_size=10)
)
def test_whatever_is_published_is_read_back_in_order(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, bytes]]]
) -> None:
    with EmbeddedLog(tmp_path_factory.mktemp("log") / "log.db") as log:
        log.create_topics([TopicSpec("t", 3)])
        for batch in batches:
            log.publish([Record("t", key, value) for key, value in batch])
        written = [record for batch in batches for record in batch]
        read = [(entry.key, entry.value) for entry in log.read_all("t")]
        for key in {key for key, _ in written}:
            assert [v for k, v in read if k == key] == [v for k, v in written if k == key]
        assert len(read) == len(written)


def test_the_file_is_an_ordinary_database_in_wal_mode(log: EmbeddedLog) -> None:
    with sqlite3.connect(log.path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_several_partitions_are_read_in_the_order_they_were_written(log: EmbeddedLog) -> None:
    log.create_topics([TopicSpec("wide", 4)])
    for start in range(0, 300, 100):
        log.publish([Record("wide", f"k{i}", b"%d" % i) for i in range(start, start + 100)])
    with log.consumer("g", ["wide"]) as consumer:
        values: list[int] = []
        while len(values) < 300:
            entries = consumer.poll(7, 0.1)
            consumer.commit()
            values += [int(entry.value) for entry in entries]
    assert values == list(range(300))
