"""kill -9 at random moments: no article is lost, none is scored or counted twice."""

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bus.log import Log
from bus.open import open_log
from bus.topics import ARTICLES, SCORED, news_topics
from tests.end_to_end.counts import caught_up, states, tallied, totals
from tests.end_to_end.house import House
from tests.end_to_end.streams import february
from tests.services.ports import wait_until

KILLS = 20


def test_twenty_kills_on_the_embedded_log_cost_nothing(tmp_path: Path) -> None:
    with (
        House(tmp_path, worker_batch=16, metrics_port=0) as house,
        open_log(f"sqlite:{tmp_path / 'log.db'}") as log,
    ):
        kill_while_replaying(house, log, 40_000, lambda: random.uniform(0.2, 3.0))


@pytest.mark.kafka
@pytest.mark.slow
def test_twenty_kills_on_kafka_cost_nothing(tmp_path: Path, kafka_broker: str) -> None:
    address = f"kafka:{kafka_broker}"
    settings = {
        "log": address,
        "kafka_session_seconds": 6,
        "worker_batch": 64,
        "metrics_port": 0,
    }
    with House(tmp_path, **settings) as house, open_log(address) as log:
        # A killed member's session lasts 6 s, so there must be time to take over now and then.
        kill_while_replaying(house, log, 13_000, lambda: random.choice([1.0, 3.0, 7.0, 10.0]))


def kill_while_replaying(house: House, log: Log, speed: int, pause: Callable[[], float]) -> None:
    """Replay a month; meanwhile kill worker or trends and start it again, twenty times; then count.

    A month lasts 60 s at a speed of 40,000.
    """
    log.create_topics(news_topics())
    file = february()
    roles = {name: house.start(name) for name in ("worker", "trends")}
    replay = house.start("replay", str(file), f"--speed={speed}")
    for _ in range(KILLS):
        time.sleep(pause())
        assert replay.poll() is None, "the replay was over before the last kill"
        name = random.choice(["worker", "trends"])
        house.kill(roles[name])
        roles[name] = house.start(name)
    assert replay.wait(300) == 0, house.said("replay")
    wait_until(lambda: done(log, roles), 300, "the backlog to be done")
    check_totals(log)


def done(log: Log, roles: "dict[str, subprocess.Popen[bytes]]") -> bool:
    assert all(role.poll() is None for role in roles.values()), "a role ended by itself"
    return caught_up(log)


def check_totals(log: Log) -> None:
    """Every article is scored exactly once, and every total is the number of articles."""
    articles = [entry.key for entry in log.read_all(ARTICLES)]
    scored = Counter(entry.key for entry in log.read_all(SCORED))
    assert len(articles) > 3_000
    assert len(set(articles)) == len(articles)
    assert set(scored) == set(articles)
    assert set(scored.values()) == {1}
    by_series = tallied(log)
    assert by_series["all"] == len(articles)
    series = states(log)
    assert totals(series) == dict(by_series)
    topics = sum(count for name, count in by_series.items() if name.startswith("topic:"))
    unscored = sum(counts.unscored for counts in series["all"].totals.values())
    assert topics + unscored == len(articles)
