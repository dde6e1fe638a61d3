"""What the alerts role tells Prometheus."""

import math
from collections.abc import Iterable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alerts.archive.store import Store
from alerts.outbox import Outbox, OutboxError
from bus.errors import ArchiveError

KINDS = ("opened", "updated", "closed", "firing", "resolved")
"""What a delivered message was about: a spike's state, or an alert's of Alertmanager."""

FAILURES = ("unreachable", "rate_limited", "server_error", "refused")


class Metrics:
    """The counters and gauges of gateway, outbox and page; all labels are bounded."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.duplicates = Counter(
            "squall_alerts_duplicates_total", "Alerts that came again and were recognised.", registry=registry
        )
        self.delivered = Counter(
            "squall_alerts_delivered_total", "Alerts that Slack has taken.", ["state"], registry=registry
        )
        self.pending = Gauge("squall_alerts_pending", "Alerts that wait for Slack.", registry=registry)
        self.dead = Gauge("squall_alerts_dead", "Alerts that Slack refused for good.", registry=registry)
        self.slack_failures = Counter(
            "squall_slack_failures_total", "Attempts to post that failed.", ["reason"], registry=registry
        )
        self.refused = Counter(
            "squall_gateway_refused_total", "Webhook calls that were not Alertmanager's.", registry=registry
        )
        self.labels = Counter("squall_labels_total", "Corrections by readers.", ["head"], registry=registry)
        for kind in KINDS:
            self.delivered.labels(kind)
        for reason in FAILURES:
            self.slack_failures.labels(reason)

    def watch(self, outbox: Outbox) -> None:
        """Count what waits in the outbox whenever Prometheus asks."""
        for gauge, state in ((self.pending, "pending"), (self.dead, "dead")):
            gauge.set_function(partial(_count, outbox, state))


def _count(outbox: Outbox, state: str) -> float:
    try:
        return outbox.count(state)
    except OutboxError:
        return math.nan


class ArchiveTotals(Collector):
    """The archive's own totals, read when Prometheus asks; absent while the archive is."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("squall_archive_stored_articles", "Articles in the archive.", labels=["outcome"])
        try:
            totals = self._store.read.totals()
        except ArchiveError:
            return
        for outcome, count in totals.items():
            family.add_metric([outcome], count)
        yield family
