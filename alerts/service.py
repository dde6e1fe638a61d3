"""The alerts role: serves gateway and page, watches the log's spikes and delivers to Slack."""

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import uvicorn
from fastapi import FastAPI
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from alerts.archive.store import Store
from alerts.delivery import Delivery
from alerts.gateway import Gateway
from alerts.links import Links
from alerts.metrics import ArchiveTotals, Metrics
from alerts.outbox import Outbox
from alerts.page.hosts import Hosts
from alerts.page.routes import routes
from alerts.page.site import Site, protect
from alerts.slack import Slack
from alerts.watch import watch_spikes
from alerts.webhook import webhook
from bus.errors import ConfigError
from bus.log import Log

logger = logging.getLogger(__name__)

GRACE_SECONDS = 2
"""How long open requests may take to end when the role stops."""

JOIN_SECONDS = 3.0
"""How long the threads may take then. One that waits for Slack is left behind: its alert stays in the outbox."""

LOOK_SECONDS = 0.25
"""How often the threads and the stop are looked at."""


def run(
    log: Log,
    store: Store,
    *,
    host: str,
    port: int,
    page_url: str,
    grafana_url: str = "",
    slack_webhook_url: str | None = None,
    outbox: Path,
    alert_source: Literal["log", "alertmanager"] = "log",
    stop: threading.Event,
    registry: CollectorRegistry,
) -> None:
    """Run the alerts role until ``stop`` is set.

    Args:
        log: where news.spikes is read from, when ``alert_source`` is ``log``.
        store: the archive, read only, except for readers' corrections.
        host, port: where page, gateway, /metrics and /healthz are served; port 0 takes a free one.
        page_url, grafana_url: how people reach page and Grafana, for links.
        slack_webhook_url: a secret; None shows alerts on the page only.
        outbox: the file of alerts that wait for Slack.
        alert_source: ``log`` watches news.spikes; ``alertmanager`` serves POST /alertmanager instead.

    Raises:
        ConfigError: the address is taken, or the webhook is no URL.
        OutboxError: the outbox's file cannot be opened.
        LogError: the log is corrupt, or news.spikes was deleted.
    """
    metrics = Metrics(registry)
    registry.register(ArchiveTotals(store))
    ending = threading.Event()  # set whenever the role ends, stop or error
    app = create_app(store, metrics, registry, Hosts(host, page_url), grafana_url)
    jobs: dict[str, Callable[[], None]] = {}
    with contextlib.ExitStack() as opened:
        box = None
        if slack_webhook_url:
            slack, box = Slack(slack_webhook_url), opened.enter_context(contextlib.closing(Outbox(outbox)))
            metrics.watch(box)
            jobs["delivery"] = partial(Delivery(box, slack, metrics).run, ending)
        gateway = Gateway(store, box, Links(page_url, grafana_url), metrics, stop=ending)
        if alert_source == "alertmanager":
            app.include_router(webhook(gateway, metrics))
        else:
            jobs["watch"] = partial(watch_spikes, log, gateway, ending, registry)
        server = _Server(app, host, port)
        told = "and in Slack" if box else "only: no Slack webhook is set"
        logger.info("page on %s (people reach it at %s); alerts are shown there %s", server.url, page_url, told)
        _run(jobs | {"page": server.serve}, stop, ending, server)


def create_app(
    store: Store, metrics: Metrics, registry: CollectorRegistry, hosts: Hosts, grafana_url: str = ""
) -> FastAPI:
    """The application: the page, /metrics and /healthz."""
    app = FastAPI(title="Squall", docs_url=None, redoc_url=None, openapi_url=None)
    site = Site(grafana_url)
    protect(app, site, hosts)
    app.include_router(routes(store, site, metrics))

    @app.get("/metrics")
    def show_metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


class _Server:
    """uvicorn on a listening socket, in a thread of ours: it installs no signal handlers there."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        self._listener = _listen(host, port)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACE_SECONDS,
            server_header=False,
        )
        self._server = uvicorn.Server(config)

    def serve(self) -> None:
        self._server.run(sockets=[self._listener])

    def end(self) -> None:
        self._server.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        said = error.strerror or str(error)
        raise ConfigError(f"page {host}:{port}: {said}; set page_host and page_port to a free address") from error


def _run(jobs: dict[str, Callable[[], None]], stop: threading.Event, ending: threading.Event, server: _Server) -> None:
    """Run jobs in threads until ``stop`` is set or one of them ends; raises what it ended with.

    On the way out every thread is told first and joined then, so that they wind down together.
    """
    errors: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(job,), name=name, daemon=True) for name, job in jobs.items()]
    for thread in threads:
        thread.start()
    try:
        while not stop.wait(LOOK_SECONDS) and all(thread.is_alive() for thread in threads):
            pass
    finally:
        ending.set()
        server.end()
        for thread in threads:
            thread.join(JOIN_SECONDS)
    for error in errors:
        with contextlib.suppress(SystemExit):  # uvicorn's way to say that it could not start
            raise error
    if not stop.is_set():
        raise ConfigError("the page's server ended by itself; its lines above say why")
