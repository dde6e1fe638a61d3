"""Alertmanager's webhook: who may call it, and what is answered."""

import asyncio
import logging

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from alerts.gateway import Gateway, PayloadError, read_payload
from alerts.metrics import Metrics
from alerts.outbox import OutboxError

logger = logging.getLogger(__name__)


def webhook(gateway: Gateway, metrics: Metrics) -> APIRouter:
    """POST /alertmanager.

    Answers 200 when the outbox holds every message, 503 when it cannot be written, so that Alertmanager tries again,
    and 4xx with one line for what Alertmanager would not have sent.
    """
    router = APIRouter()

    @router.post("/alertmanager")
    async def alertmanager(request: Request) -> Response:
        try:
            check_caller(request.headers)
            payload = read_payload(await request.body())
            await asyncio.to_thread(gateway.alertmanager, payload)
        except HTTPException as error:
            return _refuse(error.status_code, error.detail)
        except PayloadError as error:
            return _refuse(400, str(error))
        except OutboxError as error:
            logger.error("%s; Alertmanager is asked to try again", error)
            return JSONResponse({"error": "the outbox cannot be written"}, 503)
        return JSONResponse({"status": "accepted"})

    def _refuse(status: int, said: str) -> Response:
        metrics.refused.inc()
        logger.error("POST /alertmanager: %s", said)
        return JSONResponse({"error": said}, status)

    return router


def check_caller(headers: Headers) -> None:
    """Refuse what a browser may have sent: a page of anybody's could post to this machine, and from here to Slack.

    Browsers add Origin to every POST, and to most Sec-Fetch-Site; no other site's form or script can send JSON unasked.

    Raises:
        HTTPException: 403 for a browser, 415 for a body that is not declared as JSON.
    """
    for name in ("Origin", "Sec-Fetch-Site"):
        if name in headers:
            said = f"{name} is {headers[name][:100]!r}, so a browser sent this; only Alertmanager may send alerts"
            raise HTTPException(403, said)
    kind = headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, f"Content-Type: expected application/json as Alertmanager has it, got {kind[:100]!r}")
