"""Three brokers, two workers and two trends under random faults: exactly once all the same.

``pytest tests/end_to_end/test_chaos.py --chaos-seconds=1800`` runs it longer.
"""

import itertools
import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from bus.log import Log
from bus.messages import ScoredArticle, SpikeEvent, decode
from bus.open import open_log
from bus.topics import ARTICLES, SCORED, SPIKES, TALLIES, TRENDS, news_topics
from tests.end_to_end.chaos import Crew, Fault, Producer, Recovery, Watch, faults
from tests.end_to_end.counts import caught_up, states, tallied, totals
from tests.end_to_end.house import House
from tests.services import kafka
from tests.services.ports import wait_until

SESSION = 6.0
"""Seconds of a member's session: what a kill -9 or a stopped process costs before its partitions move."""

STUCK = 60.0
"""Seconds after a fault in which every partition must go on, however busy the machine; the figures are printed."""


@pytest.mark.kafka
@pytest.mark.slow
def test_nothing_is_lost_or_counted_twice_under_fire(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = float(request.config.getoption("--chaos-seconds"))
    seed = random.randrange(10**6)
    random.seed(seed)
    with kafka.cluster(tmp_path / "kafka", 3) as brokers:
        servers = [broker.address for broker in brokers]
        address = "kafka:" + ",".join(servers)
        house = House(tmp_path, log=address, kafka_session_seconds=SESSION, metrics_port=0, model_threads=1)
        with open_log(address) as log, house:
            log.create_topics(news_topics())
            crew = Crew(house, ["worker", "worker", "trends", "trends"])
            with Watch(servers, log.partitions(SCORED)) as watch, Producer(log) as producer:
                watch.recovered(time.time(), STUCK)
                recoveries = under_fire(faults(crew, brokers, SESSION), watch, crew, seconds)
            wait_until(lambda: done(log, crew), 120, "the backlog to be done")
            check(log, producer.published)
            pauses = {topic: longest_pause(log, topic) for topic in (ARTICLES, SCORED, TALLIES, TRENDS)}
    with capsys.disabled():
        print(f"\nchaos: seed {seed}, {len(producer.published)} articles, {crew.ended_alone} roles ended by themselves")
        print("longest pauses: " + ", ".join(f"{topic} {pause}" for topic, pause in pauses.items()))
        for at, name, recovery in recoveries:
            print(f"  {at} {name:45} {recovery.seconds:5.1f} s, last {recovery.last}")


def under_fire(kinds: list[Fault], watch: Watch, crew: Crew, seconds: float) -> list[tuple[str, str, Recovery]]:
    """Inflict faults in random order, every kind in each round; for each how it was overcome."""
    recoveries: list[tuple[str, str, Recovery]] = []
    deadline = time.monotonic() + seconds
    while True:
        for fault in random.sample(kinds, len(kinds)):
            if time.monotonic() > deadline and len(recoveries) >= len(kinds):
                return recoveries
            since = time.time()
            inflicting = threading.Thread(target=fault.inflict)
            inflicting.start()
            recoveries.append((time.strftime("%X"), fault.name, watch.recovered(since, STUCK)))
            inflicting.join()
            crew.look_after()
            time.sleep(random.uniform(0.5, 3))


def longest_pause(log: Log, topic: str) -> str:
    """The longest time that no record of any partition was written, and when it ended."""
    times = sorted(entry.timestamp for entry in log.read_all(topic))
    pause, end = max((after - before, after) for before, after in itertools.pairwise(times))
    return f"{pause:.1f} s until {time.strftime('%X', time.localtime(end))}"


def done(log: Log, crew: Crew) -> bool:
    crew.look_after()
    return caught_up(log)


def check(log: Log, published: list[str]) -> None:
    """Every article scored exactly once, every total exact, every spike told once."""
    assert sorted(entry.key for entry in log.read_all(ARTICLES)) == sorted(published)
    entries = list(log.read_all(SCORED))
    scored = {entry.key: decode(entry.value, ScoredArticle) for entry in entries}
    assert len(entries) == len(scored) == len(published)
    assert set(scored) == set(published)

    expected: Counter[str] = Counter()
    for each in scored.values():
        expected["all"] += 1
        if each.topic:
            expected[f"topic:{each.topic.label}"] += 1
    by_series = tallied(log)
    assert {name: count for name, count in by_series.items() if not name.startswith("entity:")} == dict(expected)
    assert totals(states(log)) == dict(by_series)

    spikes = [decode(entry.value, SpikeEvent) for entry in log.read_all(SPIKES)]
    told = Counter((spike.id, spike.state, spike.at) for spike in spikes)
    assert set(told.values()) <= {1}
    opened = Counter(spike.id for spike in spikes if spike.state == "opened")
    assert opened, "the stream has spikes"
    assert set(opened.values()) == {1}
    assert {spike.id for spike in spikes} == set(opened)
