"""Trends: the one owner of each series. Tallies in; states, and spikes that open, grow and close, out."""

import threading
import time
from collections.abc import Iterable, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bus.errors import MessageError
from bus.log import Entry, Log, Partition, Record
from bus.messages import OUTCOMES, SpikeEvent, Tally, TrendState, decode, encode, utcnow
from bus.stage import Stage, dead_letter, latency, run_stage
from bus.topics import SPIKES, TALLIES, TRENDS
from stream_worker.series import Rules, add, add_points, judge, read
from stream_worker.tallies import ALL

GROUP = "trends"

BATCH = 4_000
"""Tallies of one transaction: the state of a series is written once for all of them."""


class Trends(Stage):
    """Keeps the state of every series in its partitions; state, spikes and consumed offsets are one transaction.

    A series' state lives in the partition of news.trends with the number of its partition of news.tallies.
    """

    name = GROUP
    topics = (TALLIES,)

    def __init__(self, log: Log, rules: Rules, registry: CollectorRegistry) -> None:
        self._log = log
        self._rules = rules
        self._states: dict[int, dict[str, TrendState]] = {}
        self._events: list[SpikeEvent] = []
        self._clock = 0
        """Newest event time over all owned series, in minutes."""
        self._since = 0
        """The hour from which on this owner has watched: the start of every series that it meets later."""
        self._heard = time.monotonic()
        self.lock = threading.Lock()
        """Held while states change, so that a scrape sees whole ones."""
        self._spikes = Counter("squall_spikes_total", "Spike events.", ["kind", "state"], registry=registry)
        self._latency = latency(registry)
        self._scored: list[datetime] = []
        registry.register(TrendsCollector(self))

    def restore(self, gained: frozenset[Partition], owned: frozenset[Partition]) -> None:
        with self.lock:
            numbers = {partition.number for partition in owned}
            self._states = {number: states for number, states in self._states.items() if number in numbers}
            for number in {partition.number for partition in gained}:
                newest = self._log.latest(TRENDS, number)
                self._states[number] = {key: decode(entry.value, TrendState) for key, entry in newest.items()}
            self._clock = max((state.minute for state in self.states()), default=0)
            self._since = min((state.since for state in self.states()), default=0)
            self._heard = time.monotonic()

    def handle(self, entries: Sequence[Entry]) -> list[Record]:
        records: list[Record] = []
        touched: dict[str, tuple[TrendState, set[int]]] = {}
        self._events, self._scored = [], []
        with self.lock:
            for entry in entries:
                try:
                    tally = decode(entry.value, Tally)
                except MessageError as error:
                    records.append(dead_letter(GROUP, entry, error))
                    continue
                state = self._state(entry.partition, tally)
                if tally.series not in touched:
                    touched[tally.series] = state, set()
                    state.points = []
                touched[tally.series][1].update(minute.minute // 60 for minute in tally.minutes)
                self._count(state, tally)
            self._heard = time.monotonic()
            for state, hours in touched.values():
                add_points(state, hours)
            for state in self._judge_open(self._clock):
                if state.series not in touched:
                    touched[state.series] = state, set()
                    state.points = []
            return records + self._records(state for state, _ in touched.values())

    def tick(self) -> list[Record]:
        """Time passes while no tally comes: spikes close by the clock on the wall."""
        self._events, self._scored = [], []
        with self.lock:
            changed = self._judge_open(self.now())
            for state in changed:
                state.points = []
            return self._records(changed)

    def _judge_open(self, minute: int) -> list[TrendState]:
        """Series whose open spike closes or grows at ``minute``: other series' news moves the clock for them too."""
        open_ = [state for state in self.states() if state.spike is not None]
        return [state for state in open_ if self._judge(state, minute)]

    def committed(self) -> None:
        for event in self._events:
            self._spikes.labels(event.series.partition(":")[0], event.state).inc()
        now = utcnow()
        for scored_at in self._scored:
            self._latency.labels("scored_to_trend").observe((now - scored_at).total_seconds())

    def now(self) -> int:
        """Event time in minutes: that of the newest tally, and from then on as fast as the wall clock."""
        return self._clock + int((time.monotonic() - self._heard) / 60)

    def states(self) -> Iterable[TrendState]:
        """The states of all owned series."""
        for states in self._states.values():
            yield from states.values()

    def _state(self, partition: int, tally: Tally) -> TrendState:
        """The state of a tally's series, a new one for a series that has none."""
        states = self._states.setdefault(partition, {})
        state = states.get(tally.series)
        if state is None:
            self._since = self._since or tally.minutes[0].minute // 60
            state = states[tally.series] = TrendState(series=tally.series, since=self._since)
        return state

    def _count(self, state: TrendState, tally: Tally) -> None:
        """Add a tally minute by minute, and judge where bad news came or a spike is open."""
        for minute in tally.minutes:
            add(state, minute, self._rules)
            if minute.negatives or state.spike is not None:
                self._judge(state, state.minute)
        self._clock = max(self._clock, state.minute)
        if tally.scored_at is not None and tally.series == ALL:
            self._scored.append(tally.scored_at)

    def _judge(self, state: TrendState, minute: int) -> bool:
        event = judge(state, minute, self._rules)
        if event is not None:
            self._events.append(event)
        return event is not None

    def _records(self, changed: Iterable[TrendState]) -> list[Record]:
        records = [Record(TRENDS, state.series, encode(state)) for state in changed]
        return records + [Record(SPIKES, event.series, encode(event)) for event in self._events]

    @property
    def rules(self) -> Rules:
        return self._rules


def horizon_label(minutes: int) -> str:
    """A horizon as metrics show it: "15m", "6h"."""
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


class TrendsCollector(Collector):
    """The trends as metrics, read from the states at each scrape: exact again after a restart."""

    def __init__(self, trends: Trends) -> None:
        self._trends = trends

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        articles = CounterMetricFamily(
            "squall_articles", "Articles by topic, sentiment and source.", labels=["topic", "sentiment", "source"]
        )
        late = CounterMetricFamily("squall_late_articles", "Articles that came after the lateness bound.")
        clock = GaugeMetricFamily("squall_trends_event_time_seconds", "Event time of the trends, seconds since 1970.")
        share = GaugeMetricFamily(
            "squall_negative_share", "Negative among relevant articles of the last hour.", labels=["series"]
        )
        names = ("observed", "expected", "surprise")
        help_ = "Negative articles of a horizon: weight observed, weight expected, -log10 of the tail probability."
        readings = [GaugeMetricFamily(f"squall_negative_{name}", help_, labels=["series", "horizon"]) for name in names]
        active = GaugeMetricFamily("squall_spike_active", "1 while a spike is open.", labels=["series", "horizon"])
        with self._trends.lock:
            now = self._trends.now()
            clock.add_metric([], now * 60)
            for state in self._trends.states():
                _count(articles, late, state)
                share.add_metric([state.series], _share(state, now))
                for horizon in self._trends.rules.horizons:
                    reading, label = read(state, now, horizon), horizon_label(horizon)
                    for family, name in zip(readings, names, strict=True):
                        family.add_metric([state.series, label], getattr(reading, name))
                    open_ = state.spike is not None and state.spike.horizon_minutes == horizon
                    active.add_metric([state.series, label], float(open_))
        yield from (articles, late, clock, share, *readings, active)


def _count(articles: CounterMetricFamily, late: CounterMetricFamily, state: TrendState) -> None:
    """A topic's articles by sentiment; those that were not scored have no topic, and come from ``all``."""
    kind, _, topic = state.series.partition(":")
    if kind == "topic":
        for source, counts in state.totals.items():
            for outcome in OUTCOMES[:4]:
                articles.add_metric([topic, outcome, source], getattr(counts, outcome))
    elif kind == ALL:
        late.add_metric([], state.late)
        for source, counts in state.totals.items():
            articles.add_metric(["unscored", "unscored", source], counts.unscored)


def _share(state: TrendState, now: int) -> float:
    """Negative among relevant articles of the current and the last full hour."""
    found = [state.hours[hour] for hour in (now // 60 - 1, now // 60) if hour in state.hours]
    relevant = sum(counts.relevant for counts in found)
    return sum(counts.negative for counts in found) / relevant if relevant else 0.0


def run(log: Log, rules: Rules, *, stop: threading.Event, registry: CollectorRegistry) -> None:
    """Keep trends until ``stop`` is set.

    Raises:
        LogError: a topic was deleted or the log is corrupt.
    """
    run_stage(log, Trends(log, rules, registry), batch=BATCH, stop=stop, registry=registry)
