"""Posting to a Slack incoming webhook, and what its answers mean."""

import logging
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from slack_sdk.http_retry.builtin_handlers import ConnectionErrorRetryHandler, ServerErrorRetryHandler
from slack_sdk.webhook import WebhookClient, WebhookResponse

from alerts.message import Body
from bus.errors import ConfigError, SquallError
from bus.messages import utcnow

TIMEOUT = 10
"""Seconds for Slack to answer; it takes well under one."""

MOST_READ = 1_000
"""Bytes of an answer that are read: Slack's are a word."""

LONGEST_WAIT = 3_600.0
"""Seconds of a Retry-After that are believed."""

# The SDK's own lines would show the webhook's URL, which is a secret.
_silent = logging.getLogger("alerts.slack.sdk")
_silent.setLevel(logging.CRITICAL + 1)


class SlackUnavailable(SquallError):
    """Raised when Slack did not take a message now, but may take the same one later."""

    def __init__(self, reason: str, text: str, retry_after: float | None = None) -> None:
        super().__init__(f"Slack: {text}")
        self.reason = reason
        """``rate_limited``, ``server_error`` or ``unreachable``."""
        self.retry_after = retry_after
        """Seconds that Slack asks to wait."""


class SlackRefused(SquallError):
    """Raised when Slack will never take this message."""

    reason = "refused"


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """None: the redirect itself is the answer. Followed, the POST would become a GET without the message."""


class _Webhook(WebhookClient):
    """The SDK's client with its retries, on an opener that follows no redirect; the SDK has no setting for that."""

    def _perform_http_request_internal(self, url: str, req: Request) -> WebhookResponse:
        with build_opener(_NoRedirects).open(req, timeout=self.timeout) as answer:
            text = answer.read(MOST_READ).decode(errors="replace")
            return WebhookResponse(url=url, status_code=answer.status, body=text, headers=dict(answer.headers))


class Slack:
    """An incoming webhook. The SDK tries a lost connection and an answer of 500 or 503 once more by itself.

    Args:
        url: the webhook; it is a secret, and no error shows it.

    Raises:
        ConfigError: it is not an http(s) URL.
    """

    def __init__(self, url: str, timeout: int = TIMEOUT) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ConfigError(
                "slack_webhook_url: expected https://hooks.slack.com/services/..., got something else (hidden)"
            )
        # The SDK's handler for 429 would sleep right here, deaf to a stop; the outbox waits instead, and remembers it.
        handlers = [ConnectionErrorRetryHandler(), ServerErrorRetryHandler()]
        self._client = _Webhook(url, timeout=timeout, logger=_silent, retry_handlers=handlers)

    def __repr__(self) -> str:
        return "Slack(webhook hidden)"

    def send(self, body: Body) -> None:
        """Post one message.

        Raises:
            SlackUnavailable: it may work later: no answer, 408, 429 or 5xx, or somebody else's answer: a redirect, or a
                2xx that is not Slack's ``ok``.
            SlackRefused: any other answer; it says what to do.
        """
        try:
            answer = self._client.send_dict(body)
        except OSError as error:  # URLError, time-outs, resets
            raise SlackUnavailable("unreachable", f"no answer ({_cause(error)})") from None
        except Exception as error:  # http.client's errors about broken answers; their text may hold the URL
            raise SlackUnavailable("unreachable", f"broken answer ({type(error).__name__})") from None
        status, text = answer.status_code, " ".join(answer.body.split())[:100]
        if status == 200 and text == "ok":
            return
        if status < 400:
            raise SlackUnavailable("unreachable", f"answered {_stranger(status, answer.headers)}")
        if status == 429:
            wait = _retry_after(answer.headers.get("Retry-After"))
            raise SlackUnavailable("rate_limited", "429, too many messages", wait)
        if status == 408 or status >= 500:
            raise SlackUnavailable("server_error", f"answered {status} {text}")
        raise SlackRefused(f"Slack refused a message for good: {status} {text}; {_advice(status)}")


def _cause(error: OSError) -> str:
    reason = getattr(error, "reason", error)
    return f"{type(reason).__name__}: {reason}" if isinstance(reason, OSError) else type(error).__name__


def _stranger(status: int, headers: Mapping[str, str]) -> str:
    """What somebody between here and Slack answered. Of its text nothing is shown: it may quote the webhook."""
    place = next((value for name, value in headers.items() if name.lower() == "location"), "")
    try:
        said = f"{status}, a redirect to {urlsplit(place).hostname or 'a path of its own'}" if place else f"{status}"
    except ValueError:
        said = f"{status}, a redirect"
    return (
        f"{said} and not the ok of an incoming webhook: a proxy or a login page stands before it;"
        " let this machine reach hooks.slack.com, or correct SQUALL_SLACK_WEBHOOK_URL"
    )


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header: a number or a date (RFC 9110, section 10.2.3)."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - utcnow()).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else None


def _advice(status: int) -> str:
    if status in (403, 404, 410):
        return "was the webhook revoked or its channel archived? Set a new one as SQUALL_SLACK_WEBHOOK_URL"
    return "the message is kept as dead in the outbox; please report it"
