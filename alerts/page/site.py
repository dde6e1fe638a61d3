"""How the page is rendered and protected: templates, headers, entity tags, errors in words."""

import hashlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alerts import text
from alerts.links import is_web, series_path, spike_path, stamp
from alerts.page.hosts import Hosts
from alerts.page.period import RANGES, RequestError, moment_of
from alerts.stories import summary
from bus.errors import ArchiveError
from bus.messages import OUTCOMES, SENTIMENTS

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"

COMPLAIN_SECONDS = 60.0
"""How often an archive that is away is a line in the log; browsers look every few seconds."""

SECURITY = {
    # Nothing from elsewhere, nothing inline: a title that got through unescaped could still not run.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: that would empty the Origin of the page's own forms, too.
    "Referrer-Policy": "same-origin",
}

STRANGER = (
    "The page does not answer to the name {!r}. Set page_url to the address that people use, and let a proxy in between"
    " pass Host on (docs/alerts.md).\n"
)

MAX_BODY = 4_000_000
"""Bytes of a request; Alertmanager's largest groups take some hundred thousand."""


class Secured:
    """Adds the security headers to every answer, lets browsers keep what is static, and refuses requests that are
    over-long or under a name that is not the page's."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY)
                static = scope["path"].startswith("/static/")
                # The address of a static file holds its version.
                headers["Cache-Control"] = "public, max-age=86400" if static else "no-cache"
            await send(message)

        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY:
                raise HTTPException(413, f"A request has at most {MAX_BODY} bytes.")
            return message

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "")
        stranger = None if self._hosts.answer(scope["path"], host) else PlainTextResponse(STRANGER.format(host), 403)
        await (stranger or self._app)(scope, limited, secured)


def _printed(value: Any) -> Any:
    """What a template prints of a value: text without control characters; what is markup already stays as it is."""
    return text.harmless(value) if type(value) is str else value


class Site:
    """Renders templates with what all of them need."""

    def __init__(self, grafana: str = "") -> None:
        files = sorted(STATIC.iterdir())
        version = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:10]
        self._environment = Environment(
            loader=PackageLoader("alerts.page"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_printed,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "version": version,
            "grafana": grafana,
            "ranges": RANGES,
            "outcomes": OUTCOMES,
            "sentiments": SENTIMENTS,
            "series_path": series_path,
            "spike_path": spike_path,
            "is_web": is_web,
        }
        self._environment.filters |= {
            "subject": text.subject,
            "kind": text.kind,
            "moment": text.moment,
            "clock": text.clock,
            "span": text.span,
            "figure": text.number,
            "stamp": stamp,
            "moment_of": moment_of,
            "summary": summary,
        }

    def render(self, request: Request, template: str, values: Mapping[str, Any], status: int = 200) -> Response:
        """An answer with an entity tag: a browser that looks again gets a short 304 when nothing has changed."""
        path = quote(request.scope["path"], safe="/:@")  # the URL's own path leaves ? and # in it encoded
        place = {
            "path": path,
            "back": f"{path}?{request.url.query}" if request.url.query else path,
            "q": request.query_params.get("q", ""),
        }
        body = self._environment.get_template(template).render(values, **place, status=status).encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
        if status == 200 and request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return HTMLResponse(body, status, headers={"ETag": tag} if status == 200 else None)


def protect(app: FastAPI, site: Site, hosts: Hosts) -> None:
    """Add static files, security headers and pages for errors to an application that answers under some names."""
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Secured, hosts=hosts)
    complained = float("-inf")

    def refused(request: Request, error: Exception) -> Response:
        return site.render(request, "error.html", {"title": "That cannot be shown", "said": str(error)}, 400)

    def missing(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        said = error.detail if isinstance(error, HTTPException) else ""
        return site.render(
            request, "error.html", {"title": "Not found" if status == 404 else said, "said": said}, status
        )

    def unreachable(request: Request, error: Exception) -> Response:
        nonlocal complained
        if time.monotonic() - complained > COMPLAIN_SECONDS:
            complained = time.monotonic()
            logger.error("%s; the page waits for it", error)
        said = "The archive does not answer at the moment. This page shows it again as soon as it does."
        return site.render(request, "error.html", {"title": "The archive is away", "said": said}, 503)

    def malformed(request: Request, error: Exception) -> Response:
        first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": ("request",), "msg": ""}
        return refused(request, RequestError(f"{first['loc'][-1]}: {first['msg']}"))

    app.add_exception_handler(RequestError, refused)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, missing)
    app.add_exception_handler(ArchiveError, unreachable)
