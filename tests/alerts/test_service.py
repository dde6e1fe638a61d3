"""The alerts role as a whole, over real HTTP: it serves, watches, delivers, and ends in time."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import psutil
import pytest
from prometheus_client import CollectorRegistry

from alerts import service
from alerts.archive import Store
from bus.embedded import EmbeddedLog
from bus.errors import ConfigError, UnknownTopic
from bus.log import Record
from bus.messages import encode
from bus.topics import SPIKES, news_topics
from tests.alerts.samples import NOON, minutes, scored, spike
from tests.alerts.slack_server import slack_server
from tests.services.ports import answers, free_port, wait_until


class Role:
    """The role in a thread of this process."""

    def __init__(self, log: EmbeddedLog, store: Store, folder: Path, **settings: Any) -> None:
        self.port, self.stop, self.errors = free_port(), threading.Event(), list[BaseException]()
        self.url = f"http://127.0.0.1:{self.port}"
        own: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "page_url": self.url} | settings
        self.registry = CollectorRegistry()

        def run() -> None:
            try:
                service.run(log, store, outbox=folder / "outbox.db", stop=self.stop, registry=self.registry, **own)
            except BaseException as error:
                self.errors.append(error)

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def end(self) -> float:
        """Stop it; the seconds that it took."""
        started = time.monotonic()
        self.stop.set()
        self.thread.join(15)
        assert not self.thread.is_alive()
        return time.monotonic() - started


@contextmanager
def role(log: EmbeddedLog, store: Store, folder: Path, **settings: Any) -> Iterator[Role]:
    running = Role(log, store, folder, **settings)
    try:
        wait_until(lambda: answers(running.port) or bool(running.errors), 10, "the page listens")
        yield running
    finally:
        running.end()


def publish(log: EmbeddedLog, *states: str) -> None:
    events = [spike(state, at=NOON + minutes(30 * i)) for i, state in enumerate(states)]
    log.publish([Record(SPIKES, event.series, encode(event)) for event in events])


def test_a_spike_on_the_log_reaches_slack_and_its_counters(log: EmbeddedLog, lite: Store, tmp_path: Path) -> None:
    lite.save_scored([scored("a1", title="First Republic shares halve"), scored("a2")])
    with slack_server() as slack, role(log, lite, tmp_path, slack_webhook_url=slack.url) as running:
        publish(log, "opened", "closed")
        wait_until(lambda: len(slack.taken) == 2, 15, "both messages")
        assert [text[0] for text in slack.texts] == ["🔴", "🟢"]
        assert f"{running.url}/spikes/entity:First%20Republic@" in str(slack.taken[0])
        said = httpx.get(f"{running.url}/metrics").text
        assert 'squall_alerts_delivered_total{state="opened"} 1.0' in said
        assert "squall_alerts_pending 0.0" in said
        assert running.end() < 5
    assert running.errors == []


def test_without_alertmanager_there_is_no_webhook(log: EmbeddedLog, lite: Store, tmp_path: Path) -> None:
    with slack_server() as slack, role(log, lite, tmp_path, slack_webhook_url=slack.url) as running:
        assert httpx.post(f"{running.url}/alertmanager", json={"version": "4"}).status_code == 404


def test_the_page_answers_to_the_names_of_its_settings(log: EmbeddedLog, lite: Store, tmp_path: Path) -> None:
    with role(log, lite, tmp_path, page_url="https://desk.example") as running:
        for host, status in (("desk.example", 200), ("127.0.0.1", 200), ("evil.example", 403)):
            assert httpx.get(running.url, headers={"Host": host}).status_code == status


def test_with_alertmanager_the_log_is_not_told_a_second_time(log: EmbeddedLog, lite: Store, tmp_path: Path) -> None:
    lite.save_scored([scored("a1"), scored("a2")])
    lite.save_spikes([spike("opened")])
    publish(log, "opened")
    alert = {
        "status": "firing",
        "labels": {"alertname": "NegativeNewsSpike", "series": "entity:First Republic"},
        "startsAt": "2023-04-26T12:00:00Z",
        "fingerprint": "f",
    }
    payload = {"version": "4", "groupKey": "g", "status": "firing", "alerts": [alert]}
    with (
        slack_server() as slack,
        role(log, lite, tmp_path, slack_webhook_url=slack.url, alert_source="alertmanager") as running,
    ):
        for _ in range(3):
            assert httpx.post(f"{running.url}/alertmanager", json=payload).status_code == 200
        wait_until(lambda: len(slack.taken) == 1, 10, "the message")
        time.sleep(1.5)
        assert len(slack.requests) == 1


def test_what_waits_when_the_role_ends_is_delivered_by_the_next(log: EmbeddedLog, lite: Store, tmp_path: Path) -> None:
    publish(log, "opened")
    lite.save_scored([scored("a1"), scored("a2")])
    with slack_server(*[500] * 50) as slack:
        with role(log, lite, tmp_path, slack_webhook_url=slack.url):
            wait_until(lambda: len(slack.requests) >= 1, 10, "the first attempt")
        assert slack.taken == []
        slack.script.clear()
        with role(log, lite, tmp_path, slack_webhook_url=slack.url):
            wait_until(lambda: len(slack.taken) == 1, 15, "the message")


def test_it_ends_in_time_while_slack_is_silent_and_a_browser_is_connected(
    log: EmbeddedLog, lite: Store, tmp_path: Path
) -> None:
    publish(log, "opened")
    with (
        slack_server("silence", "silence", "silence") as slack,
        role(log, lite, tmp_path, slack_webhook_url=slack.url) as running,
        httpx.Client() as browser,
    ):
        assert browser.get(running.url).status_code == 200
        wait_until(lambda: len(slack.requests) >= 1, 10, "a request that is not answered")
        assert running.end() < 5


def test_a_taken_port_is_named_with_its_settings(log: EmbeddedLog, lite: Store, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"page 127\.0\.0\.1:{port}: .* set page_host and page_port"):
            service.run(
                log,
                lite,
                host="127.0.0.1",
                port=port,
                page_url="http://x",
                outbox=tmp_path / "outbox.db",
                stop=threading.Event(),
                registry=CollectorRegistry(),
            )


def test_a_deleted_topic_ends_the_role_with_its_name(log: EmbeddedLog, lite: Store, tmp_path: Path) -> None:
    with role(log, lite, tmp_path) as running:
        time.sleep(0.5)
        log.delete_topic(SPIKES)
        running.thread.join(10)
        assert isinstance(running.errors[0], UnknownTopic)
        assert not answers(running.port)


def test_paths_survive_any_name_of_a_series(log: EmbeddedLog, lite: Store, tmp_path: Path) -> None:
    name = "A/B?c=d&e#f%20 ü"
    lite.save_scored([scored("a", entities=[name])])
    with role(log, lite, tmp_path) as running:
        (link,) = set(re.findall(r'href="(/series/entity:[^"]*)"', httpx.get(running.url).text))
        assert unquote(link) == f"/series/entity:{name}"
        text = httpx.get(running.url + link).text
        assert "Headline a" in text
        (back,) = re.findall(r'name="back" value="([^"]*)"', text)
        assert "Headline a" in httpx.get(running.url + back).text
        bar = re.findall(r'href="(\?range=[^"]*hour=[^"#]*)', text)[0].replace("&amp;", "&")
        assert httpx.get(running.url + link + bar).status_code == 200


ROLE = """
import signal, sys, threading
from pathlib import Path
from prometheus_client import CollectorRegistry
from alerts.archive import Store
from alerts.service import run
from bus.embedded import EmbeddedLog

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
folder = Path(sys.argv[1])
with EmbeddedLog(folder / "log.db") as log, Store(f"sqlite:///{folder}/archive.db") as store:
    run(log, store, host="127.0.0.1", port=int(sys.argv[2]), page_url="http://127.0.0.1", outbox=folder / "outbox.db",
        slack_webhook_url="http://127.0.0.1:9/none", stop=stop, registry=CollectorRegistry())
"""


def test_the_process_is_small_and_ends_at_sigterm(tmp_path: Path) -> None:
    with EmbeddedLog(tmp_path / "log.db") as log:
        log.create_topics(news_topics())
    with Store(f"sqlite:///{tmp_path}/archive.db") as store:
        store.save_scored([scored(f"a{i}", entities=[f"E{i % 50}"], at=NOON - minutes(i)) for i in range(3000)])
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", ROLE, str(tmp_path), str(port)])
    try:
        wait_until(lambda: answers(port), 15, "the page listens")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            for path in ["/", "/series/all?range=7d", "/search?q=headline", "/metrics"] * 5:
                assert client.get(path).status_code == 200
        resident = psutil.Process(process.pid).memory_info().rss / 1e6
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - started < 5
        assert resident < 200, f"{resident:.0f} MB"
    finally:
        process.kill()
        process.wait()
