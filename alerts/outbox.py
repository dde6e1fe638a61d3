"""The outbox: alerts on disk between the moment they are accepted and the moment Slack has them.

What is promised: an alert is on disk before it is acknowledged (to Alertmanager) or its offset committed (on the log);
alerts leave in the order of acceptance; one key is accepted once. A crash after Slack has taken a message and before
that is written down repeats this one message: Slack's webhooks have no key of their own to recognise it by.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alerts.message import Body
from bus.errors import SquallError

BUSY_SECONDS = 10.0
"""How long a writer waits for another process that looks into the file."""

KEEP_DAYS = 60.0
"""Delivered alerts are remembered for so long, to recognise repeats: twice as long as the log keeps spikes."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    subject TEXT NOT NULL,
    size REAL NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    accepted_at REAL NOT NULL,
    settled_at REAL
);
CREATE INDEX IF NOT EXISTS alerts_by_state ON alerts (state, number);
CREATE INDEX IF NOT EXISTS alerts_by_subject ON alerts (subject);
"""


class OutboxError(SquallError):
    """Raised when the outbox's file cannot be opened, read or written."""


@dataclass(frozen=True, slots=True)
class Letter:
    """An alert to be delivered."""

    key: str
    """Recognises a repeat of the same alert."""
    kind: str
    """``opened``, ``updated``, ``closed``, ``firing`` or ``resolved``: for the counter."""
    body: Body
    subject: str = ""
    """The spike that it is about."""
    size: float = 0.0
    """The spike's peak so far."""


@dataclass(frozen=True, slots=True)
class Pending:
    """The alert that is to be delivered next."""

    number: int
    kind: str
    body: Body
    attempts: int
    not_before: float
    """Seconds since 1970 before which Slack asked not to be tried."""


class Outbox:
    """A durable queue in one SQLite file. Safe to share between threads.

    Raises:
        OutboxError: the file cannot be opened; from the methods: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.arrived = threading.Event()
        """Set when an alert has been accepted."""
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(SCHEMA)

    def accept(self, letters: Sequence[Letter]) -> int:
        """Write alerts to disk, all or none; returns how many were new."""
        rows = [(one.key, one.subject, one.size, one.kind, json.dumps(one.body), time.time()) for one in letters]
        with self._writing() as connection:
            before = connection.total_changes
            connection.executemany(
                "INSERT OR IGNORE INTO alerts (key, subject, size, kind, body, accepted_at) VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
            new = connection.total_changes - before
        if new:
            self.arrived.set()
        return new

    def holds(self, key: str) -> bool:
        """Whether an alert of this key has been accepted."""
        with self._reading() as connection:
            return connection.execute("SELECT 1 FROM alerts WHERE key = ?", (key,)).fetchone() is not None

    def largest(self, subject: str) -> float | None:
        """The largest size that has been accepted for a subject; None when nothing has."""
        with self._reading() as connection:
            size: float | None = connection.execute(
                "SELECT max(size) FROM alerts WHERE subject = ?", (subject,)
            ).fetchone()[0]
            return size

    def next(self) -> Pending | None:
        """The oldest alert that waits; None when none does."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT number, kind, body, attempts, not_before FROM alerts"
                " WHERE state = 'pending' ORDER BY number LIMIT 1"
            ).fetchone()
        return Pending(row[0], row[1], json.loads(row[2]), row[3], row[4]) if row else None

    def count(self, state: str) -> int:
        """Alerts in one state: ``pending``, ``delivered`` or ``dead``."""
        with self._reading() as connection:
            number: int = connection.execute("SELECT count(*) FROM alerts WHERE state = ?", (state,)).fetchone()[0]
            return number

    def delivered(self, number: int) -> None:
        """Slack has taken it."""
        self._settle(number, "delivered", "")

    def bury(self, number: int, error: str) -> None:
        """Slack will never take it; it is kept for a person to look at."""
        self._settle(number, "dead", error)

    def _settle(self, number: int, state: str, error: str) -> None:
        with self._writing() as connection:
            connection.execute(
                "UPDATE alerts SET state = ?, error = ?, settled_at = ?, attempts = attempts + 1 WHERE number = ?",
                (state, error, time.time(), number),
            )

    def failed(self, number: int, error: str, not_before: float) -> None:
        """An attempt failed; another one may be made after ``not_before`` (seconds since 1970)."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE alerts SET error = ?, not_before = ?, attempts = attempts + 1 WHERE number = ?",
                (error, not_before, number),
            )

    def forget(self, days: float = KEEP_DAYS) -> None:
        """Delete alerts that were settled longer ago."""
        with self._writing() as connection:
            connection.execute("DELETE FROM alerts WHERE settled_at < ?", (time.time() - days * 86_400,))

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            yield self._connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            advice = "is its folder there and writable, and the disk not full?"
            if "not a database" in str(error) or "malformed" in str(error):
                advice = "move it away to start with an empty outbox; alerts that waited in it are lost then"
            raise OutboxError(f"outbox {self._path}: {error}; {advice}") from error
        except OSError as error:
            raise OutboxError(f"outbox {self._path}: {error.strerror}; set another outbox") from error
