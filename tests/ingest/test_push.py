"""The push endpoint: who may push, what becomes of each record, what happens when the log is away."""

import json
import threading
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from bus.errors import LogFull, LogUnreachable
from bus.log import Log
from ingest import push as push_module
from ingest.metrics import IngestMetrics
from ingest.publisher import Publisher
from ingest.push import MAX_REQUEST, PushServer, push_app
from tests.ingest.conftest import articles_on, dead_on
from tests.ingest.test_publisher import Failing

TOKEN = {"Authorization": "Bearer second-token"}
ARTICLE = {"source": "licensed", "title": "Bank fails", "url": "https://a.example/1", "published_at": "2025-03-03"}


def app_on(log: Any, registry: CollectorRegistry | None = None) -> Any:
    metrics = IngestMetrics(registry or CollectorRegistry())
    return push_app(Publisher(log, metrics, threading.Event()), ["first-token", "second-token"])


@pytest.fixture
def client(log: Log) -> TestClient:
    return TestClient(app_on(log))


def test_one_article_is_accepted_and_its_repeat_a_duplicate(client: TestClient, log: Log) -> None:
    first = client.post("/articles", json=ARTICLE, headers=TOKEN)
    again = client.post("/articles", json=ARTICLE, headers=TOKEN)
    (article,) = articles_on(log)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == {"results": [{"index": 0, "id": article.id, "status": "accepted"}]}
    assert again.json() == {"results": [{"index": 0, "id": article.id, "status": "duplicate"}]}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps([ARTICLE, {"source": "x"}, {**ARTICLE, "url": "https://a.example/2"}]), "application/json"),
        ("\n".join(map(json.dumps, [ARTICLE, {"source": "x"}, {**ARTICLE, "url": ""}])), "application/x-ndjson"),
    ],
)
def test_arrays_and_lines_get_an_answer_for_each_record(
    client: TestClient, log: Log, body: str, content_type: str
) -> None:
    answer = client.post("/articles", content=body, headers={**TOKEN, "Content-Type": content_type})
    assert [each["status"] for each in answer.json()["results"]] == ["accepted", "refused", "accepted"]
    assert answer.json()["results"][1] == {"index": 1, "status": "refused", "reason": "the title is empty"}
    assert len(articles_on(log)) == 2
    (letter,) = dead_on(log)
    assert letter.origin == "push from testclient, item 1"
    assert letter.value == b'{"source": "x"}'


def test_a_broken_line_is_refused_and_the_others_taken(client: TestClient, log: Log) -> None:
    body = b'{"source": "x", "title": "cut\n' + json.dumps(ARTICLE).encode()
    answer = client.post("/articles", content=body, headers={**TOKEN, "Content-Type": "application/x-ndjson"})
    assert [each["status"] for each in answer.json()["results"]] == ["refused", "accepted"]
    assert len(dead_on(log)) == 1


@pytest.mark.parametrize("value", ["1" + "0" * 400, "9" * 5_000, "1e999", "[]", "true", '"\\ud83d"'])
def test_a_date_however_wrong_costs_no_record(client: TestClient, log: Log, value: str) -> None:
    dated = '{"source": "x", "title": "Dated", "published_at": %s}' % value  # noqa: UP031
    body = f"[{dated}, {json.dumps(ARTICLE)}]"
    answer = client.post("/articles", content=body, headers={**TOKEN, "Content-Type": "application/json"})
    assert [each["status"] for each in answer.json()["results"]] == ["accepted", "accepted"]
    (article,) = (article for article in articles_on(log) if article.title == "Dated")
    assert article.published_at == article.fetched_at


def test_half_an_emoji_in_one_record_costs_the_others_nothing(client: TestClient, log: Log) -> None:
    body = '[{"source": "x", "title": "half \\ud83d an emoji"}, %s]' % json.dumps(ARTICLE)  # noqa: UP031
    answer = client.post("/articles", content=body, headers={**TOKEN, "Content-Type": "application/json"})
    assert [each["status"] for each in answer.json()["results"]] == ["accepted", "accepted"]
    assert {article.title for article in articles_on(log)} == {"half an emoji", "Bank fails"}


@pytest.mark.parametrize("body", [b"", b"{", b"[{}", b'{"a": 1} {"b": 2}', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused_as_a_whole(client: TestClient, body: bytes) -> None:
    answer = client.post("/articles", content=body, headers={**TOKEN, "Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("expected a JSON object, an array or NDJSON: ")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Basic c2Vjb25kLXRva2Vu", 401),
        ("Bearer wrong", 403),
        ("Bearer second-toke", 403),
        ("Bearer second-token!", 403),
        ("bearer first-token", 202),
    ],
)
def test_only_a_known_token_may_push(client: TestClient, log: Log, header: str | None, status: int) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = client.post("/articles", json=ARTICLE, headers=headers)
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert "second-token" not in answer.text
    assert len(articles_on(log)) == (1 if status == 202 else 0)


def test_bodies_are_bounded_whether_they_say_their_length_or_not(client: TestClient) -> None:
    long = b" " * (MAX_REQUEST + 1)
    assert client.post("/articles", content=long, headers=TOKEN).status_code == 413
    chunks = (long[start : start + 65_536] for start in range(0, len(long), 65_536))
    assert client.post("/articles", content=chunks, headers=TOKEN).status_code == 413


def test_records_of_a_request_are_bounded(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_module, "MAX_RECORDS", 2)
    answer = client.post("/articles", json=[ARTICLE] * 3, headers=TOKEN)
    assert answer.status_code == 413
    assert answer.json()["error"] == "3 articles; at most 2 in one request"


def test_compressed_bodies_are_not_taken(client: TestClient) -> None:
    answer = client.post("/articles", content=b"x", headers={**TOKEN, "Content-Encoding": "gzip"})
    assert answer.status_code == 415


@pytest.mark.parametrize("error", [LogFull("disk full"), LogUnreachable("no answer")])
def test_a_log_that_takes_nothing_is_a_503_and_nothing_is_lost_by_pushing_again(log: Log, error: Exception) -> None:
    client = TestClient(app_on(Failing(log, [error])))  # type: ignore[list-item]
    first = client.post("/articles", json=[ARTICLE, {}], headers=TOKEN)
    assert (first.status_code, first.headers["retry-after"]) == (503, "10")
    again = client.post("/articles", json=[ARTICLE, {}], headers=TOKEN)
    assert [each["status"] for each in again.json()["results"]] == ["accepted", "refused"]
    assert (len(articles_on(log)), len(dead_on(log))) == (1, 1)


def test_pushed_names_do_not_become_labels(log: Log) -> None:
    registry = CollectorRegistry()
    client = TestClient(app_on(log, registry))
    client.post("/articles", json=[{"source": f"s{i}", "title": "T"} for i in range(50)], headers=TOKEN)
    assert registry.get_sample_value("squall_ingest_articles_total", {"source": "(push)"}) == 50
    assert registry.get_sample_value("squall_ingest_articles_total", {"source": "s1"}) is None


def test_health_needs_no_token_and_nothing_else_is_there(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert [client.get(path).status_code for path in ("/", "/docs", "/openapi.json", "/articles")] == [
        404,
        404,
        404,
        405,
    ]


def test_an_endpoint_without_tokens_is_a_mistake(log: Log) -> None:
    publisher = Publisher(log, IngestMetrics(CollectorRegistry()), threading.Event())
    for tokens in ([], [""]):
        with pytest.raises(ValueError, match="needs at least one token"):
            push_app(publisher, tokens)


def test_the_server_takes_articles_from_a_real_client_and_stops(log: Log) -> None:
    server = PushServer(app_on(log), "127.0.0.1", 0)
    server.start()
    url = f"http://127.0.0.1:{server.port}"
    assert httpx.post(f"{url}/articles", json=ARTICLE, headers=TOKEN).status_code == 202
    assert len(articles_on(log)) == 1
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")


def test_a_port_that_is_taken_is_an_error_at_once(log: Log) -> None:
    server = PushServer(app_on(log), "127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        PushServer(app_on(log), "127.0.0.1", server.port)
    server.start()
    server.stop()
