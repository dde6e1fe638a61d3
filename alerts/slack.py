"""Posting to a Slack incoming webhook, and what its answers mean."""

import logging
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from slack_sdk.http_retry.builtin_handlers import ConnectionErrorRetryHandler, ServerErrorRetryHandler
from slack_sdk.webhook import WebhookClient

from alerts.message import Body
from bus.errors import ConfigError, SquallError
from bus.messages import utcnow

TIMEOUT = 10
"""Seconds for Slack to answer; it takes well under one."""

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
        self._client = WebhookClient(url, timeout=timeout, logger=_silent, retry_handlers=handlers)

    def __repr__(self) -> str:
        return "Slack(webhook hidden)"

    def send(self, body: Body) -> None:
        """Post one message.

        Raises:
            SlackUnavailable: it may work later: no answer, 408, 429 or 5xx.
            SlackRefused: any other answer; it says what to do.
        """
        try:
            answer = self._client.send_dict(body)
        except OSError as error:  # URLError, time-outs, resets
            raise SlackUnavailable("unreachable", f"no answer ({_cause(error)})") from None
        except Exception as error:  # http.client's errors about broken answers; their text may hold the URL
            raise SlackUnavailable("unreachable", f"broken answer ({type(error).__name__})") from None
        status, text = answer.status_code, " ".join(answer.body.split())[:100]
        if 200 <= status < 300:
            return
        if status == 429:
            wait = _retry_after(answer.headers.get("Retry-After"))
            raise SlackUnavailable("rate_limited", "429, too many messages", wait)
        if status == 408 or status >= 500:
            raise SlackUnavailable("server_error", f"answered {status} {text}")
        raise SlackRefused(f"Slack refused a message for good: {status} {text}; {_advice(status)}")


def _cause(error: OSError) -> str:
    reason = getattr(error, "reason", error)
    return f"{type(reason).__name__}: {reason}" if isinstance(reason, OSError) else type(error).__name__


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
