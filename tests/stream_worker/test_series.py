"""One series: baselines, lateness, spikes that open, grow and close."""

from collections.abc import Iterable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.messages import Counts, Minute, Negative, SpikeEvent, TrendState
from stream_worker.series import MOST_SOURCES, OTHERS, Rules, add, add_points, judge, read

HOUR = 60
DAY = 24 * HOUR
BASE = 28_000_000 // DAY * DAY
RULES = Rules()
_ids = iter(range(10**9))


def bad_news(minute: int, source: str = "wire", signature: int | None = None) -> Minute:
    """One negative article; its own story unless a signature is given."""
    number = next(_ids)
    story = signature if signature is not None else (number * 0x9E3779B97F4A7C15) % 2**63
    negative = Negative(f"{number:x}", source, story)
    return Minute(minute, {source: Counts(negative=1)}, [negative])


def other_news(minute: int, source: str = "wire") -> Minute:
    return Minute(minute, {source: Counts(neutral=1, irrelevant=1)})


def feed(state: TrendState, tallies: Iterable[Minute]) -> list[SpikeEvent]:
    """Add tallies and judge after each, as trends does."""
    events = []
    for tally in tallies:
        add(state, tally, RULES)
        if tally.negatives or state.spike:
            event = judge(state, state.minute, RULES)
            if event is not None:
                events.append(msgspec.convert(msgspec.to_builtins(event), SpikeEvent))
    return events


def quiet_days(days: int, start: int = BASE, every: int = 2 * HOUR) -> list[Minute]:
    """One negative article every two hours, by turns from two sources, and other news in between."""
    tallies: list[Minute] = []
    for i, minute in enumerate(range(start, start + days * DAY, every)):
        tallies += [bad_news(minute, ("wire", "herald")[i % 2]), other_news(minute + 20)]
    return tallies


def surge(start: int, count: int = 12, sources: tuple[str, ...] = ("wire", "herald", "ledger")) -> list[Minute]:
    return [bad_news(start + 3 * i, sources[i % len(sources)]) for i in range(count)]


def test_a_surge_over_a_quiet_baseline_opens_one_spike_that_says_why() -> None:
    state = TrendState(series="s")
    assert feed(state, quiet_days(7)) == []
    events = feed(state, surge(BASE + 7 * DAY))
    assert events[0].state == "opened"
    assert {event.state for event in events[1:]} <= {"updated"}
    opened = events[0]
    assert opened.observed >= 3 > opened.expected
    assert set(opened.sources) == {"wire", "herald", "ledger"}
    assert len(opened.articles) == sum(opened.sources.values())
    assert "is normal" in opened.reason
    assert len({event.id for event in events}) == 1


def test_a_spike_closes_when_the_news_calms_down_and_the_series_stays_quiet_for_a_while() -> None:
    state = TrendState(series="s")
    feed(state, quiet_days(7) + surge(BASE + 7 * DAY))
    events = feed(state, [other_news(minute) for minute in range(BASE + 7 * DAY + HOUR, BASE + 8 * DAY, 30)])
    assert [event.state for event in events] == ["closed"]
    closed = events[0]
    assert closed.closed_at == closed.at > closed.opened_at
    assert closed.peak_observed >= 10
    assert state.spike is None
    assert state.quiet_until > 0


def test_one_loud_source_alone_raises_no_spike() -> None:
    state = TrendState(series="s")
    assert feed(state, quiet_days(7) + surge(BASE + 7 * DAY, 40, sources=("wire",))) == []


def test_repeats_of_one_story_count_less() -> None:
    state = TrendState(series="s")
    repeats = [bad_news(BASE + 7 * DAY + i, f"source{i}", signature=12345) for i in range(12)]
    assert feed(state, quiet_days(7) + repeats) == []
    assert read(state, state.minute, 60).observed < 3


def test_a_new_series_does_not_alarm_before_it_has_been_watched() -> None:
    state = TrendState(series="s")
    assert feed(state, surge(BASE)) == []


def test_a_past_spike_does_not_become_the_new_normal() -> None:
    calm, shaken = TrendState(series="s"), TrendState(series="s")
    feed(calm, quiet_days(9))
    feed(shaken, sorted(quiet_days(9) + surge(BASE + 7 * DAY, 60), key=lambda tally: tally.minute))
    assert read(shaken, shaken.minute, 60).expected < 2.0 * read(calm, calm.minute, 60).expected


def test_late_articles_are_counted_in_the_totals_alone() -> None:
    state = TrendState(series="s")
    feed(state, quiet_days(3))
    before = (state.exposure, state.mass, dict(state.weights))
    add(state, bad_news(BASE + HOUR), RULES)
    assert state.late == 1
    assert (state.exposure, state.mass, state.weights) == before
    assert sum(counts.total for counts in state.totals.values()) == 3 * 12 * 3 + 1


def test_a_gap_of_months_costs_nothing_and_forgets() -> None:
    state = TrendState(series="s")
    feed(state, quiet_days(3))
    mass = state.mass
    add(state, other_news(BASE + 200 * DAY), RULES)
    assert state.mass < mass * 1e-6
    assert state.exposure < 250


def test_points_tell_an_hour_and_its_band() -> None:
    state = TrendState(series="s")
    feed(state, quiet_days(3))
    hour = state.minute // 60
    add_points(state, {hour, hour - 40})
    *over, point = state.points
    assert (point.hour, point.articles) == (hour, 2)
    assert 0 < point.expected < point.upper
    assert [point.hour for point in over] == list(range(over[0].hour, state.open_hour)), "each hour once, as it ended"


def test_invented_sources_cannot_make_a_state_grow() -> None:
    state = TrendState(series="s")
    for number in range(1_000):
        add(state, bad_news(BASE, f"source {number}"), RULES)
    assert len(state.totals) == MOST_SOURCES + 1
    assert sum(counts.total for counts in state.totals.values()) == 1_000
    assert state.totals[OTHERS].total == 1_000 - MOST_SOURCES
    assert all(len(slot) <= MOST_SOURCES + 1 for slot in state.window.values())


def test_hours_without_news_have_their_expectation_too() -> None:
    state = TrendState(series="s")
    feed(state, quiet_days(3))
    state.points = []
    add(state, other_news(BASE + 4 * DAY), RULES)
    assert len(state.points) >= 24
    assert all(point.expected > 0 for point in state.points)
    add(state, other_news(BASE + 200 * DAY), RULES)
    assert len(state.points) < 200


def test_a_state_stays_small_whatever_it_has_seen() -> None:
    state = TrendState(series="s")
    feed(state, quiet_days(20, every=10))
    state.points = []  # as at the beginning of each batch
    assert len(msgspec.json.encode(state)) < 16_000


minutes = st.lists(st.tuples(st.integers(0, 14), st.sampled_from(["wire", "herald"])), min_size=1, max_size=20)


@settings(max_examples=50, deadline=None)
@given(minutes, st.randoms())
def test_the_order_of_arrival_within_the_lateness_bound_changes_no_window(
    news: list[tuple[int, str]], chance: object
) -> None:
    start = BASE + 3 * DAY
    tallies = [bad_news(start + minute, source) for minute, source in news]
    ordered, shuffled = TrendState(series="s"), TrendState(series="s")
    history = quiet_days(3)
    mixed = list(tallies)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    for state, arrivals in ((ordered, sorted(tallies, key=lambda tally: tally.minute)), (shuffled, mixed)):
        for tally in history + arrivals:
            add(state, tally, RULES)
    assert ordered.hours == shuffled.hours
    assert ordered.window == shuffled.window
    assert (ordered.exposure, ordered.mass) == (shuffled.exposure, shuffled.mass)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5 * DAY), max_size=60))
def test_a_series_without_bad_news_never_alarms(times: list[int]) -> None:
    state = TrendState(series="s")
    assert feed(state, [other_news(BASE + minute) for minute in sorted(times)]) == []
    assert read(state, state.minute or BASE, 360).surprise == 0.0
