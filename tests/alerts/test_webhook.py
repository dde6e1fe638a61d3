"""Alertmanager's webhook as it is called: by Alertmanager, by nonsense and by strangers' sites."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from alerts.archive import Store
from alerts.outbox import Outbox
from alerts.page.site import MAX_BODY
from tests.alerts.pages import PAGE, client_of, page

JSON = {"Content-Type": "application/json"}


def payload(**alert: Any) -> dict[str, Any]:
    """A call about one alert."""
    whole = {
        "status": "firing",
        "labels": {"alertname": "RoleDown"},
        "annotations": {"summary": "No worker process answers"},
        "startsAt": "2023-04-26T12:00:00Z",
        "fingerprint": "f",
    }
    return {"version": "4", "groupKey": "g", "status": "firing", "alerts": [whole | alert]}


@pytest.fixture
def client(lite: Store, outbox: Outbox) -> Iterator[TestClient]:
    with client_of(lite, outbox) as opened:
        yield opened


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_an_alert_is_accepted_under_the_name_that_the_network_has(
    client: TestClient, outbox: Outbox, kind: str
) -> None:
    headers = {"Content-Type": kind, "Host": "alerts:8080"}
    assert client.post("/alertmanager", json=payload(), headers=headers).json() == {"status": "accepted"}
    assert outbox.count("pending") == 1


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"Origin": "https://evil.example", "Content-Type": "text/plain"}, 403, "Origin is 'https://evil.example'"),
        ({"Origin": "https://evil.example"} | JSON, 403, "only Alertmanager may send alerts"),
        ({"Origin": "null"} | JSON, 403, "Origin is 'null'"),
        ({"Origin": "http://["} | JSON, 403, "Origin is 'http://['"),
        ({"Sec-Fetch-Site": "cross-site"} | JSON, 403, "Sec-Fetch-Site is 'cross-site'"),
        # A name of a stranger's that points here: to the browser, this is that stranger's own site.
        ({"Origin": "http://evil.example", "Host": "evil.example"} | JSON, 403, "Origin is 'http://evil.example'"),
        ({"Content-Type": "text/plain"}, 415, "expected application/json as Alertmanager has it, got 'text/plain'"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        ({"Content-Type": "text/plain; application/json"}, 415, "application/json"),
        ({"Content-Type": ""}, 415, "got ''"),
    ],
)
def test_what_a_strangers_site_makes_a_browser_send_is_refused(
    client: TestClient, outbox: Outbox, headers: dict[str, str], status: int, said: str
) -> None:
    answer = client.post("/alertmanager", json=payload(), headers=headers)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert outbox.count("pending") == 0


def test_no_site_is_told_that_it_may_send(client: TestClient) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    assert client.options("/alertmanager", headers=asked).status_code == 405
    assert client.get("/alertmanager").status_code == 405


@pytest.mark.parametrize(
    ("starts", "said"),
    [
        ("2023-04-26T12:00:00", "Expected `datetime` with a timezone component - at `$.alerts[0].startsAt`"),
        ("0001-01-01T00:00:00Z", "alerts[0].startsAt: expected a time since 1970, got 0001-01-01 00:00:00+00:00"),
        ("9999-12-31T23:59:59-12:00", "alerts[0].startsAt: expected a time since 1970"),
    ],
)
def test_a_start_that_is_no_moment_is_refused_for_good(client: TestClient, starts: str, said: str) -> None:
    call = payload(startsAt=starts, labels={"alertname": "Surge", "series": "topic:Macro", "evidence": "counts"})
    answer = client.post("/alertmanager", json=call)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_what_became_of_a_call_is_answered_counted_and_logged(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    bad = client.post("/alertmanager", content=b'{"version":"3"}', headers=JSON)
    assert bad.status_code == 400
    assert "Invalid enum value '3'" in bad.json()["error"]
    assert client.post("/alertmanager", content=b"x" * (MAX_BODY + 1), headers=JSON).status_code == 413
    assert "squall_gateway_refused_total 2.0" in page(client, "/metrics")
    assert len([record for record in caplog.records if "POST /alertmanager" in record.message]) == 2
