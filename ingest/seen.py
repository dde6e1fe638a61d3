"""What has been published is remembered by reading ``news.articles`` back from the log.

There is no second place that could disagree with the log: a crash between publishing and remembering cannot publish
twice, and several ingest processes agree, down to the milliseconds between one's look and the other's publish.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from bus.log import Log, partition_of
from bus.topics import ARTICLES, DAY

MERGE = 50_000
"""New ids that are gathered in a set before they are sorted into a day's array: 4 MB, and a merge of 10 ms each."""


def number_of(key: str) -> int:
    """The 64 bits that stand for an id: the id itself where it is 16 hexadecimal digits, as ingest makes them."""
    if len(key) == 16:
        try:
            return int(key, 16)
        except ValueError:
            pass
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")


class IdSet:
    """A set of 64-bit numbers by day, 8 bytes each, that forgets whole days (7 days at a million a day: 56 MB)."""

    def __init__(self, days: float) -> None:
        self._days = days
        self._sorted: dict[int, NDArray[np.uint64]] = {}
        self._fresh: dict[int, set[int]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._sorted.values())) + sum(map(len, self._fresh.values()))

    def add(self, numbers: Iterable[int], timestamp: float) -> None:
        """Add numbers that were written at ``timestamp`` (seconds since 1970)."""
        day = int(timestamp // DAY)
        fresh = self._fresh.setdefault(day, set())
        fresh.update(numbers)
        if len(fresh) >= MERGE:
            held = self._sorted.get(day, np.empty(0, np.uint64))
            more = np.sort(np.fromiter(fresh, np.uint64, len(fresh)))
            self._sorted[day] = np.insert(held, np.searchsorted(held, more), more)
            fresh.clear()

    def contains(self, numbers: Sequence[int]) -> list[bool]:
        """Whether each of the numbers is in the set."""
        found = [any(number in fresh for fresh in self._fresh.values()) for number in numbers]
        if not self._sorted or not numbers:
            return found
        wanted = np.fromiter(numbers, np.uint64, len(numbers))
        known = np.array(found)
        for held in self._sorted.values():
            places = np.minimum(np.searchsorted(held, wanted), len(held) - 1)
            known |= held[places] == wanted
        return [bool(flag) for flag in known]

    def forget(self, now: float) -> None:
        """Drop the days that lie entirely before ``now`` minus the days to keep."""
        oldest = int((now - self._days * DAY) // DAY)
        for by_day in (self._sorted, self._fresh):
            for day in [day for day in by_day if day < oldest]:
                del by_day[day]


class Seen:
    """The ids on ``news.articles``, as far back as the log keeps them. Not thread-safe: :class:`Publisher` locks.

    Args:
        log: the log.
        days: how long to remember an id; what the log keeps, since older records cannot be read back anyway.
    """

    def __init__(self, log: Log, days: float = 7.0) -> None:
        self._log = log
        self._days = days
        self._ids = IdSet(days)
        self._positions = [0] * log.partitions(ARTICLES)

    def __len__(self) -> int:
        return len(self._ids)

    def catch_up(self, now: float) -> None:
        """Read what was written since the last look, by this process or others. Raises LogError."""
        ends = self._log.ends(ARTICLES)
        if len(ends) != len(self._positions) or any(map(int.__lt__, ends, self._positions)):
            self._ids = IdSet(self._days)  # the topic was deleted and created again
            self._positions = [0] * len(ends)
        for number, end in enumerate(ends):
            if end > self._positions[number]:
                for entry in self._log.read(ARTICLES, number, self._positions[number]):
                    self._ids.add((number_of(entry.key),), entry.timestamp)
                    self._positions[number] = entry.offset + 1
                self._positions[number] = max(self._positions[number], end)
        self._ids.forget(now)

    def contains(self, keys: Sequence[str]) -> list[bool]:
        """Whether each id has been published, as of the last :meth:`catch_up`."""
        return self._ids.contains([number_of(key) for key in keys])

    def published(self, keys: Sequence[str], now: float) -> None:
        """Note what this process has just published after a :meth:`catch_up`.

        When the partitions have grown by just these records, nobody else has written and reading them back is spared:
        it would double the work of a replay. Otherwise the next look reads them like everybody else's. Raises LogError.
        """
        grown = list(self._positions)
        written = Counter(partition_of(key, len(grown)) for key in keys)
        for number, records in written.items():
            grown[number] += records + self._log.commit_markers
        if self._log.ends(ARTICLES) == grown:
            self._positions = grown
            self._ids.add(map(number_of, keys), now)
