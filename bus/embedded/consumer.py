"""Consumer groups of the embedded log: membership, ownership of partitions, fencing, and the transaction."""

import heapq
import json
import os
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from bus.embedded.database import append, check_generation, connect, fetch, partition_ids, translated, writing
from bus.errors import Fenced, UnknownTopic
from bus.log import Consumer, Entry, Partition, Record, Transaction

SESSION_SECONDS = 30.0
"""A member not heard of for so long has lost its partitions. A dead process is noticed at once, by its process id;
this bound is for one that hangs or was stopped."""

HEARTBEAT_SECONDS = 3.0
"""How often a member says that it lives: a tenth of the session, so that a slow disk costs nobody its partitions."""

MEMBERSHIP_SECONDS = 0.25
"""How often a member looks whether the group has changed: what a take-over after a crash costs."""

IDLE_SECONDS = 0.02
"""Pause between two looks at an empty log: adds 10 ms of latency on average and under 1 % of a core."""


def _alive(pid: int, started: float) -> bool:
    """Whether the process that joined still runs, and is not another one that was given its number."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class _Buffer(Transaction):
    def __init__(self) -> None:
        self.records: list[Record] = []

    def publish(self, records: Sequence[Record]) -> None:
        self.records.extend(records)


class EmbeddedConsumer(Consumer):
    """One member of a consumer group on the embedded log.

    Ownership: the members that want a topic, sorted by name, take its partitions in turn. Whenever the membership
    changes the group's generation goes up; a commit from an older generation is fenced.
    """

    def __init__(self, path: Path, group: str, topics: Sequence[str]) -> None:
        self._path = path
        self._group = group
        self._topics = tuple(topics)
        self._connection = connect(path)
        self._member = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._generation = -1
        self._rows: dict[Partition, int] = {}
        self._positions: dict[Partition, int] = {}
        self._ahead: dict[Partition, deque[Entry]] = {}
        """Records fetched and not yet handed out."""
        self._gained: set[Partition] = set()
        self._looked = self._beaten = 0.0

    @property
    def assignment(self) -> frozenset[Partition]:
        return frozenset(self._positions)

    def gained(self) -> frozenset[Partition]:
        gained = frozenset(self._gained)
        self._gained.clear()
        return gained

    def poll(self, max_records: int, timeout: float) -> list[Entry]:
        deadline = time.monotonic() + timeout
        while True:
            with translated(self._path):
                if time.monotonic() - self._looked >= MEMBERSHIP_SECONDS and self._membership_changed():
                    return []
                entries = self._fetch(max_records)
            left = deadline - time.monotonic()
            if entries or left <= 0:
                return entries
            time.sleep(min(IDLE_SECONDS, left))

    def _fetch(self, max_records: int) -> list[Entry]:
        """The oldest records of all owned partitions, merged in the order in which they were written.

        So a stage that reads several partitions sees event time advance evenly, also when it reads a long backlog.
        """
        for partition, row in self._rows.items():
            ahead = self._ahead[partition]
            if len(ahead) < max_records:
                start = ahead[-1].offset + 1 if ahead else self._positions[partition]
                ahead.extend(fetch(self._connection, *partition, row, start, max_records - len(ahead)))
        entries: list[Entry] = []
        for entry in heapq.merge(*self._ahead.values(), key=lambda entry: (entry.timestamp, entry.partition)):
            entries.append(entry)
            if len(entries) == max_records:
                break
        for entry in entries:
            partition = Partition(entry.topic, entry.partition)
            self._ahead[partition].popleft()
            self._positions[partition] = entry.offset + 1
        return entries

    def _membership_changed(self) -> bool:
        """Look after the group; whether it has a new generation, whose partitions this member has taken over."""
        now = time.time()
        self._looked = time.monotonic()
        members = self._connection.execute(
            "SELECT member, pid, started, seen FROM members WHERE consumer_group = ?", (self._group,)
        ).fetchall()
        gone = [m for m, pid, started, seen in members if now - seen > SESSION_SECONDS or not _alive(pid, started)]
        joined = any(member == self._member for member, *_ in members)
        if gone or not joined or self._looked - self._beaten > HEARTBEAT_SECONDS:
            self._enter(gone)
        generation = self._connection.execute("SELECT generation FROM groups WHERE name = ?", (self._group,)).fetchone()
        if generation[0] == self._generation:
            self._check_topics()
            return False
        self._take_over()
        return True

    def _enter(self, gone: Sequence[str]) -> None:
        """Write this member's heartbeat and remove the dead; either joining or removing starts a new generation."""
        with writing(self._connection, self._path) as connection:
            changed = 0
            for member in gone:
                changed += connection.execute(
                    "DELETE FROM members WHERE consumer_group = ? AND member = ?", (self._group, member)
                ).rowcount
            beat = connection.execute(
                "UPDATE members SET seen = ? WHERE consumer_group = ? AND member = ?",
                (time.time(), self._group, self._member),
            ).rowcount
            if not beat:
                started = psutil.Process().create_time()
                row = (self._group, self._member, json.dumps(self._topics), os.getpid(), started, time.time())
                connection.execute("INSERT INTO members VALUES (?, ?, ?, ?, ?, ?)", row)
                changed += 1
            if changed:
                self._next_generation()
        self._beaten = time.monotonic()

    def _next_generation(self) -> None:
        self._connection.execute(
            "INSERT INTO groups VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET generation = generation + 1",
            (self._group,),
        )

    def _take_over(self) -> None:
        """Own this member's share of the group's present generation, from the committed offsets on."""
        # One read transaction, so that members, generation and offsets belong together.
        self._connection.execute("BEGIN")
        try:
            (self._generation,) = self._connection.execute(
                "SELECT generation FROM groups WHERE name = ?", (self._group,)
            ).fetchone()
            members = self._connection.execute(
                "SELECT member, topics FROM members WHERE consumer_group = ? ORDER BY member", (self._group,)
            ).fetchall()
            self._rows = {}
            for topic in self._topics:
                wanting = [member for member, topics in members if topic in json.loads(topics)]
                for number, row in enumerate(partition_ids(self._connection, topic)):
                    if wanting and wanting[number % len(wanting)] == self._member:
                        self._rows[Partition(topic, number)] = row
            self._rewind()
        finally:
            self._connection.execute("COMMIT")
        self._gained = set(self._positions)

    def rewind(self) -> None:
        self._generation = -1  # as at the beginning: the next poll takes over what is owned, from the committed offsets
        self._looked = 0.0

    def _rewind(self) -> None:
        """Go back to the group's committed offsets."""
        committed = {
            Partition(topic, number): offset
            for topic, number, offset in self._connection.execute(
                "SELECT topic, partition, next_offset FROM offsets WHERE consumer_group = ?", (self._group,)
            )
        }
        self._positions = {partition: committed.get(partition, 0) for partition in self._rows}
        self._ahead = {partition: deque() for partition in self._rows}

    def _check_topics(self) -> None:
        """Notice that a topic was deleted, also when it was created again since: its offsets start over."""
        rows: dict[str, set[int]] = {topic: set() for topic in self._topics}
        for row, topic in self._connection.execute("SELECT id, topic FROM partitions"):
            rows.setdefault(topic, set()).add(row)
        for topic in self._topics:
            if not rows[topic] or any(row not in rows[topic] for p, row in self._rows.items() if p.topic == topic):
                raise UnknownTopic(
                    f"topic {topic!r} was deleted while group {self._group!r} reads it;"
                    " restarting the role creates it again, empty"
                )

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        buffer = _Buffer()
        try:
            yield buffer
            with writing(self._connection, self._path) as connection:
                check_generation(connection, self._group, self._member, self._generation)
                self._check_topics()
                append(connection, buffer.records, time.time())
                connection.executemany(
                    "INSERT INTO offsets VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (consumer_group, topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
                    [(self._group, *partition, offset) for partition, offset in self._positions.items()],
                )
        except Fenced:
            self._looked = 0.0  # look after the group at the next poll, not a quarter of a second later
            raise
        except BaseException:
            with translated(self._path):
                self._rewind()
            raise

    def lag(self) -> dict[Partition, int]:
        with translated(self._path):
            committed = {
                (topic, number): offset
                for topic, number, offset in self._connection.execute(
                    "SELECT topic, partition, next_offset FROM offsets WHERE consumer_group = ?", (self._group,)
                )
            }
            ends = {
                (topic, number): end
                for topic, number, end in self._connection.execute("SELECT topic, number, next_offset FROM partitions")
            }
        return {p: ends.get((p.topic, p.number), 0) - committed.get((p.topic, p.number), 0) for p in self._rows}

    def close(self) -> None:
        with translated(self._path):
            with writing(self._connection, self._path) as connection:
                if connection.execute(
                    "DELETE FROM members WHERE consumer_group = ? AND member = ?", (self._group, self._member)
                ).rowcount:
                    self._next_generation()
            self._connection.close()
