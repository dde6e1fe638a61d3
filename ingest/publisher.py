"""The last step of every door: publish each article once, wait when the log cannot take it, never lose one."""

import logging
import threading
import time
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from bus.errors import LogError, LogFull, LogUnreachable
from bus.log import Log, Record
from bus.messages import DeadLetter, encode, utcnow
from bus.topics import ARTICLES, DEAD
from ingest.articles import Made
from ingest.metrics import IngestMetrics
from ingest.refusals import Refused
from ingest.seen import Seen
from ingest.spool import Spool

BATCH = 1_000
"""Most records of one publish: about a megabyte, and one fsync of the embedded log."""

FIRST_WAIT = 0.5
"""Seconds before the first retry; doubled each time."""

LONGEST_WAIT = 5.0
"""Seconds between retries at most: a disk that was freed is noticed within this time."""

MAX_DEAD = 100_000
"""Bytes of a refused record that its dead letter keeps."""

MAX_LOGGED = 10
"""Refused records that are logged one by one; a file of a million broken lines must not bury everything else."""

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """Raised when the process is told to stop while it waits for the log; what was not published comes again."""


class Published(NamedTuple):
    """What became of a batch: for each article whether it was published; the others were duplicates."""

    accepted: list[bool]

    @property
    def published(self) -> int:
        return sum(self.accepted)

    @property
    def duplicates(self) -> int:
        return len(self.accepted) - self.published


class Publisher:
    """Publishes articles that the log does not have yet. Safe to share between threads.

    Args:
        log: the log.
        metrics: where to count.
        stop: ends waiting for the log.
        days: how long ids are remembered (the log's retention).
        spool: where records wait while the log takes none; :meth:`drain` must run then.
    """

    def __init__(
        self, log: Log, metrics: IngestMetrics, stop: threading.Event, days: float = 7.0, spool: Spool | None = None
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._stop = stop
        self._days = days
        self._spool = spool
        if spool:
            metrics.spooled.set_function(lambda: spool.bytes)
        self._seen: Seen | None = None
        self._lock = threading.Lock()
        self._refusals = 0

    def publish(self, made: Sequence[Made], label: str, wait: bool = True) -> Published:
        """Publish the new ones among these articles, in order.

        While the log is full or unreachable they go to the spool. Without one, or when it is full, this blocks, and
        with it the caller: that is what slows a crawler or a replay down to what the log takes.

        Args:
            made: the articles.
            label: the metrics' ``source``.
            wait: False to raise instead of waiting, for a caller whose own client can come again.

        Raises:
            Stopped: told to stop while waiting.
            LogFull, LogUnreachable: with ``wait=False``; the articles of the batches before were published.
            LogError: any other failure of the log, at once.
        """
        accepted: list[bool] = []
        for start in range(0, len(made), BATCH):
            part = made[start : start + BATCH]
            records = [Record(ARTICLES, each.article.id, encode(each.article)) for each in part]
            accepted += self._patiently(records, wait)
            for each, new in zip(part, accepted[start:], strict=True):
                if new and each.date_problem:
                    self._metrics.dates.labels(each.date_problem).inc()
        result = Published(accepted)
        self._metrics.articles.labels(label).inc(result.published)
        self._metrics.duplicates.labels(label).inc(result.duplicates)
        return result

    def new(self, made: Sequence[Made]) -> list[Made]:
        """Those that have not been published, as far as the last publish knows: to spare work, not to decide."""
        with self._lock:
            if self._seen is None:
                return list(made)
            known = self._seen.contains([each.article.id for each in made])
        return [each for each, seen in zip(made, known, strict=True) if not seen]

    def bury(self, letters: Sequence[DeadLetter], wait: bool = True) -> None:
        """Write dead letters; waits and raises like :meth:`publish`."""
        for start in range(0, len(letters), BATCH):
            records = [Record(DEAD, letter.origin, encode(letter)) for letter in letters[start : start + BATCH]]
            self._patiently(records, wait)

    def refuse(self, error: Refused, value: bytes, origin: str, at: datetime | None = None) -> DeadLetter:
        """Count a refused record and return its dead letter, to be buried with others."""
        self._metrics.refused.labels(error.reason).inc()
        self._refusals += 1
        if self._refusals <= MAX_LOGGED:
            _log.warning("%s: refused: %s", origin, error)
            if self._refusals == MAX_LOGGED:
                _log.warning("further refusals are only counted; 'squall dead list' shows them")
        return DeadLetter(stage="ingest", error=str(error), value=value[:MAX_DEAD], at=at or utcnow(), origin=origin)

    def drain(self) -> None:
        """Publish what the spool holds as soon as the log takes it, until told to stop.

        Raises:
            LogError: the log failed in a way that waiting does not mend.
        """
        assert self._spool is not None
        pause = FIRST_WAIT
        while not self._stop.wait(pause):
            batch = self._spool.oldest()
            if batch is None:
                pause = FIRST_WAIT
                continue
            file, records = batch
            try:
                self._publish_new(records)
            except (LogFull, LogUnreachable) as error:
                self._metrics.waits.inc()
                pause = min(2 * pause, LONGEST_WAIT)
                _log.warning("the log takes nothing (%s); %d bytes wait in the spool", error, self._spool.bytes)
            else:
                self._spool.drop(file, records)
                pause = 0.0

    def _publish_new(self, records: Sequence[Record]) -> list[bool]:
        """Publish records of one topic, articles where they are new; for each whether it was published."""
        if records[0].topic != ARTICLES:
            self._log.publish(records)
            return [True] * len(records)
        with self._lock:
            now = time.time()
            # Inside every attempt: when a publish that seemed to fail has succeeded after all, its ids are found here.
            if self._seen is None:
                self._seen = Seen(self._log, self._days)
            self._seen.catch_up(now)
            accepted = self._unknown(records)
            new = [record for record, wanted in zip(records, accepted, strict=True) if wanted]
            if new:
                self._log.publish(new)
                self._note([record.key for record in new], now)
            return accepted

    def _unknown(self, records: Sequence[Record], waiting: Collection[str] = ()) -> list[bool]:
        """For each article whether it was not published, does not wait, and did not stand before it in the batch."""
        keys = [record.key for record in records]
        seen = self._seen.contains(keys) if self._seen else [False] * len(keys)
        known = set[str]()
        accepted = []
        for record, published in zip(records, seen, strict=True):
            accepted.append(not (published or record.key in known or record.key in waiting))
            known.add(record.key)
        return accepted

    def _spooled(self, records: Sequence[Record]) -> list[bool] | None:
        """Put records of one topic, articles where they are new, into the spool; None where it has no room."""
        assert self._spool is not None
        with self._lock:
            articles = records[0].topic == ARTICLES
            accepted = self._unknown(records, self._spool.keys) if articles else [True] * len(records)
            new = [record for record, wanted in zip(records, accepted, strict=True) if wanted]
            return accepted if not new or self._spool.put(new) else None

    def _note(self, ids: Sequence[str], now: float) -> None:
        assert self._seen is not None
        try:
            self._seen.published(ids, now)
        except LogError:
            _log.debug("could not look at the log's ends; the next publish reads back what this one wrote")

    def _patiently(self, records: Sequence[Record], wait: bool) -> list[bool]:
        """Publish, or spool, or wait until one of them succeeds; for each record whether it was new."""
        pause = FIRST_WAIT
        while True:
            try:
                if not (self._spool and self._spool.bytes):
                    return self._publish_new(records)
                problem: object = "what came before still waits in the spool"
            except (LogFull, LogUnreachable) as error:
                if not (wait or self._spool):
                    raise
                problem = error
            if self._spool and (accepted := self._spooled(records)) is not None:
                return accepted
            if not wait:
                raise LogUnreachable(f"the spool is full, and the log takes nothing: {problem}")
            self._metrics.waits.inc()
            _log.warning("the log takes nothing (%s); trying again in %g s", problem, pause)
            if self._stop.wait(pause):
                raise Stopped
            pause = min(2 * pause, LONGEST_WAIT)
