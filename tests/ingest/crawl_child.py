"""A process that crawls: the reactor runs once in a process, so tests start it in one of its own.

Reads what to do as JSON from standard input and writes what came of it to standard output, both described in
:class:`tests.ingest.crawling.Crawl`.
"""

import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

task = json.load(sys.stdin)
names: dict[str, list[str]] = task["names"]
real = socket.getaddrinfo


def scripted(host: Any, *args: Any, **options: Any) -> Any:
    """Answers for the names of the task: each look-up takes the next address, the last one for ever."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in names:
        host = names[name].pop(0) if len(names[name]) > 1 else names[name][0]
    return real(host, *args, **options)


socket.getaddrinfo = scripted  # before Twisted takes it over

import psutil  # noqa: E402
from prometheus_client import CollectorRegistry  # noqa: E402

from bus.embedded import EmbeddedLog  # noqa: E402
from bus.errors import LogFull  # noqa: E402
from bus.topics import news_topics  # noqa: E402
from ingest.crawler import addresses, spider  # noqa: E402
from ingest.crawler.run import crawl  # noqa: E402
from ingest.metrics import IngestMetrics  # noqa: E402
from ingest.publisher import Publisher  # noqa: E402
from ingest.sources import Source  # noqa: E402
from tests.ingest.test_publisher import Failing  # noqa: E402

judged: Callable[[str], bool] = addresses.is_public
addresses.is_public = lambda address: address in task["public"] or judged(address)


in_reactor: set[str] = set()


def watched(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step, which notes that it ran in the reactor's thread: the main one."""

    def watching(*args: Any, **options: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            in_reactor.add(step.__name__)
        return step(*args, **options)

    return watching


for name in ("read_feed", "make_article", "body_text", "clean_text"):
    setattr(spider, name, watched(getattr(spider, name)))
for name in ("new", "publish"):
    setattr(Publisher, name, watched(getattr(Publisher, name)))


class Crashing(Publisher):
    """Dies between fetching and publishing."""

    def publish(self, *args: Any, **options: Any) -> Any:
        os._exit(9)


def end() -> None:
    stopped.append(time.monotonic())
    stop.set()


warnings = BufferingHandler(10_000)
warnings.setLevel(logging.WARNING)
logging.getLogger("ingest").addHandler(warnings)
registry = CollectorRegistry()
metrics = IngestMetrics(registry)
stop = threading.Event()
looks: list[Any] = []
stopped: list[float] = []
with EmbeddedLog(Path(task["log"])) as log:
    log.create_topics(news_topics())
    publisher = (Crashing if task["crash"] else Publisher)(
        Failing(log, [LogFull("disk full")] * task["full"]),  # type: ignore[arg-type]
        metrics,
        stop,
    )
    if task["seconds"]:
        threading.Timer(task["seconds"], end).start()
    crawl(
        [Source(**source) for source in task["sources"]],
        publisher,
        metrics,
        stop,
        user_agent="Squall/test (+https://squall.example)",
        max_body=task["max_body"],
        once=not task["seconds"],
        report=lambda source, look: looks.append([source.name, *look]),
    )
    samples = {
        f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value
        for metric in registry.collect()
        for sample in metric.samples
    }
    json.dump(
        {
            "looks": looks,
            "samples": samples,
            "stop_seconds": time.monotonic() - stopped[0] if stopped else 0.0,
            "megabytes": psutil.Process().memory_info().rss / 1e6,
            "warnings": [record.getMessage() for record in warnings.buffer],
            "in_reactor": sorted(in_reactor),
            "modules": sorted(set(sys.modules) & {"trafilatura", "fastapi", "torch", "transformers"}),
        },
        sys.stdout,
    )
