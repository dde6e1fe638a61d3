"""The embedded log itself: topics, publishing, reading, retention and compaction."""

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bus.embedded.consumer import EmbeddedConsumer
from bus.embedded.database import (
    CHUNK,
    OFFSET_BITS,
    append,
    connect,
    fetch,
    partition_ids,
    translated,
    writing,
)
from bus.log import Change, Entry, Log, Record, partition_change
from bus.topics import TopicSpec

CLEAN_CHUNK = 10_000
"""Records deleted in one transaction by :meth:`EmbeddedLog.clean`, so that writers wait some 50 ms at most."""


class EmbeddedLog(Log):
    """A log in one SQLite file in WAL mode, for the processes of one machine.

    Args:
        path: the file; it and its folder are created when missing.

    Raises:
        LogError: the file cannot be opened; LogCorrupt when it is not a database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._connection()  # a file that cannot be opened is an error here, not at the first use

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self.path)
            with self._lock:
                self._connections.append(connection)
        return connection

    def create_topics(self, topics: Iterable[TopicSpec]) -> None:
        wanted = list(topics)
        connection = self._connection()
        with translated(self.path):
            existing = dict(connection.execute("SELECT name, retention FROM topics"))
        if all(existing.get(topic.name) == topic.retention_seconds for topic in wanted):
            return
        with writing(connection, self.path):
            for topic in wanted:
                row = (topic.name, topic.partitions, topic.compacted, topic.retention_seconds)
                if connection.execute("INSERT OR IGNORE INTO topics VALUES (?, ?, ?, ?)", row).rowcount:
                    connection.executemany(
                        "INSERT INTO partitions (topic, number) VALUES (?, ?)",
                        [(topic.name, number) for number in range(topic.partitions)],
                    )
                else:
                    change = "UPDATE topics SET retention = ? WHERE name = ?"
                    connection.execute(change, (topic.retention_seconds, topic.name))

    def changes(self, topics: Iterable[TopicSpec]) -> list[Change]:
        found: list[Change] = []
        with translated(self.path):
            existing = dict(self._connection().execute("SELECT name, retention FROM topics"))
        for topic in topics:
            retention = existing.get(topic.name)
            if retention is None:
                found.append(Change(topic.name, "topic", "missing", f"{topic.partitions} partitions"))
                continue
            if partitions := partition_change(topic, self.partitions(topic.name), addable=False):
                found.append(partitions)
            if retention != topic.retention_seconds:
                found.append(Change(topic.name, "retention", f"{retention:g} s", f"{topic.retention_seconds:g} s"))
        return found

    def apply(self, topics: Iterable[TopicSpec]) -> None:
        self.create_topics(topics)

    def delete_topic(self, topic: str) -> None:
        connection = self._connection()
        with writing(connection, self.path):
            for partition in partition_ids(connection, topic):
                low = partition << OFFSET_BITS
                connection.execute("DELETE FROM records WHERE id >= ? AND id < ?", (low, low + (1 << OFFSET_BITS)))
            connection.execute("DELETE FROM partitions WHERE topic = ?", (topic,))
            connection.execute("DELETE FROM offsets WHERE topic = ?", (topic,))
            connection.execute("DELETE FROM topics WHERE name = ?", (topic,))

    def partitions(self, topic: str) -> int:
        with translated(self.path):
            return len(partition_ids(self._connection(), topic))

    def publish(self, records: Sequence[Record]) -> None:
        if not records:
            return
        with writing(self._connection(), self.path) as connection:
            append(connection, records, time.time())

    def consumer(self, group: str, topics: Sequence[str]) -> EmbeddedConsumer:
        for topic in topics:
            self.partitions(topic)
        return EmbeddedConsumer(self.path, group, topics)

    def read(self, topic: str, partition: int, start: int = 0) -> Iterator[Entry]:
        end = self.ends(topic)[partition]
        with translated(self.path):
            row = partition_ids(self._connection(), topic)[partition]
        return self._read(topic, partition, row, start, end)

    def _read(self, topic: str, number: int, partition: int, start: int, end: int) -> Iterator[Entry]:
        while start < end:
            with translated(self.path):
                entries = fetch(self._connection(), topic, number, partition, start, min(CHUNK, end - start))
            for entry in entries:
                if entry.offset >= end:  # holes left by compaction let a chunk reach past the end
                    return
                yield entry
            if not entries:
                return
            start = entries[-1].offset + 1

    def latest(self, topic: str, partition: int) -> dict[str, Entry]:
        connection = self._connection()
        with translated(self.path):
            low = partition_ids(connection, topic)[partition] << OFFSET_BITS
            rows = connection.execute(
                # Bare columns of an aggregate query come from the row that has the maximum (SQLite's documented rule).
                "SELECT key, max(id), value, timestamp FROM records WHERE id >= ? AND id < ? GROUP BY key",
                (low, low + (1 << OFFSET_BITS)),
            ).fetchall()
        return {key: Entry(topic, partition, row - low, key, value, stamp) for key, row, value, stamp in rows}

    def ends(self, topic: str) -> list[int]:
        with translated(self.path):
            rows = self._connection().execute(
                "SELECT next_offset FROM partitions WHERE topic = ? ORDER BY number", (topic,)
            )
            ends = [row[0] for row in rows]
        return ends or self._unknown(topic)

    def _unknown(self, topic: str) -> list[int]:
        return partition_ids(self._connection(), topic)

    def lag(self, group: str, topic: str) -> int:
        ends = self.ends(topic)
        with translated(self.path):
            rows = self._connection().execute(
                "SELECT next_offset FROM offsets WHERE consumer_group = ? AND topic = ?", (group, topic)
            )
            return sum(ends) - sum(int(row[0]) for row in rows)

    def groups(self) -> set[str]:
        """The consumer groups that have members at the moment."""
        with translated(self.path):
            rows = self._connection().execute("SELECT DISTINCT consumer_group FROM members")
            return {row[0] for row in rows}

    def clean(self) -> None:
        connection = self._connection()
        with translated(self.path):
            topics = connection.execute("SELECT name, compacted, retention FROM topics").fetchall()
        for topic, compacted, retention in topics:
            cutoff = time.time() - retention
            with translated(self.path):
                ids = partition_ids(connection, topic)
            for partition in ids:
                if compacted:
                    self._compact(connection, partition << OFFSET_BITS, cutoff)
                else:
                    while self._expire(connection, partition << OFFSET_BITS, cutoff) == CLEAN_CHUNK:
                        pass

    def _expire(self, connection: sqlite3.Connection, low: int, cutoff: float) -> int:
        """Delete the oldest records of a partition, a chunk of those written before ``cutoff``; their number."""
        with writing(connection, self.path):
            rows = connection.execute(
                "SELECT id, timestamp FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
                (low, low + (1 << OFFSET_BITS), CLEAN_CHUNK),
            ).fetchall()
            old = [row[0] for row in rows if row[1] < cutoff]
            if old:
                connection.execute("DELETE FROM records WHERE id >= ? AND id <= ?", (low, old[-1]))
            return len(old)

    def _compact(self, connection: sqlite3.Connection, low: int, cutoff: float) -> None:
        """Delete a partition's superseded records written before ``cutoff``.

        They are looked for outside of any transaction: what is superseded stays so, and sorting a partition takes
        longer than writers should wait.
        """
        with translated(self.path):
            old = connection.execute(
                "SELECT id FROM (SELECT id, timestamp, row_number() OVER (PARTITION BY key ORDER BY id DESC) AS age"
                " FROM records WHERE id >= ? AND id < ?) WHERE age > 1 AND timestamp < ?",
                (low, low + (1 << OFFSET_BITS), cutoff),
            ).fetchall()
        for start in range(0, len(old), CLEAN_CHUNK):
            with writing(connection, self.path):
                connection.executemany("DELETE FROM records WHERE id = ?", old[start : start + CLEAN_CHUNK])

    def close(self) -> None:
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
        self._local = threading.local()
