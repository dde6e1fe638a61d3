"""Delivery: from the outbox to Slack, in order, at Slack's pace."""

import logging
import threading
import time
from dataclasses import dataclass

from alerts.metrics import Metrics
from alerts.outbox import Outbox, OutboxError, Pending
from alerts.slack import LONGEST_WAIT, Slack, SlackRefused, SlackUnavailable
from bus.errors import SquallError

logger = logging.getLogger(__name__)

PACE = 1.0
"""Seconds between two messages: what Slack allows a webhook."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds between two attempts while Slack does not answer: doubling. A longer Retry-After is honoured."""

IDLE_SECONDS = 0.5
"""How often the stop is looked at while nothing waits."""

FORGET_SECONDS = 3_600.0


@dataclass
class Delivery:
    """Takes alerts out of the outbox and posts them; one at a time, the oldest first."""

    outbox: Outbox
    slack: Slack
    metrics: Metrics
    pace: float = PACE
    first_pause: float = FIRST_PAUSE
    _failures: int = 0
    _taken: int = 0
    """The alert that Slack took last: should writing that down fail, it is not posted again."""
    _forgot: float = 0.0

    def run(self, stop: threading.Event) -> None:
        """Deliver until ``stop`` is set. What waits then is delivered after the next start."""
        pause = 0.0
        while not stop.wait(pause):
            try:
                pause = self._step(stop)
            except OutboxError as error:
                pause = self._failed(error)

    def _step(self, stop: threading.Event) -> float:
        """Try the oldest alert; returns the seconds until the next step."""
        self.outbox.arrived.clear()
        pending = self.outbox.next()
        if pending is None:
            self._forget()
            self.outbox.arrived.wait(IDLE_SECONDS)
            return 0.0
        early = pending.not_before - time.time()
        if early > 0:  # Slack had asked to wait before a restart
            return min(early, LONGEST_WAIT)
        return self._send(pending)

    def _send(self, pending: Pending) -> float:
        try:
            if pending.number != self._taken:
                self.slack.send(pending.body)
        except SlackUnavailable as error:
            self.metrics.slack_failures.labels(error.reason).inc()
            pause = max(self._failed(error), error.retry_after or 0.0)
            self.outbox.failed(pending.number, str(error), time.time() + pause)
            return pause
        except SlackRefused as error:
            self.metrics.slack_failures.labels(error.reason).inc()
            logger.error("%s", error)
            self.outbox.bury(pending.number, str(error))
            return self.pace
        self._taken = pending.number
        self.outbox.delivered(pending.number)
        self.metrics.delivered.labels(pending.kind).inc()
        if self._failures:
            logger.info("Slack answers again after %d failed attempts", self._failures)
        self._failures = 0
        return self.pace

    def _failed(self, error: SquallError) -> float:
        """Count a failure, with a line for the first of a row; returns the seconds to wait."""
        if not self._failures:
            logger.error("%s; the alert is kept and tried again", error)
        self._failures += 1
        return min(self.first_pause * 2.0 ** min(self._failures - 1, 16), LONGEST_PAUSE)

    def _forget(self) -> None:
        if time.monotonic() - self._forgot > FORGET_SECONDS or not self._forgot:
            self._forgot = time.monotonic()
            self.outbox.forget()
