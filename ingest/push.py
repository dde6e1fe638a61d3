"""The HTTP door: licensed feeds and one's own systems push articles, with a bearer token."""

import hmac
import json
import logging
import socket
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from bus.errors import LogError
from bus.messages import utcnow
from ingest.articles import Made, make_article
from ingest.fields import read_json, read_record
from ingest.metrics import PUSH
from ingest.publisher import Publisher
from ingest.refusals import Refused

MAX_REQUEST = 10 * 1024 * 1024
"""Bytes of one request; more articles go into several."""

RETRY_AFTER = 10
"""Seconds after which a client may come again when the log takes nothing."""

GRACE_SECONDS = 2
"""Seconds that open requests get to finish when the server stops."""

MAX_RECORDS = 10_000
"""Records of one request."""

_log = logging.getLogger(__name__)


def push_app(publisher: Publisher, tokens: Sequence[str]) -> FastAPI:
    """The application: ``POST /articles`` and ``GET /healthz``.

    Args:
        publisher: publishes, and writes what is refused into news.dead.
        tokens: the bearer tokens that may push; at least one.
    """
    if not tokens or not all(tokens):
        raise ValueError("the push endpoint needs at least one token")
    accepted = [token.encode() for token in tokens]
    app = FastAPI(title="Squall push", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/articles")
    async def articles(request: Request) -> Response:
        if refusal := _unauthorised(request, accepted):
            return refusal
        if request.headers.get("content-encoding", "identity") != "identity":
            return _problem(415, "send the body without Content-Encoding")
        body = await _body(request)
        if body is None:
            return _problem(413, f"at most {MAX_REQUEST} bytes in one request")
        try:
            records = _records(body, request.headers.get("content-type", ""))
        except (ValueError, RecursionError) as error:
            return _problem(400, f"expected a JSON object, an array or NDJSON: {error}")
        if len(records) > MAX_RECORDS:
            return _problem(413, f"{len(records)} articles; at most {MAX_RECORDS} in one request")
        origin = f"push from {request.client.host if request.client else 'unknown'}"
        try:
            results = await run_in_threadpool(_take, publisher, records, origin)
        except LogError as error:
            _log.warning("push: the log takes nothing: %s", error)
            return _problem(503, "the log takes nothing at the moment; push the same articles again", RETRY_AFTER)
        return JSONResponse({"results": results}, 202)

    return app


def _unauthorised(request: Request, tokens: Sequence[bytes]) -> Response | None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        return _problem(401, "expected 'Authorization: Bearer TOKEN'", headers={"WWW-Authenticate": "Bearer"})
    # All of them, each in constant time: how long the answer takes must not tell how much of a token was right.
    matches = [hmac.compare_digest(given.strip().encode(), token) for token in tokens]
    return None if any(matches) else _problem(403, "the token is not one of this installation's")


async def _body(request: Request) -> bytes | None:
    """The body; None when it is too long, known from its header where it has one."""
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > MAX_REQUEST:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST:
            return None
    return bytes(body)


def _records(body: bytes, content_type: str) -> list[bytes]:
    """The JSON of each record: lines where the type says so, else the elements of an array, else the one object."""
    kind = content_type.partition(";")[0].strip().lower()
    if "ndjson" in kind or "jsonl" in kind or "json-lines" in kind:
        return [line for line in body.splitlines() if line.strip()]
    if body.lstrip()[:1] == b"[":
        try:
            return [bytes(raw) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])]
        except msgspec.DecodeError:  # half an emoji in one record must not cost the others
            return [json.dumps(each).encode() for each in read_json(body, list[Any])]
    read_json(body, Any)  # that it is one JSON value
    return [body]


def _take(publisher: Publisher, records: Sequence[bytes], origin: str) -> list[dict[str, Any]]:
    """Publish the records; for each what became of it, in order. Raises LogError."""
    now = utcnow()
    made: list[Made] = []
    dead = []
    results: list[dict[str, Any]] = []
    for index, value in enumerate(records):
        try:
            item = read_record(value)
            made.append(make_article(item.raw, source=item.source, fetched_at=now))
            results.append({"index": index, "id": made[-1].article.id})
        except Refused as error:
            dead.append(publisher.refuse(error, value, f"{origin}, item {index}", now))
            results.append({"index": index, "status": "refused", "reason": str(error)})
    accepted = publisher.publish(made, PUSH, wait=False).accepted
    publisher.bury(dead, wait=False)
    for result, new in zip((each for each in results if "id" in each), accepted, strict=True):
        result["status"] = "accepted" if new else "duplicate"
    return results


def _problem(status: int, text: str, retry_after: int = 0, headers: dict[str, str] | None = None) -> Response:
    headers = dict(headers or {})
    if retry_after:
        headers["Retry-After"] = str(retry_after)
    return JSONResponse({"error": text}, status, headers)


class PushServer:
    """The application on a port, served from a thread of its own.

    Args:
        app: the application.
        host: address to listen on.
        port: 0 takes a free one; :attr:`port` says which.

    Raises:
        OSError: the port cannot be had.
    """

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=64)
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE_SECONDS)
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="push", daemon=True)
        _log.info("push endpoint on http://%s:%s/articles", host, self.port)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End the server; open requests get a moment to finish."""
        self._server.should_exit = True
        self._thread.join(GRACE_SECONDS + 1)
        self._socket.close()
