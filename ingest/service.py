"""The ingest role: the crawler and the push endpoint, until told to stop."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from bus.errors import ConfigError
from bus.log import Log
from ingest.metrics import IngestMetrics
from ingest.publisher import Publisher
from ingest.sources import Source
from ingest.spool import Spool

_log = logging.getLogger(__name__)


def run(
    log: Log,
    sources: Sequence[Source],
    *,
    user_agent: str,
    max_body_mb: float = 10.0,
    retention_days: float = 7.0,
    push_host: str = "127.0.0.1",
    push_port: int = 8081,
    push_tokens: Sequence[str] = (),
    spool: Path | None = None,
    spool_mb: float = 200.0,
    stop: threading.Event,
    registry: CollectorRegistry,
) -> None:
    """Crawl the sources and serve the push endpoint until ``stop`` is set; ends within 5 seconds of that.

    What comes while the log takes nothing waits in the folder ``spool``, ``spool_mb`` megabytes of it; then, or without
    one, the crawler waits and pushes are refused with 503.

    Installs no signal handlers. The crawler's reactor runs in the calling thread and cannot be started a second time in
    a process. Without push tokens there is no push endpoint; with neither sources nor tokens this waits.

    Raises:
        ConfigError: the push endpoint's port cannot be had, or the spool's folder.
        LogError: the log failed in a way that waiting does not mend (it is corrupt, a topic is gone).
    """
    metrics = IngestMetrics(registry)
    with ExitStack() as opened:
        kept = opened.enter_context(closing(Spool(spool, int(spool_mb * 1e6)))) if spool and spool_mb else None
        publisher = Publisher(log, metrics, stop, retention_days, kept)
        if kept:
            opened.enter_context(_draining(publisher, stop))
        if push_tokens:
            opened.enter_context(_pushing(publisher, push_tokens, push_host, push_port))
        if sources:
            from ingest.crawler.run import crawl

            _log.info("crawling %d sources", len(sources))
            crawl(sources, publisher, metrics, stop, user_agent=user_agent, max_body=int(max_body_mb * 1024 * 1024))
        else:
            _log.info(
                "no sources to crawl%s; sources.yml names sources, push_tokens opens the push endpoint",
                "" if push_tokens else " and no push tokens: nothing to do but wait",
            )
            stop.wait()


@contextmanager
def _draining(publisher: Publisher, stop: threading.Event) -> Iterator[None]:
    """Empty the spool in a thread of its own, whose failure ends the role."""
    failures: list[BaseException] = []

    def drain() -> None:
        try:
            publisher.drain()
        except BaseException as error:
            failures.append(error)
            stop.set()

    thread = threading.Thread(target=drain, name="spool")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]


@contextmanager
def _pushing(publisher: Publisher, tokens: Sequence[str], host: str, port: int) -> Iterator[None]:
    """Serve the push endpoint. Raises ConfigError when its port cannot be had."""
    from ingest.push import PushServer, push_app

    try:
        server = PushServer(push_app(publisher, tokens), host, port)
    except OSError as error:
        raise ConfigError(f"push_port: {host}:{port} cannot be listened on: {error.strerror}") from error
    server.start()
    try:
        yield
    finally:
        server.stop()
