"""The pipeline row: whether the figures above can be trusted, and where articles are held up."""

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import BigValueTextMode
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards import queries
from dashboards.panels import Steps, heat, lines, number, ranking, strip

AGE: Steps = [(None, "green"), (900.0, "yellow"), (3600.0, "red")]
"""In seconds; 15 minutes is the default lateness bound."""

WAITING: Steps = [(None, "green"), (1.0, "yellow"), (10.0, "red")]


def panels() -> list[Builder[Panel]]:
    """The panels of the row, 24 columns a line."""
    return [*_state(), *_flow(), *_worker(), *_trouble(), *_crawl()]


def _state() -> list[Builder[Panel]]:
    return [
        number(
            "Model in use",
            "string",
            "Version and device of every model that scores now. Two versions for long: one could not load the new one.",
            queries.MODEL,
            legend="{{version}} on {{device}}",
        ).text_mode(BigValueTextMode.NAME),
        number(
            "Age of the newest event",
            "s",
            "Now minus the event time that trends has reached. A replay of old articles shows their age.",
            queries.EVENT_TIME_AGE,
            colors=AGE,
        ),
        number(
            "Alerts waiting for Slack",
            "short",
            "Messages in the outbox: accepted, not yet delivered.",
            queries.ALERTS_PENDING,
            colors=WAITING,
        ),
        number(
            "Alerts delivered",
            "short",
            "Messages that Slack took in the time range.",
            queries.ALERTS_DELIVERED,
            legend="{{state}}",
        ),
        strip(
            "Processes by role",
            "short",
            "Number of processes of each role that answer; a gap means that none did.",
            queries.PROCESSES,
            "{{role}}",
            width=24,
        ),
    ]


def _flow() -> list[Builder[Panel]]:
    return [
        lines(
            "Articles a second by stage",
            "cps",
            "Where one line falls below the line before it for long, that stage is behind.",
            queries.RATES,
        ),
        lines(
            "Consumer lag",
            "short",
            "Records that a group has not committed yet, by group and topic.",
            {"{{group}} of {{topic}}": queries.LAG},
        ),
        heat(
            "From fetched to scored",
            "s",
            "How long an article takes from the fetch to its score: crawl, log and batch together.",
            queries.FETCHED_TO_SCORED,
        ),
        heat(
            "From scored to trend",
            "s",
            "How long a score takes to reach its series' trend.",
            queries.SCORED_TO_TREND,
        ),
        lines(
            "End-to-end latency",
            "s",
            "The same two stages as quantiles.",
            {
                "to score, median": queries.quantile(0.5, "squall_end_to_end_seconds", 'stage="fetched_to_scored"'),
                "to score, 99 %": queries.quantile(0.99, "squall_end_to_end_seconds", 'stage="fetched_to_scored"'),
                "to trend, median": queries.quantile(0.5, "squall_end_to_end_seconds", 'stage="scored_to_trend"'),
                "to trend, 99 %": queries.quantile(0.99, "squall_end_to_end_seconds", 'stage="scored_to_trend"'),
            },
        ),
        lines(
            "Late articles",
            "short",
            "Articles that came after the lateness bound: counted in the totals, invisible to the detector.",
            {"late": queries.LATE_ARTICLES},
        ),
    ]


def _worker() -> list[Builder[Panel]]:
    return [
        lines(
            "Articles in a batch",
            "short",
            "Batches at the limit (worker_batch) mean that the worker is the bottleneck.",
            {
                "median": queries.quantile(0.5, "squall_batch_articles"),
                "95 %": queries.quantile(0.95, "squall_batch_articles"),
            },
        ),
        lines(
            "Tokens in a batch",
            "short",
            "What the model's time depends on.",
            {
                "median": queries.quantile(0.5, "squall_batch_tokens"),
                "95 %": queries.quantile(0.95, "squall_batch_tokens"),
            },
        ),
        lines(
            "Time for a batch",
            "s",
            "Mean time from the poll to the commit.",
            {"mean": queries.BATCH_SECONDS},
        ),
        lines(
            "Busy share of each worker",
            "percentunit",
            "Time spent on batches; near 100 % on every worker: add one.",
            {"{{instance}}": queries.WORKER_BUSY},
        ),
    ]


def _trouble() -> list[Builder[Panel]]:
    return [
        lines("Outcomes", "cps", "Scored articles a second by outcome.", {"{{outcome}}": queries.OUTCOMES}),
        lines(
            "Dead letters",
            "short",
            "Messages that a stage could not use; 'squall dead list' shows them.",
            {"{{stage}}": queries.DEAD_LETTERS},
        ),
        lines(
            "Fenced transactions",
            "short",
            "Transactions refused because another process had taken the partitions over: a rebalance, and no loss.",
            {"{{group}}": queries.FENCED},
            width=8,
        ),
        lines(
            "Log or store away",
            "short",
            "Batches repeated because the log, or the store that a role writes to (archive, outbox), did not answer.",
            {"{{group}}: {{reason}}": queries.RETRIES, "ingest: log": queries.INGEST_WAITS},
            width=8,
        ),
        lines(
            "Slack failures",
            "short",
            "Attempts that Slack did not take, by reason, and messages that it has refused for good.",
            {"{{reason}}": queries.SLACK_FAILURES, "refused for good": queries.ALERTS_LOST},
            width=8,
        ),
    ]


def _crawl() -> list[Builder[Panel]]:
    return [
        lines("Crawl results", "short", "Fetches of sources by result.", {"{{result}}": queries.CRAWL_RESULTS}),
        lines(
            "Refused by ingest",
            "short",
            "What the crawler and the push endpoint did not take, by reason.",
            {"{{reason}}": queries.REFUSED},
        ),
        ranking(
            "Sources",
            "short",
            "Time since the last good fetch, and articles and failed fetches of the time range.",
            {
                "since last success": queries.CRAWL_AGE,
                "articles": queries.CRAWLED,
                "failures": queries.CRAWL_FAILURES,
            },
            units={"since last success": "s"},
            width=24,
        ),
    ]
