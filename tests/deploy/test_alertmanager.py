"""A real Alertmanager with Squall's configuration: what it groups, mutes and sends to the gateway."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.services import monitoring
from tests.services.ports import wait_until

Json = dict[str, Any]


class Gateway(ThreadingHTTPServer):
    """Stands for Squall's gateway: keeps the payloads it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.payloads: list[Json] = []


class _Handler(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        self.server.payloads.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    server = Gateway()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def alertmanager(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an Alertmanager that posts to the stand-in instead of to the host name of docker-compose.yml."""
    with monitoring.alertmanager(tmp_path_factory.mktemp("alertmanager"), gateway.server_port) as address:
        yield address


def fire(address: str, *labels: dict[str, str]) -> None:
    alerts = [{"labels": each, "startsAt": datetime.now(UTC).isoformat()} for each in labels]
    httpx.post(f"{address}/api/v2/alerts", json=alerts).raise_for_status()


def muted(address: str) -> set[str]:
    """Series of the spikes that Alertmanager holds back."""
    listed = httpx.get(f"{address}/api/v2/alerts").raise_for_status().json()
    return {alert["labels"].get("series", "") for alert in listed if alert["status"]["inhibitedBy"]}


def spike(series: str) -> dict[str, str]:
    return {
        "alertname": "NegativeNewsSpike",
        "kind": "spike",
        "severity": "critical",
        "evidence": "detector",
        "series": series,
    }


def surge(series: str) -> dict[str, str]:
    return {
        "alertname": "NegativeNewsSurgeByCount",
        "kind": "spike",
        "severity": "warning",
        "evidence": "counts",
        "series": series,
    }


def test_spikes_reach_the_gateway_by_series_and_what_explains_them_mutes_counts_only(
    alertmanager: str, gateway: Gateway
) -> None:
    started = time.monotonic()
    fire(alertmanager, spike("topic:banking"), surge("topic:banking"), surge("topic:energy"), spike("entity:Acme"))
    wait_until(lambda: len(gateway.payloads) >= 3, 15, "three groups of spikes at the gateway")

    assert time.monotonic() - started < 10  # group_wait is 2 s
    groups = {payload["groupLabels"]["series"]: payload for payload in gateway.payloads}
    assert groups.keys() == {"topic:banking", "topic:energy", "entity:Acme"}
    assert [alert["labels"]["alertname"] for alert in groups["topic:banking"]["alerts"]] == ["NegativeNewsSpike"]
    assert groups["entity:Acme"]["version"] == "4"
    assert muted(alertmanager) == {"topic:banking"}

    unreliable = {"alertname": "CountsUnreliable", "kind": "pipeline", "severity": "none", "explains": "counts"}
    fire(alertmanager, unreliable)
    wait_until(lambda: muted(alertmanager) == {"topic:banking", "topic:energy"}, 10, "counts muted, the detector not")
    assert all(payload["groupLabels"].get("alertname") != "CountsUnreliable" for payload in gateway.payloads)
