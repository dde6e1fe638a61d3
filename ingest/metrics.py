"""What ingest tells Prometheus. Labels come from closed sets: the sources of sources.yml, the doors, the reasons."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge

from ingest.refusals import REASONS

DATE_PROBLEMS = ("missing", "unparseable", "future")

RESULTS = ("ok", "unchanged", "refused", "robots", "http_error", "timeout", "unreachable", "error")
"""What became of one look at a source; ``unchanged`` is a 304."""

PUSH = "(push)"
"""Label ``source`` of articles that were pushed: whoever pushes chooses their names, so those are no bounded set."""

REPLAY = "(replay)"


class IngestMetrics:
    """The metrics of one ingest process, in a registry that the caller serves."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.articles = Counter(
            "squall_ingest_articles", "Articles published, by source.", ["source"], registry=registry
        )
        self.duplicates = Counter(
            "squall_ingest_duplicates", "Articles not published since they were before.", ["source"], registry=registry
        )
        self.refused = Counter(
            "squall_ingest_refused", "Responses, items and records turned away.", ["reason"], registry=registry
        )
        self.dates = Counter(
            "squall_ingest_dates",
            "Articles dated by their fetch time, by what was wrong.",
            ["problem"],
            registry=registry,
        )
        self.waits = Counter(
            "squall_ingest_log_waits", "Times that publishing waited for a full or unreachable log.", registry=registry
        )
        self.spooled = Gauge(
            "squall_ingest_spooled_bytes", "Bytes that wait on disk for the log to take them.", registry=registry
        )
        self.results = Counter(
            "squall_crawl_results",
            "Looks at a source, by what became of them.",
            ["source", "result"],
            registry=registry,
        )
        self.staleness = Gauge(
            "squall_crawl_staleness_seconds",
            "Seconds since a source was last read; since the start before the first time.",
            ["source"],
            registry=registry,
        )
        for reason in REASONS:
            self.refused.labels(reason)
        for problem in DATE_PROBLEMS:
            self.dates.labels(problem)

    def watch(self, source: str) -> None:
        """Begin to report a crawled source."""
        self.articles.labels(source)
        self.duplicates.labels(source)
        self.read_now(source)

    def read_now(self, source: str) -> None:
        """Note that a source was read: its staleness starts over."""
        read_at = time.monotonic()
        self.staleness.labels(source).set_function(lambda: time.monotonic() - read_at)
