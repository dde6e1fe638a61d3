"""The gateway: spikes of the log and alerts of Alertmanager become messages in the outbox."""

import hashlib
import json
import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field, structs

from alerts.archive.store import Store
from alerts.evidence import PATIENCE, Evidence, gather, wait_for_spike
from alerts.links import Links
from alerts.message import Notice, notice_message, spike_message
from alerts.metrics import Metrics
from alerts.outbox import Letter, Outbox
from alerts.stories import Story, group
from alerts.text import plain
from bus.errors import ArchiveError, SquallError
from bus.messages import SpikeEvent

logger = logging.getLogger(__name__)

GROWTH = 2.0
"""An update of a spike is told when its peak has grown by this factor since the last message about it."""

RECENT = timedelta(hours=1)
"""How far back the stories go that stand beside a surge by count."""


class PayloadError(SquallError):
    """Raised when a request is not a payload of Alertmanager's webhook, version 4."""


class Alert(Struct, rename="camel"):
    """One alert of the payload."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    starts_at: Annotated[datetime, Meta(tz=True)]
    fingerprint: str
    annotations: dict[str, str] = field(default_factory=dict)


class Payload(Struct, rename="camel"):
    """Alertmanager's webhook payload (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config)."""

    version: Literal["4"]
    group_key: str
    status: Literal["firing", "resolved"]
    alerts: list[Alert]


def read_payload(body: bytes) -> Payload:
    """The payload in a request. Raises PayloadError."""
    try:
        payload = msgspec.json.decode(body, type=Payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayloadError(f"not a webhook payload of Alertmanager, version 4: {error}") from error
    for number, alert in enumerate(payload.alerts):
        if not 1970 <= alert.starts_at.year < 9999:  # the hour before it, and its UTC time, must be times too
            raise PayloadError(f"alerts[{number}].startsAt: expected a time since 1970, got {alert.starts_at}")
    return payload


class Gateway:
    """Makes messages and puts them in the outbox; without an outbox (no Slack) it logs what would be told.

    Raises:
        OutboxError: from the methods; nothing was accepted, and the caller must not acknowledge.
    """

    def __init__(
        self,
        store: Store,
        outbox: Outbox | None,
        links: Links,
        metrics: Metrics,
        *,
        patience: float = PATIENCE,
        stop: threading.Event | None = None,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._links = links
        self._metrics = metrics
        self._patience = patience
        self._stop = stop or threading.Event()

    def spike(self, event: SpikeEvent, patience: float | None = None) -> None:
        """Accept an event of a spike: opened, closed, and updated when its peak has doubled.

        A spike whose opening was not told, for want of Slack, is not told of later either.
        """
        if self._outbox is None:
            logger.info("spike %s: %s; %s (no Slack is set)", event.state, event.series, event.reason)
            return
        key = f"spike/{event.id}/{event.state}" + (f"/{event.at.isoformat()}" if event.state == "updated" else "")
        if self._outbox.holds(key):
            self._metrics.duplicates.inc()
            return
        told = self._outbox.largest(event.id)
        size = max(event.peak_observed, event.observed)
        if event.state != "opened" and told is None:
            return
        if event.state == "updated" and size < GROWTH * (told or 0.0):
            return
        evidence = self._gather(event, self._patience if patience is None else patience)
        self._accept([Letter(key, event.state, spike_message(evidence), subject=event.id, size=size)])

    def alertmanager(self, payload: Payload) -> None:
        """Accept a payload: a message for each spike of the detector, one for all other alerts of a status."""
        letters = []
        for status in ("firing", "resolved"):
            rest = []
            for alert in payload.alerts:
                if alert.status != status:
                    continue
                if _is_spike(alert):
                    letters += self._spike_letter(alert)
                else:
                    rest.append(alert)
            if rest:
                letters += self._notice_letter(payload.group_key, status, rest)
        self._accept(letters)

    def _spike_letter(self, alert: Alert) -> list[Letter]:
        """The message about a spike that Alertmanager reports, with the archive's evidence."""
        key = _key("spike", alert.status, alert.fingerprint, alert.starts_at.isoformat())
        if self._repeated(key):
            return []
        series, firing = alert.labels["series"], alert.status == "firing"
        spike = wait_for_spike(self._store, series, firing, patience=self._patience, stop=self._stop)
        if spike is None:
            notice = self._notice(alert)
            return [Letter(key, alert.status, notice_message([notice], firing=firing))]
        state = "opened" if firing else "closed"
        evidence = self._gather(structs.replace(spike, state=state), self._patience)
        return [Letter(key, alert.status, spike_message(evidence), subject=spike.id, size=spike.peak_observed)]

    def _gather(self, event: SpikeEvent, patience: float) -> Evidence:
        return gather(self._store, event, self._links, patience=patience, stop=self._stop)

    def _notice_letter(self, group_key: str, status: str, alerts: Sequence[Alert]) -> list[Letter]:
        parts = sorted(f"{alert.fingerprint} {alert.starts_at.isoformat()}" for alert in alerts)
        key = _key(group_key, status, *parts)
        if self._repeated(key):
            return []
        notices = [self._notice(alert) for alert in alerts]
        return [Letter(key, status, notice_message(notices, firing=status == "firing"))]

    def _repeated(self, key: str) -> bool:
        if self._outbox is None or not self._outbox.holds(key):
            return False
        self._metrics.duplicates.inc()
        return True

    def _notice(self, alert: Alert) -> Notice:
        notes, series = alert.annotations, alert.labels.get("series", "")
        name = alert.labels.get("alertname", "alert")
        links = (
            (self._own(name, self._links.page, notes.get("page", "")), "Stories and chart"),
            (self._own(name, self._links.grafana, notes.get("dashboard", "")), "Grafana"),
        )
        return Notice(
            summary=notes.get("summary") or name,
            description=notes.get("description", ""),
            runbook=notes.get("runbook", ""),
            links=tuple(link for link in links if link[0]),
            stories=tuple(self._stories(series, alert.starts_at)) if series and alert.status == "firing" else (),
        )

    def _own(self, alert: str, base: str, link: str) -> str:
        """A link of an alert, made absolute; empty when it leads anywhere but to the page or to Grafana."""
        if link.startswith("/"):
            return base.rstrip("/") + link if base else ""
        # The slash after the base keeps out a longer name (https://desk.example.evil) and a user (https://desk@evil).
        bases = [f"{own.rstrip('/')}/" for own in (self._links.page, self._links.grafana) if own]
        if not link or link.startswith(tuple(bases)):
            return link
        said = "alert %s: its link %r is left out: it leads neither to page_url nor to grafana_url; correct the rule"
        logger.warning(said, alert, link[:200])
        return ""

    def _stories(self, series: str, start: datetime) -> list[Story]:
        """What was told of a series in the hour before an alert; nothing when the archive is away."""
        until = max(start, datetime.now(UTC))
        try:
            return group(self._store.read.stories(series, start - RECENT, until, "negative"))
        except ArchiveError as error:
            logger.error("an alert about %s is told without its stories: %s", series, error)
            return []

    def _accept(self, letters: Sequence[Letter]) -> None:
        if self._outbox is None:
            for letter in letters:
                logger.info("alert: %s (no Slack is set)", plain(letter.body["text"]))
            return
        new = self._outbox.accept(letters) if letters else 0
        self._metrics.duplicates.inc(len(letters) - new)


def _is_spike(alert: Alert) -> bool:
    """Whether the detector's gauge fired; a surge by count is not one of the archive's spikes."""
    return bool(alert.labels.get("series")) and alert.labels.get("evidence", "detector") == "detector"


def _key(*parts: str) -> str:
    return "alertmanager/" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
