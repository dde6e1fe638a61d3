"""The ingest role: the crawler and the push endpoint, until told to stop."""

import logging
import threading
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from bus.errors import ConfigError
from bus.log import Log
from ingest.metrics import IngestMetrics
from ingest.publisher import Publisher
from ingest.sources import Source

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
    stop: threading.Event,
    registry: CollectorRegistry,
) -> None:
    """Crawl the sources and serve the push endpoint until ``stop`` is set; ends within 5 seconds of that.

    Installs no signal handlers. The crawler's reactor runs in the calling thread and cannot be started a second time in
    a process. Without push tokens there is no push endpoint; with neither sources nor tokens this waits.

    Raises:
        ConfigError: the push endpoint's port cannot be had.
        LogError: the log failed in a way that waiting does not mend (it is corrupt, a topic is gone).
    """
    metrics = IngestMetrics(registry)
    publisher = Publisher(log, metrics, stop, retention_days)
    server = None
    if push_tokens:
        from ingest.push import PushServer, push_app

        try:
            server = PushServer(push_app(publisher, push_tokens), push_host, push_port)
        except OSError as error:
            raise ConfigError(f"push_port: {push_host}:{push_port} cannot be listened on: {error.strerror}") from error
        server.start()
    try:
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
    finally:
        if server:
            server.stop()
