"""What strangers can do to the page: their text, their sites' requests and their names for this machine."""

import re

import pytest
from fastapi.testclient import TestClient

from alerts.archive import Store
from tests.alerts.pages import Elements, page
from tests.alerts.samples import scored, spike

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \"quoted\" \u202e & 'so'"


@pytest.mark.parametrize(
    "path", ["/", "/series/all", "/series/entity:E", "/spikes/all@2023-04-26T12:00Z", "/search?q=quoted", "/articles/x"]
)
def test_hostile_text_stays_text(client: TestClient, lite: Store, path: str) -> None:
    bad = [
        "javascript:alert(1)",
        "data:text/html,<script>",
        'https://e.example/"onmouseover="alert(1)',
        "//evil.example",
    ]
    articles = [
        scored(
            f"x{i}" if i else "x",
            title=HOSTILE,
            summary=HOSTILE,
            url=url,
            source=HOSTILE,
            topic=HOSTILE,
            entities=[HOSTILE, "E"],
        )
        for i, url in enumerate(bad)
    ]
    lite.save_scored(articles)
    lite.save_spikes([spike(series="all", articles=["x", "x1", "x2", "x3"], sources={HOSTILE: 3})])
    text = page(client, path)
    elements = Elements(text)

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert sum(tag == "script" for tag, _ in elements.found) == 1
    assert not [attrs for _, attrs in elements.found if any(name.startswith("on") or name == "style" for name in attrs)]
    for link in elements.links():
        assert re.match(r"/(?!/)|#|\?|http://grafana\.example|https://e\.example/", link), link
    assert "\u202e" not in text


def test_every_answer_forbids_foreign_and_inline_content(filled: TestClient) -> None:
    for path in ("/", "/nothing", "/healthz", "/static/page.css", "/api/totals"):
        headers = filled.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    text = page(filled, "/")
    assert not re.search(r"https?://(?!(desk|grafana|news)\.example|www\.w3\.org)", text), (
        "nothing is loaded from elsewhere"
    )


SHOWN = ["/", "/spikes", "/series/all", "/articles/a0", "/search?q=a", "/labels.csv", "/api/totals", "/static/page.js"]


@pytest.mark.parametrize("path", SHOWN)
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "desk.example.evil.example",
        "alerts:8080",  # machines only: see the next test
        "127.0.0.1.evil.example",
        "[",
        "",
    ],
)
def test_under_a_strangers_name_nothing_is_shown(filled: TestClient, path: str, host: str) -> None:
    answer = filled.get(path, headers={"Host": host})
    assert answer.status_code == 403
    assert f"The page does not answer to the name {host!r}. Set page_url to the address" in answer.text
    assert "First Republic" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "host",
    [
        "DESK.example:8080",
        "desk.example",
        "box.example:8080",
        "localhost:1",
        "squall.localhost",
        "10.1.2.3",
        "[::1]:8080",
    ],
)
def test_the_page_answers_to_addresses_to_localhost_and_to_the_hosts_of_its_settings(
    filled: TestClient, host: str
) -> None:
    assert filled.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["alerts:8080", "172.18.0.5:8080", "127.0.0.1:8080"])
@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
def test_programs_ask_under_any_name(filled: TestClient, path: str, host: str) -> None:
    answer = filled.get(path, headers={"Host": host})
    assert answer.status_code == 200
    assert "First Republic" not in answer.text
