"""The alerts role: serves gateway and page, watches the log's spikes and delivers to Slack."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException

from alerts.archive.store import Store
from alerts.delivery import Delivery
from alerts.gateway import Gateway, PayloadError, read_payload
from alerts.links import Links
from alerts.metrics import ArchiveTotals, Metrics
from alerts.outbox import Outbox, OutboxError
from alerts.page.routes import routes
from alerts.page.site import Site, protect
from alerts.slack import Slack
from alerts.watch import watch_spikes
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

    Raises:
        ConfigError: the address is taken, or the webhook is no URL.
        OutboxError: the outbox's file cannot be opened.
        LogError: the log is corrupt, or news.spikes was deleted.
    """
    metrics = Metrics(registry)
    registry.register(ArchiveTotals(store))
    slack = Slack(slack_webhook_url) if slack_webhook_url else None
    box = Outbox(outbox) if slack else None
    ending = threading.Event()  # set whenever the role ends, stop or error
    gateway = Gateway(store, box, Links(page_url, grafana_url), metrics, stop=ending)
    application = create_app(store, gateway, metrics, registry, page_url, grafana_url)
    listener = _listen(host, port)
    server = _Server(application, listener)
    jobs: dict[str, Callable[[], None]] = {"page": server.serve}
    if box is not None and slack is not None:
        metrics.watch(box)
        jobs["delivery"] = lambda: Delivery(box, slack, metrics).run(ending)
    if alert_source == "log":
        jobs["watch"] = lambda: watch_spikes(log, gateway, ending, registry)
    _announce(host, listener.getsockname()[1], page_url, slack is not None)

    def end() -> None:
        ending.set()
        server.end()

    _run(jobs, stop, end)
    if box is not None:
        box.close()


def create_app(
    store: Store, gateway: Gateway, metrics: Metrics, registry: CollectorRegistry, page_url: str, grafana_url: str = ""
) -> FastAPI:
    """The application: the page, the webhook, /metrics and /healthz."""
    app = FastAPI(title="Squall", docs_url=None, redoc_url=None, openapi_url=None)
    site = Site(grafana_url)
    protect(app, site, store)
    app.include_router(routes(store, site, metrics, page_url))

    @app.post("/alertmanager")
    async def alertmanager(request: Request) -> Response:
        try:
            body = await request.body()
        except HTTPException as error:  # over-long
            return _refuse(error.status_code, error.detail)
        try:
            payload = read_payload(body)
        except PayloadError as error:
            return _refuse(400, str(error))
        try:
            await asyncio.to_thread(gateway.alertmanager, payload)
        except OutboxError as error:  # Alertmanager tries again after a 5xx
            logger.error("%s; Alertmanager is asked to try again", error)
            return JSONResponse({"error": "the outbox cannot be written"}, 503)
        return JSONResponse({"status": "accepted"})

    def _refuse(status: int, said: str) -> Response:
        metrics.refused.inc()
        logger.error("POST /alertmanager: %s", said)
        return JSONResponse({"error": said}, status)

    @app.get("/metrics")
    def show_metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


class _Server:
    """uvicorn on a listening socket, in a thread of ours: it installs no signal handlers there."""

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
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
        self._listener = listener

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


def _announce(host: str, port: int, page_url: str, slack: bool) -> None:
    where = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    logger.info("page on %s (people reach it at %s)", where, page_url)
    if not slack:
        logger.info("no Slack webhook is set: alerts are shown on the page only")


def _run(jobs: dict[str, Callable[[], None]], stop: threading.Event, end: Callable[[], object]) -> None:
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
        end()
        for thread in threads:
            thread.join(JOIN_SECONDS)
    for error in errors:
        with contextlib.suppress(SystemExit):  # uvicorn's way to say that it could not start
            raise error
    if not stop.is_set():
        raise ConfigError("the page's server ended by itself; its lines above say why")
