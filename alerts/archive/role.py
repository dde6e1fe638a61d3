"""The archive role: from the log into the store."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from msgspec import field
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import Counter as CounterMetric

from alerts.archive.store import Refused, Store
from bus.errors import ArchiveError, MessageError
from bus.log import Entry, Log, Record
from bus.messages import OUTCOMES, Message, Point, ScoredArticle, SpikeEvent, TrendState, decode
from bus.stage import Stage, dead_letter, run_stage
from bus.topics import SCORED, SPIKES, TRENDS

logger = logging.getLogger(__name__)

GROUP = "archive"
TOPICS = (SCORED, SPIKES, TRENDS)

BATCH = 2_000
"""Records saved before their offsets are committed: some 150 ms of work on SQLite."""

PRUNE_SECONDS = 3_600.0
"""How often what is too old is deleted."""

PRUNE_AGAIN_SECONDS = 60.0
"""How soon that is tried again after it failed; not at every batch, since it keeps new articles waiting."""


class _Points(Message):
    """The part of a :class:`bus.messages.TrendState` that is archived; decoding the rest would be wasted."""

    series: str
    points: list[Point] = field(default_factory=list)


class ArchiveMetrics:
    """What the archive role tells Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.articles = CounterMetric(
            "squall_archive_articles_total",
            "Articles written to the archive, repeats after a restart among them.",
            ["outcome"],
            registry=registry,
        )
        self.lag = Gauge(
            "squall_archive_lag_seconds",
            "Age of the oldest record of the last batch when it was archived; 0 when none waits.",
            registry=registry,
        )
        for outcome in OUTCOMES:
            self.articles.labels(outcome)


class Archive(Stage):
    """Saves what the log says, first articles, so that whoever sees a spike finds its stories.

    Rows are upserted first and the offsets committed after that, so a crash between the two repeats upserts that
    change nothing: at-least-once is exact here. While the database is away the records wait on the log.
    """

    name = GROUP
    topics = TOPICS

    def __init__(
        self, store: Store, metrics: ArchiveMetrics, days: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._days = days
        self._clock = clock
        self._saved: list[ScoredArticle] = []
        self._oldest = 0.0
        self._prune_at = clock() + PRUNE_SECONDS  # a start is busy enough

    def handle(self, entries: Sequence[Entry]) -> list[Record]:
        scored: list[ScoredArticle] = []
        spikes: list[SpikeEvent] = []
        states: list[TrendState] = []
        dead: list[Record] = []
        for entry in entries:
            try:
                if entry.topic == SCORED:
                    scored.append(decode(entry.value, ScoredArticle))
                elif entry.topic == SPIKES:
                    spikes.append(decode(entry.value, SpikeEvent))
                else:
                    part = decode(entry.value, _Points)
                    states.append(TrendState(series=part.series, points=part.points))
            except MessageError as error:
                dead.append(dead_letter(GROUP, entry, error))
        self._store.save_scored(scored)
        self._store.save_spikes(spikes)
        self._store.save_points(states)
        self._saved, self._oldest = scored, min(entry.timestamp for entry in entries)
        return dead

    def tick(self) -> list[Record]:
        self._metrics.lag.set(0.0)
        self._prune()
        return []

    def passes(self, error: Exception) -> bool:
        return isinstance(error, ArchiveError) and not isinstance(error, Refused)

    def committed(self) -> None:
        for outcome, count in Counter(scored.outcome for scored in self._saved).items():
            self._metrics.articles.labels(outcome).inc(count)
        self._metrics.lag.set(max(0.0, time.time() - self._oldest))
        self._prune()  # here too: a steady stream leaves no poll empty, so that a tick never comes

    def _prune(self) -> None:
        """Delete what is too old, when it is time. Failing stops nothing: what is new is saved meanwhile."""
        if self._clock() < self._prune_at:
            return
        try:
            self._store.prune(self._days)
        except ArchiveError as error:
            self._prune_at = self._clock() + PRUNE_AGAIN_SECONDS
            logger.error(
                "%s: articles older than %g days stay for now, trying again in %g s: %s",
                GROUP,
                self._days,
                PRUNE_AGAIN_SECONDS,
                error,
            )
        else:
            self._prune_at = self._clock() + PRUNE_SECONDS


def run(log: Log, store: Store, *, stop: threading.Event, registry: CollectorRegistry, days: float = 90.0) -> None:
    """Archive news.scored, news.spikes and news.trends until ``stop`` is set.

    Args:
        days: articles older than this, in event time, are deleted.

    Raises:
        LogError: the log is corrupt, or a topic was deleted.
    """
    run_stage(log, Archive(store, ArchiveMetrics(registry), days), batch=BATCH, stop=stop, registry=registry)
