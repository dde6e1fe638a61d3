"""One series: what its tallies change in its state, and when a spike opens and closes. Pure, but for the state itself.

Event time rules everything. An hour stays open for the longest horizon and the lateness bound, then the baseline
absorbs it; articles that come later still are counted in the totals, and nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from bus.messages import Counts, Minute, Negative, Point, Recent, SpikeEvent, TrendState
from bus.signature import count_near
from stream_worker.detector import FORGET, Baseline, baseline, capped_sum, expect, surprise, upper

SLOT_MINUTES = 5
"""Windows are counted in slots of this length: 72 numbers a source for six hours."""

MAX_RECENT = 64
"""Newest negative articles that a state keeps, as evidence and to recognise repeats."""

REPEAT = 0.5
"""What each earlier copy of a story leaves of an article's weight: a repeat is scored down, never dropped."""

MIN_OBSERVED = 3.0
"""Least weight of a spike: two articles are no surge, however rare they are."""

MIN_SOURCES = 2
"""Least number of sources of a spike."""

WARM_UP_HOURS = 12.0
"""Hours that a series is observed before it may alarm: half a day's rhythm."""

OPEN_AT = {"fewer": 4.0, "balanced": 3.2, "more": 2.4}
"""Surprise at which a spike opens, by the user's sensitivity. At 3.2 some 25 series of a real stream (three
publishers, January 2023) open three spikes a week in all."""

CLOSE_AT = 0.5
"""A spike closes when the surprise falls to this fraction of the opening threshold: hysteresis against flicker."""

COOLDOWN_MINUTES = 60
"""After a spike has closed, how long the series stays quiet."""

MOST_QUIET_POINTS = 72
"""Hours without negative news whose points are told when a gap ends: three days, what the page shows first."""

MOST_SOURCES = 200
OTHERS = "(others)"
"""Sources that a series tells apart, the first that it hears of; whoever pushes articles invents their names."""

_NOTHING = Counts()

GROWTH = 1.5
"""An open spike is reported anew when it has grown by this factor since the last report."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the user may set about spikes."""

    horizons: tuple[int, ...] = (60, 360)
    """Minutes."""
    sensitivity: str = "balanced"
    lateness: int = 15
    """Minutes."""

    @property
    def open_minutes(self) -> int:
        """How long an hour stays open after it has ended."""
        return max(self.horizons) + self.lateness


class Reading(NamedTuple):
    """One series over one horizon at one moment."""

    horizon: int
    observed: float
    expected: float
    surprise: float
    sources: dict[str, float]


def add(state: TrendState, tally: Minute, rules: Rules) -> None:
    """Count one minute of a tally into its series."""
    relevant = Counts()
    for source, counts in tally.counts.items():
        state.totals.setdefault(_known(state, source), Counts()).add(counts)
        relevant.add(counts)
    hour = tally.minute // 60
    if state.since == 0:
        state.since = hour
    if state.open_hour == 0:
        state.open_hour = state.since
    state.minute = max(state.minute, tally.minute)
    if hour < state.open_hour:
        state.late += relevant.total
        return
    if relevant.relevant:
        state.hours.setdefault(hour, Counts()).add(
            Counts(negative=relevant.negative, neutral=relevant.neutral, positive=relevant.positive)
        )
    for negative in tally.negatives:
        _add_negative(state, tally.minute, negative)
    _absorb(state, rules)


def _add_negative(state: TrendState, minute: int, negative: Negative) -> None:
    copies = count_near(negative.signature, [recent.signature for recent in state.recent])
    weight = negative.weight * REPEAT**copies
    hour = minute // 60
    state.weights[hour] = state.weights.get(hour, 0.0) + weight
    slot = state.window.setdefault(minute // SLOT_MINUTES, {})
    source = _known(state, negative.source)
    slot[source] = slot.get(source, 0.0) + weight
    state.recent.append(Recent(minute, negative.article, source, negative.signature))
    state.recent.sort(key=lambda recent: recent.minute)
    del state.recent[:-MAX_RECENT]


def _known(state: TrendState, source: str) -> str:
    """The source, or :data:`OTHERS` once the series has as many sources as a state and the metrics can carry."""
    return source if source in state.totals or len(state.totals) < MOST_SOURCES else OTHERS


def _absorb(state: TrendState, rules: Rules) -> None:
    """Move hours that are over into the baseline, and drop slots that no horizon reaches."""
    last = (state.minute - rules.open_minutes) // 60
    while state.open_hour < last:
        waiting = [hour for hour in state.weights if hour < last]
        # Hours without negative news are absorbed in one go, so that a gap of months costs nothing.
        until = min(waiting, default=last)
        kept = FORGET ** (until - state.open_hour)
        state.exposure = state.exposure * kept + (1 - kept) / (1 - FORGET)
        state.mass *= kept
        state.squares *= kept
        state.points += _points(state, range(max(state.open_hour, until - MOST_QUIET_POINTS), until))
        state.open_hour = until
        if waiting:
            state.points += _points(state, [until])
            weight = state.weights.pop(until)
            if state.exposure >= WARM_UP_HOURS:  # a past spike must not become the new normal
                weight = min(weight, max(1.0, upper(expect(normal(state), 1.0))))
            state.exposure = state.exposure * FORGET + 1
            state.mass = state.mass * FORGET + weight
            state.squares = state.squares * FORGET + weight * weight
            state.open_hour = until + 1
    for hour in [hour for hour in state.hours if hour < state.open_hour]:
        del state.hours[hour]
    oldest = (state.minute - rules.open_minutes) // SLOT_MINUTES
    for slot in [slot for slot in state.window if slot < oldest]:
        del state.window[slot]


def normal(state: TrendState) -> Baseline:
    """What is normal for the series."""
    return baseline(state.exposure, state.mass, state.squares)


def read(state: TrendState, minute: int, horizon: int) -> Reading:
    """The series over one horizon that ends at ``minute``."""
    end = minute // SLOT_MINUTES
    start = end - horizon // SLOT_MINUTES
    sources: dict[str, float] = {}
    for slot, weights in state.window.items():
        if start < slot <= end:
            for source, weight in weights.items():
                sources[source] = sources.get(source, 0.0) + weight
    expected = expect(normal(state), horizon / 60)
    observed = capped_sum(sources)
    return Reading(horizon, observed, expected.mean, surprise(observed, expected), sources)


def judge(state: TrendState, minute: int, rules: Rules) -> SpikeEvent | None:
    """Whether a spike opens, has grown or closes at ``minute``; the state remembers it."""
    if state.spike is None and not _may_open(state, minute):
        return None
    best = max((read(state, minute, horizon) for horizon in rules.horizons), key=lambda reading: reading.surprise)
    threshold = OPEN_AT[rules.sensitivity]
    spike = state.spike
    if spike is None:
        if best.surprise < threshold or best.observed < MIN_OBSERVED or len(best.sources) < MIN_SOURCES:
            return None
        opened_at = time_of(minute)
        identity = f"{state.series}@{opened_at:%Y-%m-%dT%H:%MZ}"
        state.spike = _event(state, best, minute, "opened", identity, opened_at, best.observed)
        return state.spike
    if best.surprise < threshold * CLOSE_AT:
        event = _event(state, best, minute, "closed", spike.id, spike.opened_at, spike.peak_observed)
        event.articles, event.sources = event.articles or spike.articles, event.sources or spike.sources
        state.spike, state.quiet_until = None, minute + COOLDOWN_MINUTES
        return event
    if best.observed >= spike.peak_observed * GROWTH:
        state.spike = _event(state, best, minute, "updated", spike.id, spike.opened_at, best.observed)
        return state.spike
    return None


def _may_open(state: TrendState, minute: int) -> bool:
    """The cheap conditions, so that most tallies cost no arithmetic."""
    return state.exposure >= WARM_UP_HOURS and minute >= state.quiet_until and len(state.recent) >= MIN_OBSERVED


def _event(
    state: TrendState, reading: Reading, minute: int, what: str, identity: str, opened_at: datetime, peak: float
) -> SpikeEvent:
    within = [recent for recent in state.recent if minute - reading.horizon < recent.minute <= minute]
    sources: dict[str, int] = {}
    for recent in within:
        sources[recent.source] = sources.get(recent.source, 0) + 1
    return SpikeEvent(
        id=identity,
        series=state.series,
        state=what,
        opened_at=opened_at,
        at=time_of(minute),
        horizon_minutes=reading.horizon,
        observed=round(reading.observed, 2),
        expected=round(reading.expected, 3),
        surprise=round(reading.surprise, 2),
        articles=[recent.article for recent in reversed(within)],
        sources=sources,
        closed_at=time_of(minute) if what == "closed" else None,
        peak_observed=round(max(peak, reading.observed), 2),
    )


def add_points(state: TrendState, hours: set[int]) -> None:
    """Add to the state's points those of these hours that are not over yet; the others were added as they ended."""
    state.points += _points(state, sorted(hour for hour in hours if hour in state.hours))


def _points(state: TrendState, hours: Sequence[int]) -> list[Point]:
    """What is known of hours, beside what the baseline expects of one."""
    if not hours:
        return []
    expected = expect(normal(state), 1.0)
    band = round(expected.mean, 3), round(upper(expected), 2)
    found = [(hour, state.hours.get(hour, _NOTHING)) for hour in hours]
    return [Point(hour, counts.relevant, counts.negative, *band) for hour, counts in found]


def time_of(minute: int) -> datetime:
    """Minutes since 1970 as an aware UTC datetime."""
    return datetime.fromtimestamp(minute * 60, UTC)
