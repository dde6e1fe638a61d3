"""The SQLite file of the embedded log: its tables, its connections, and its errors in the log's own words."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bus.errors import Fenced, LogCorrupt, LogError, LogFull, LogUnreachable, UnknownTopic
from bus.log import Entry, Record, partition_of

BUSY_SECONDS = 30.0
"""How long a writer waits for its turn: SQLite has one writer at a time, and our transactions take milliseconds."""

OFFSET_BITS = 40
"""A record's row id is partition id x 2^40 + offset: one integer key, no second index; 10^12 records a partition."""

CHUNK = 1_000
"""Rows read or deleted at a time, so that no read keeps the write-ahead log from being checkpointed for long."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS topics (
    name TEXT PRIMARY KEY, partitions INTEGER NOT NULL, compacted INTEGER NOT NULL, retention REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS partitions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, number INTEGER NOT NULL,
    next_offset INTEGER NOT NULL DEFAULT 0, UNIQUE (topic, number)
);
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB NOT NULL, timestamp REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS offsets (
    consumer_group TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS groups (name TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (
    consumer_group TEXT NOT NULL, member TEXT NOT NULL, topics TEXT NOT NULL, pid INTEGER NOT NULL,
    started REAL NOT NULL, seen REAL NOT NULL, PRIMARY KEY (consumer_group, member)
) WITHOUT ROWID;
"""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as the log's own; the file is named in each."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "full" in text:
            raise LogFull(f"{path}: {text}; nothing of this transaction was written, free space and go on") from error
        if "locked" in text or "busy" in text:
            raise LogUnreachable(
                f"{path}: {text} for {BUSY_SECONDS:g} s; does another program hold it open?"
            ) from error
        if "not a database" in text or "malformed" in text or "corrupt" in text:
            raise LogCorrupt(
                f"{path}: {text}; restore it from a backup, or move it away to start with an empty log"
            ) from error
        raise LogError(f"{path}: {text}") from error


def connect(path: Path) -> sqlite3.Connection:
    """A connection with the tables in place.

    ``synchronous=FULL`` in WAL mode costs one fsync a transaction and survives a power cut, not only a crash.

    Raises:
        LogError: the file cannot be opened; LogCorrupt when it is not a database.
    """
    with translated(path):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # Looked at first, so that a role that starts while others write does not wait for the write lock.
        if connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'members'").fetchone() == (0,):
            connection.executescript(SCHEMA)
        return connection


@contextmanager
def writing(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """A write transaction, rolled back when the block raises."""
    with translated(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def partition_ids(connection: sqlite3.Connection, topic: str) -> list[int]:
    """The row ids of a topic's partitions, by number. Raises UnknownTopic."""
    rows = connection.execute("SELECT id FROM partitions WHERE topic = ? ORDER BY number", (topic,)).fetchall()
    if not rows:
        raise UnknownTopic(f"topic {topic!r} does not exist; was it deleted? Starting a role creates it again, empty")
    return [row[0] for row in rows]


def append(connection: sqlite3.Connection, records: Iterable[Record], timestamp: float) -> None:
    """Write records at the ends of their partitions, inside the caller's transaction. Raises UnknownTopic.

    They are stamped a microsecond apart, so that a reader of several partitions can put them back into this order.
    """
    counts: dict[str, list[int]] = {}
    pending: dict[int, list[tuple[Record, float]]] = {}
    for i, record in enumerate(records):
        ids = counts.get(record.topic)
        if ids is None:
            ids = counts[record.topic] = partition_ids(connection, record.topic)
        pending.setdefault(ids[partition_of(record.key, len(ids))], []).append((record, timestamp + i * 1e-6))
    for partition, batch in pending.items():
        (start,) = connection.execute("SELECT next_offset FROM partitions WHERE id = ?", (partition,)).fetchone()
        base = (partition << OFFSET_BITS) + start
        connection.executemany(
            "INSERT INTO records VALUES (?, ?, ?, ?)",
            [(base + i, record.key, record.value, stamp) for i, (record, stamp) in enumerate(batch)],
        )
        connection.execute("UPDATE partitions SET next_offset = ? WHERE id = ?", (start + len(batch), partition))


def fetch(
    connection: sqlite3.Connection, topic: str, number: int, partition: int, start: int, limit: int
) -> list[Entry]:
    """At most ``limit`` records of one partition from offset ``start`` on."""
    base = partition << OFFSET_BITS
    rows = connection.execute(
        "SELECT id, key, value, timestamp FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (base + start, base + (1 << OFFSET_BITS), limit),
    )
    return [Entry(topic, number, row[0] - base, row[1], row[2], row[3]) for row in rows]


def check_generation(connection: sqlite3.Connection, group: str, member: str, generation: int) -> None:
    """Refuse the commit of a member that is not in the group's present generation. Raises Fenced."""
    row = connection.execute(
        "SELECT generation FROM groups JOIN members ON consumer_group = name WHERE name = ? AND member = ?",
        (group, member),
    ).fetchone()
    if row is None or row[0] != generation:
        now = "left the group" if row is None else f"the group is at generation {row[0]}"
        raise Fenced(f"consumer {member} of group {group!r} joined generation {generation}, but {now}")
