"""Kafka is away for two minutes while news comes in: nothing is lost, memory is bounded, the alert comes and goes."""

import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from bus.log import Log
from bus.messages import Article, decode
from bus.open import open_log
from bus.topics import ARTICLES, SCORED, news_topics
from tests.end_to_end.house import House
from tests.end_to_end.servers import NewsSite, Slack
from tests.end_to_end.streams import STREAM, rows
from tests.end_to_end.test_slack import SOURCES, sources_file
from tests.services import kafka, monitoring
from tests.services.ports import wait_until

AWAY = 120.0
"""Seconds that the broker is down."""

GROWTH = 60.0
"""Megabytes that a role may grow meanwhile."""

SHOWN = 20
"""Articles that a feed shows: what is older has left it."""


@pytest.mark.kafka
@pytest.mark.long
def test_two_minutes_without_kafka_cost_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stories = iter([row["title"] for row in rows(STREAM)])
    told: list[str] = []
    with ExitStack() as services:
        broker = services.enter_context(kafka.broker(tmp_path / "kafka"))
        site, slack = services.enter_context(NewsSite(shown=SHOWN)), services.enter_context(Slack())
        own = {"log": f"kafka:{broker.address}", "sources": sources_file(tmp_path, site), "watchlist": "none.yml"}
        own |= {"slack_webhook_url": f"{slack.url}/services/T/B/x", "alert_source": "alertmanager"}
        house = services.enter_context(House(tmp_path, **own))
        for name in SOURCES:
            site.publish(name, f"{next(stories)} ({name})")
        roles = {name: psutil.Process(house.start(name).pid) for name in ("ingest", "worker", "trends", "archive")}
        house.start("alerts")
        alertmanager = services.enter_context(monitoring.alertmanager(tmp_path / "alertmanager", house.page_port))
        prometheus = services.enter_context(monitoring.prometheus(tmp_path / "prometheus", house.ports, alertmanager))

        def news(seconds: float) -> None:
            """Tell one story a second, first in one paper, then in the next."""
            for number in range(int(seconds)):
                told.append(f"{next(stories)} (number {len(told)})")
                site.publish(SOURCES[number % 3], told[-1])
                time.sleep(1)

        news(30)
        before = {name: process.memory_info().rss / 1e6 for name, process in roles.items()}
        broker.kill()
        news(AWAY)
        assert "LogUnreachable" in firing(prometheus)
        grown = {name: process.memory_info().rss / 1e6 - before[name] for name, process in roles.items()}
        broker.start()
        news(30)
        with open_log(f"kafka:{broker.address}") as log:
            log.create_topics(news_topics())
            wait_until(lambda: {*told} <= titles(log), 60, "every article to be published")
            wait_until(lambda: log.lag("worker", ARTICLES) == 0, 60, "every article to be scored")
            published, scored = ([entry.key for entry in log.read_all(topic)] for topic in (ARTICLES, SCORED))
            assert sorted(scored) == sorted(published)
            assert len(set(published)) == len(published) == len(told) + len(SOURCES)
        wait_until(lambda: "LogUnreachable" not in firing(prometheus), 240, "the alert to resolve")
    with capsys.disabled():
        print(f"\nbroker down for {AWAY:g} s: growth in MB " + ", ".join(f"{n} {g:.0f}" for n, g in grown.items()))
    assert max(grown.values()) < GROWTH


def titles(log: Log) -> set[str]:
    """The titles of all articles on the log."""
    return {decode(entry.value, Article).title for entry in log.read_all(ARTICLES)}


def firing(prometheus: str) -> set[str]:
    """The names of the alerts that fire."""
    alerts = httpx.get(f"{prometheus}/api/v1/alerts", timeout=5).json()["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
