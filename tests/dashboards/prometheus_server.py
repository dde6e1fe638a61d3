"""A real Prometheus whose past three hours are filled with every metric that Squall's roles serve."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import httpx

from tests.services.monitoring import STORAGE, program, running

STEP = 60
"""Seconds between samples."""

SAMPLES = 181

COUNTERS: dict[str, dict[str, list[str]]] = {
    "squall_articles": {
        "topic": ["banking", "energy"],
        "sentiment": ["negative", "neutral", "positive", "irrelevant"],
        "source": ["wire", "gazette"],
    },
    "squall_spikes": {"kind": ["topic", "entity"], "state": ["opened", "closed"]},
    "squall_late_articles": {},
    "squall_scored": {"outcome": ["negative", "neutral", "positive", "irrelevant", "unscored"]},
    "squall_dead_letters": {"stage": ["worker"]},
    "squall_fenced": {"group": ["worker"]},
    "squall_crawl_results": {"source": ["wire", "gazette"], "result": ["ok", "error"]},
    "squall_ingest_articles": {"source": ["wire", "gazette"]},
    "squall_ingest_refused": {"reason": ["too_long"]},
    "squall_alerts_delivered": {"state": ["opened"]},
    "squall_slack_failures": {"reason": ["429"]},
    "squall_archive_articles": {"outcome": ["negative"]},
    "squall_retries": {"group": ["worker"], "reason": ["log", "store"]},
    "squall_ingest_log_waits": {},
}
"""Labels and some of their values; each grows by one a minute."""

SERIES = {"series": ["all", "topic:banking", "entity:Acme"], "horizon": ["1h", "6h"]}

GAUGES: dict[str, tuple[dict[str, list[str]], float]] = {
    "squall_negative_share": ({"series": ["all", "topic:banking", "entity:Acme"]}, 0.4),
    "squall_negative_observed": (SERIES, 9.0),
    "squall_negative_expected": (SERIES, 2.0),
    "squall_negative_surprise": (SERIES, 4.0),
    "squall_spike_active": ({"series": ["all", "topic:banking"], "horizon": ["1h"]}, 1.0),
    "squall_consumer_lag": ({"group": ["worker"], "topic": ["news.articles"], "partition": ["0", "1"]}, 3.0),
    "squall_role_up": ({"role": ["ingest", "worker", "trends", "archive", "alerts"]}, 1.0),
    "squall_model_info": ({"version": ["2026-11-01"], "device": ["cpu"]}, 1.0),
    "squall_alerts_pending": ({}, 0.0),
    "squall_alerts_dead": ({}, 0.0),
    "squall_crawl_staleness_seconds": ({"source": ["wire", "gazette"]}, 40.0),
}
"""Labels and the value they keep; the gauges of a time hold the sample's own."""

TIMES: dict[str, dict[str, list[str]]] = {
    "squall_trends_event_time_seconds": {},
}

HISTOGRAMS: dict[str, tuple[dict[str, list[str]], list[float]]] = {
    "squall_batch_articles": ({}, [1, 16, 256]),
    "squall_batch_tokens": ({}, [64, 1024, 16384]),
    "squall_batch_seconds": ({}, [0.01, 0.1, 1]),
    "squall_end_to_end_seconds": ({"stage": ["fetched_to_scored", "scored_to_trend"]}, [0.1, 1, 10]),
}


class Prometheus:
    """The HTTP API of a running Prometheus."""

    def __init__(self, address: str) -> None:
        self.address = address

    def instant(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query; AssertionError carries Prometheus' message."""
        return self._ask("query", {"query": expression})

    def over_time(self, expression: str, seconds: int = 3600) -> list[dict[str, Any]]:
        """The result of a range query up to now."""
        now = time.time()
        times = {"start": str(now - seconds), "end": str(now), "step": str(STEP)}
        return self._ask("query_range", {"query": expression, **times})

    def _ask(self, kind: str, data: dict[str, str]) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.address}/api/v1/{kind}", data=data, timeout=20).json()
        assert answer["status"] == "success", f"{data['query']}: {answer.get('error')}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result


@contextmanager
def serving(folder: Path) -> Iterator[Prometheus]:
    """Fill and run a Prometheus on a free loopback port, with its data in ``folder``."""
    command = [program("prometheus"), *STORAGE]
    (folder / "metrics.txt").write_text(open_metrics())
    fill = [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", "metrics.txt", "data"]
    subprocess.run(fill, cwd=folder, check=True, capture_output=True)
    with running(folder, "prometheus", "global: {scrape_interval: 1m}\n", command, 20) as address:
        yield Prometheus(address)


def open_metrics() -> str:
    """Every metric as OpenMetrics text, one sample a minute for three hours up to now."""
    start = int(time.time()) - STEP * (SAMPLES - 1)
    lines: list[str] = []
    for name, labels in COUNTERS.items():
        lines.append(f"# TYPE {name} counter")
        lines += _samples(f"{name}_total", labels, start, lambda n, _: n)
    for name, (labels, value) in GAUGES.items():
        lines.append(f"# TYPE {name} gauge")
        lines += _samples(name, labels, start, lambda _, __, value=value: value)
    for name, labels in TIMES.items():
        lines.append(f"# TYPE {name} gauge")
        lines += _samples(name, labels, start, lambda _, moment: moment)
    for name, (labels, bounds) in HISTOGRAMS.items():
        lines.append(f"# TYPE {name} histogram")
        for rank, bound in enumerate([*map(str, map(float, bounds)), "+Inf"], 1):
            lines += _samples(f"{name}_bucket", {**labels, "le": [bound]}, start, lambda n, _, rank=rank: n * rank)
        lines += _samples(f"{name}_sum", labels, start, lambda n, _: n * 0.5)
        lines += _samples(f"{name}_count", labels, start, lambda n, _: n * 4)
    return "\n".join([*lines, "# EOF", ""])


def _samples(name: str, labels: dict[str, list[str]], start: int, value: Any) -> list[str]:
    lines = []
    for chosen in product(*labels.values()):
        pairs = ",".join(f'{label}="{text}"' for label, text in zip(labels, chosen, strict=True))
        for n in range(SAMPLES):
            moment = start + n * STEP
            lines.append(f"{name}{{{pairs}}} {value(n, moment)} {moment}")
    return lines
