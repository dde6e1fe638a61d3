"""The roles: what each process of Squall runs, and the two addresses that every one of them serves.

A role is a function of the settings, a stop event and a metrics registry; its room does the work.
"""

import logging
import random
import signal
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest

from bus.errors import ConfigError, LogError
from bus.log import Log
from squall.settings import METRICS_OFFSET, Settings

if TYPE_CHECKING:
    from stream_worker.model import Model
    from stream_worker.shadow import Shadow

logger = logging.getLogger(__name__)

WARM_UP = ["Shares fall after a profit warning."] * 64
"""Texts that a new model judges before it serves: the first run of each thread allocates."""

CLEAN_SECONDS = 600.0
"""How often, about, the embedded log deletes what is too old and compacts."""

Role = Callable[[Settings, Log, threading.Event, CollectorRegistry], None]


def _ingest(settings: Settings, log: Log, stop: threading.Event, registry: CollectorRegistry) -> None:
    from ingest.service import run
    from ingest.sources import load_sources

    file = settings.path(settings.sources)
    run(
        log,
        load_sources(file) if file.is_file() else [],
        user_agent=settings.user_agent,
        max_body_mb=settings.max_body_mb,
        retention_days=settings.retention_days,
        push_host=settings.push_host,
        push_port=settings.push_port,
        push_tokens=[token.get_secret_value() for token in settings.push_tokens],
        spool=settings.path(settings.spool),
        spool_mb=settings.spool_mb,
        stop=stop,
        registry=registry,
    )


def _worker(settings: Settings, log: Log, stop: threading.Event, registry: CollectorRegistry) -> None:
    from model.classifier import Classifier
    from model.live import InService
    from stream_worker.watchlist import Linker, load_watchlist
    from stream_worker.worker import run

    file = settings.path(settings.watchlist)
    entities = load_watchlist(file) if file.is_file() else []
    refused = Counter("squall_model_refused_total", "Promoted versions that could not be loaded.", registry=registry)

    def load(bundle: Path) -> Classifier:
        classifier = Classifier.load(bundle, device=settings.model_device, threads=settings.model_threads)
        classifier.classify(WARM_UP)
        return classifier

    models = InService(
        settings.path(settings.registry), settings.path(settings.model), load, refused=lambda version: refused.inc()
    )
    threading.Thread(target=models.watch, args=(stop,), name="registry", daemon=True).start()
    run(
        log,
        models,
        Linker(entities),
        batch=settings.worker_batch,
        device=settings.model_device,
        stop=stop,
        registry=registry,
        shadow=_shadow(settings, load, registry),
    )


def _shadow(settings: Settings, load: "Callable[[Path], Model]", registry: CollectorRegistry) -> "Shadow | None":
    """The second model of the settings; one that cannot be loaded is said, and the live one works without it."""
    from model.registry import version_folder
    from stream_worker.shadow import Shadow

    if not settings.shadow:
        return None
    versions = settings.path(settings.registry)
    try:
        folder = settings.path(Path(settings.shadow))
        model = load(folder if folder.is_dir() else version_folder(versions, settings.shadow))
    except Exception as error:  # whatever is wrong with it, the live model must go on
        logger.error("shadow %s: %s; the live model goes on without it", settings.shadow, error)
        return None
    return Shadow(model, settings.shadow_share, registry)


def _trends(settings: Settings, log: Log, stop: threading.Event, registry: CollectorRegistry) -> None:
    from stream_worker.series import Rules
    from stream_worker.trends import run

    rules = Rules(tuple(settings.horizons_minutes), settings.sensitivity, settings.lateness_minutes)
    run(log, rules, stop=stop, registry=registry)


def _archive(settings: Settings, log: Log, stop: threading.Event, registry: CollectorRegistry) -> None:
    from alerts.archive.role import run
    from alerts.archive.store import Store

    with Store(settings.archive_url) as store:
        run(log, store, stop=stop, registry=registry, days=settings.archive_days)


def _alerts(settings: Settings, log: Log, stop: threading.Event, registry: CollectorRegistry) -> None:
    from alerts.archive.store import Store
    from alerts.service import run

    webhook = settings.slack_webhook_url
    with Store(settings.archive_url) as store:
        run(
            log,
            store,
            host=settings.page_host,
            port=settings.page_port,
            page_url=settings.page_link,
            grafana_url=settings.grafana_url,
            slack_webhook_url=webhook.get_secret_value() if webhook else None,
            outbox=settings.path(settings.outbox),
            alert_source=settings.alert_source,
            stop=stop,
            registry=registry,
        )


ROLES: dict[str, Role] = {
    "ingest": _ingest,
    "worker": _worker,
    "trends": _trends,
    "archive": _archive,
    "alerts": _alerts,
}
"""In the order of the stream."""


def run_role(name: str, settings: Settings, log: Log) -> None:
    """Run one role in this process until SIGTERM or Ctrl-C, with its /metrics and /healthz.

    Raises:
        SquallError: the role cannot go on; nothing that it had not committed is lost.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    registry = CollectorRegistry()
    Gauge("squall_role_up", "1 while the role runs.", ["role"], registry=registry).labels(name).set(1)
    port = settings.metrics_port + METRICS_OFFSET[name] if settings.metrics_port and name in METRICS_OFFSET else 0
    server = serve_metrics(settings.metrics_host, port, registry) if port else None
    threading.Thread(target=_clean, args=(log, stop), name="clean", daemon=True).start()
    logger.info("%s: started%s", name, f", metrics on http://{settings.metrics_host}:{port}/metrics" if port else "")
    try:
        ROLES[name](settings, log, stop, registry)
    finally:
        if server is not None:
            server.shutdown()
            server.server_close()
    logger.info("%s: stopped", name)


def _clean(log: Log, stop: threading.Event) -> None:
    """Keep the log within its retention, if that is not a server's work: any role does, in turns by chance."""
    while not stop.wait(CLEAN_SECONDS * random.uniform(0.5, 1.5)):
        try:
            log.clean()
        except LogError as error:
            logger.error("cleaning the log: %s", error)


def serve_metrics(host: str, port: int, registry: CollectorRegistry) -> ThreadingHTTPServer:
    """Serve /metrics and /healthz in a thread. Raises ConfigError when the port is taken."""
    started = time.time()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif self.path == "/healthz":
                self._answer(200, "application/json", b'{"status":"ok","up_seconds":%d}' % (time.time() - started))
            else:
                self._answer(404, "text/plain", b"/metrics and /healthz are here\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes come every few seconds; they are no news."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        server = Server((host, port), Handler)
    except OSError as error:
        raise ConfigError(f"metrics address {host}:{port}: {error.strerror}; set metrics_port to a free one") from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
