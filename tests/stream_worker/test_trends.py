"""Trends: the owner of the series, across restarts and hand-overs."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from bus.embedded import EmbeddedLog
from bus.log import Record
from bus.messages import Counts, Minute, SpikeEvent, Tally, TrendState, decode, encode
from bus.topics import DEAD, SPIKES, TALLIES, TRENDS, news_topics
from stream_worker.series import Rules
from stream_worker.trends import run
from tests.stream_worker.test_series import BASE, DAY, HOUR, bad_news, other_news, quiet_days, surge


@pytest.fixture
def log(tmp_path: Path) -> EmbeddedLog:
    log = EmbeddedLog(tmp_path / "log.db")
    log.create_topics(news_topics(3))
    return log


class Running:
    """Trends in a thread, ended by leaving the block."""

    def __init__(self, log: EmbeddedLog) -> None:
        self.registry = CollectorRegistry()
        self._log = log
        self._stop = threading.Event()
        arguments = {"stop": self._stop, "registry": self.registry}
        self._thread = threading.Thread(target=run, args=(log, Rules()), kwargs=arguments)

    def __enter__(self) -> "Running":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def drained(self) -> "Running":
        deadline = time.monotonic() + 20
        while self._log.lag("trends", TALLIES) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self._log.lag("trends", TALLIES) == 0
        return self

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def publish(log: EmbeddedLog, minutes: Sequence[Minute], series: str = "topic:Macro") -> None:
    """One tally a minute, as a slow stream brings them."""
    log.publish([Record(TALLIES, series, encode(Tally(series=series, minutes=[minute]))) for minute in minutes])


def states(log: EmbeddedLog) -> dict[str, TrendState]:
    newest = [log.latest(TRENDS, number) for number in range(log.partitions(TRENDS))]
    return {key: decode(e.value, TrendState) for found in newest for key, e in found.items()}


def spikes(log: EmbeddedLog) -> list[SpikeEvent]:
    return [decode(entry.value, SpikeEvent) for entry in log.read_all(SPIKES)]


def test_a_surge_is_on_the_log_and_in_the_metrics(log: EmbeddedLog) -> None:
    publish(log, quiet_days(7) + surge(BASE + 7 * DAY))
    with Running(log) as trends:
        trends.drained()
        assert spikes(log)[0].state == "opened"
        active = [trends.value("squall_spike_active", series="topic:Macro", horizon=h) for h in ("1h", "6h")]
        assert sorted(active) == [0.0, 1.0]
        assert trends.value("squall_negative_surprise", series="topic:Macro", horizon="1h") > 5
        assert trends.value("squall_spikes_total", kind="topic", state="opened") == 1


def test_a_restart_goes_on_exactly_where_it_stopped(log: EmbeddedLog, tmp_path: Path) -> None:
    tallies = quiet_days(7) + surge(BASE + 7 * DAY) + [other_news(BASE + 8 * DAY)]
    publish(log, tallies)
    with Running(log) as trends:
        trends.drained()
    other = EmbeddedLog(tmp_path / "other.db")
    other.create_topics(news_topics(3))
    for start in range(0, len(tallies), 40):
        publish(other, tallies[start : start + 40])
        with Running(other) as trends:
            trends.drained()
    ours, theirs = states(log)["topic:Macro"], states(other)["topic:Macro"]
    ours.points = theirs.points = []
    assert ours == theirs
    assert [e.id for e in spikes(log) if e.state != "updated"] == [e.id for e in spikes(other) if e.state != "updated"]


def test_totals_survive_a_hand_over_between_two_processes(log: EmbeddedLog) -> None:
    names = [f"topic:{letter}" for letter in "abcdefgh"]
    with Running(log) as first:
        for name in names:
            publish(log, [other_news(BASE + i) for i in range(10)], name)
        first.drained()
        with Running(log) as second:
            time.sleep(1.0)
            for name in names:
                publish(log, [other_news(BASE + i) for i in range(10)], name)
            second.drained()
    totals = {name: sum(counts.total for counts in state.totals.values()) for name, state in states(log).items()}
    assert totals == dict.fromkeys(names, 40)


def test_articles_are_counted_by_topic_sentiment_and_source(log: EmbeddedLog) -> None:
    publish(log, [Minute(BASE, {"wire": Counts(3, 2, 1, 4, 0)})])
    publish(log, [Minute(BASE, {"wire": Counts(3, 2, 1, 4, 5)})], "all")
    with Running(log) as trends:
        trends.drained()
        for outcome, count in (("negative", 3), ("neutral", 2), ("positive", 1), ("irrelevant", 4)):
            assert trends.value("squall_articles_total", topic="Macro", sentiment=outcome, source="wire") == count
        assert trends.value("squall_articles_total", topic="unscored", sentiment="unscored", source="wire") == 5
        assert trends.value("squall_late_articles_total") == 0


def test_a_broken_tally_is_a_dead_letter(log: EmbeddedLog) -> None:
    log.publish([Record(TALLIES, "topic:Macro", b"{")])
    publish(log, [bad_news(BASE)])
    with Running(log) as trends:
        trends.drained()
    assert len(list(log.read_all(DEAD))) == 1
    assert states(log)["topic:Macro"].totals["wire"].negative == 1


def test_a_spike_closes_when_other_series_move_the_clock(log: EmbeddedLog) -> None:
    publish(log, quiet_days(7) + surge(BASE + 7 * DAY))
    with Running(log) as trends:
        trends.drained()
        publish(log, [other_news(BASE + 7 * DAY + 9 * HOUR)], "topic:Energy")
        trends.drained()
        deadline = time.monotonic() + 5
        while spikes(log)[-1].state != "closed" and time.monotonic() < deadline:
            time.sleep(0.05)
    assert spikes(log)[-1].state == "closed"
    assert spikes(log)[-1].series == "topic:Macro"
