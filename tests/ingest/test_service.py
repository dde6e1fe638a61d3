"""The ingest role as a process: crawler and push endpoint together, and how they end."""

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from bus.embedded import EmbeddedLog
from bus.errors import ConfigError, LogError
from bus.log import Log
from bus.topics import ARTICLES
from ingest.service import run
from ingest.sources import Source
from tests.ingest.conftest import FEEDS, Website, answer, articles_on

TOKEN = {"Authorization": "Bearer t"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def role(log: Path, sources: list[Source], port: int) -> None:
    """What the role's process does; exit status 7 when the log failed for good."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with EmbeddedLog(log) as opened:
        try:
            run(
                opened,
                sources,
                user_agent="Squall/test",
                push_port=port,
                push_tokens=["t"],
                stop=stop,
                registry=CollectorRegistry(),
            )
        except LogError as error:
            print(f"role: {error}", file=sys.stderr)
            os._exit(7)


@contextmanager
def running(log: Path, sources: list[Source]) -> Iterator[tuple[Any, str]]:
    """The role's process and the address of its push endpoint."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=role, args=(log, sources, port))
    process.start()
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.join()


def test_crawler_and_push_share_one_memory_and_end_on_sigterm(log: Log, tmp_path: Path) -> None:
    site = Website()
    site.pages["/feed"] = answer((FEEDS / "rdf.xml").read_bytes())
    source = Source("bank", f"{site.url}/feed", interval=0.5, allow_private=True, weight=0.5)
    with running(tmp_path / "log.db", [source]) as (process, url):
        wait_for(lambda: sum(log.ends(ARTICLES)) == 1)
        pushed = [
            {"source": "push", "title": "Same page", "link": "https://bank.example/rate"},
            {"source": "p", "title": "T"},
        ]
        answers = httpx.post(f"{url}/articles", json=pushed, headers=TOKEN).json()["results"]
        assert [each["status"] for each in answers] == ["duplicate", "accepted"]
        start = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        process.join(10)
        assert (process.exitcode, time.monotonic() - start < 5) == (0, True)
    (crawled,) = (article for article in articles_on(log) if article.source == "bank")
    assert (crawled.title, crawled.weight) == ("Rate decision", 0.5)
    site.close()


def test_a_topic_that_is_gone_ends_the_role_so_that_it_is_started_again(log: Log, tmp_path: Path) -> None:
    site = Website()
    site.pages["/feed"] = lambda request: answer(
        f"<rss version='2.0'><item><title>{time.monotonic()}</title></item></rss>".encode()
    )(request)
    source = Source("live", f"{site.url}/feed", interval=0.5, allow_private=True)
    with running(tmp_path / "log.db", [source]) as (process, _):
        wait_for(lambda: sum(log.ends(ARTICLES)) >= 1)
        log.delete_topic(ARTICLES)
        process.join(15)
        assert process.exitcode == 7
    site.close()


def in_thread(log: Log, stop: threading.Event, **options: Any) -> threading.Thread:
    keywords = {"user_agent": "Squall/test", "stop": stop, "registry": CollectorRegistry(), **options}
    thread = threading.Thread(target=run, args=(log, []), kwargs=keywords)
    thread.start()
    return thread


def test_with_nothing_to_do_the_role_says_so_and_waits(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ingest")
    stop = threading.Event()
    thread = in_thread(log, stop)
    wait_for(lambda: "no sources to crawl and no push tokens: nothing to do but wait" in caplog.text)
    assert thread.is_alive()
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_push_alone_works(log: Log) -> None:
    stop, port = threading.Event(), free_port()
    thread = in_thread(log, stop, push_port=port, push_tokens=["t"])
    wait_for(lambda: _healthy(port))
    assert httpx.post(f"http://127.0.0.1:{port}/articles", json=[], headers=TOKEN).json() == {"results": []}
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def _healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_port_that_is_taken_is_a_config_error(log: Log) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=f"push_port: 127.0.0.1:{port} cannot be listened on: Address already in use"
        ):
            run(
                log,
                [],
                user_agent="Squall/test",
                push_port=port,
                push_tokens=["t"],
                stop=threading.Event(),
                registry=CollectorRegistry(),
            )
