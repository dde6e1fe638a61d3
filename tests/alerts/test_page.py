"""The page, asked as a browser without JavaScript would."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from alerts.archive import Store
from alerts.gateway import Gateway
from alerts.labels import write_csv
from alerts.links import Links
from alerts.metrics import ArchiveTotals, Metrics
from alerts.page.period import RequestError, now, read_period
from alerts.page.site import MAX_BODY
from alerts.service import create_app
from bus.errors import SquallError
from bus.messages import OUTCOMES, utcnow
from tests.alerts.samples import HOUR, NOON, minutes, scored, spike, state, unscored
from tests.services.ports import free_port

PAGE = "http://desk.example:8080"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \"quoted\" \u202e & 'so'"


class Elements(HTMLParser):
    """The elements of a page, with their attributes; the text of those that are asked for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def links(self) -> list[str]:
        return [attrs["href"] or "" for tag, attrs in self.found if tag == "a" and "href" in attrs]

    def totals(self) -> dict[str, int]:
        return {str(a["data-total"]): int(a["data-value"] or -1) for _, a in self.found if "data-total" in a}


def client_of(store: Store, registry: CollectorRegistry | None = None) -> TestClient:
    registry = registry or CollectorRegistry()
    metrics = Metrics(registry)
    registry.register(ArchiveTotals(store))
    gateway = Gateway(store, None, Links(PAGE), metrics, patience=0)
    return TestClient(
        create_app(store, gateway, metrics, registry, PAGE, "http://grafana.example"),
        base_url=PAGE,
        follow_redirects=False,
        raise_server_exceptions=False,
    )


@pytest.fixture
def client(lite: Store) -> Iterator[TestClient]:
    with client_of(lite) as opened:
        yield opened


@pytest.fixture
def filled(lite: Store, client: TestClient) -> TestClient:
    """A page on a small archive of the past: a spike of First Republic and some other news."""
    lite.save_scored(
        [
            *(
                scored(
                    f"a{i}",
                    title=title,
                    at=NOON - minutes(10 * i),
                    source=source,
                    topic="M&A | Investments",
                    entities=["First Republic"],
                )
                for i, (title, source) in enumerate(
                    [
                        ("First Republic shares halve", "wire"),
                        ("First Republic shares halve again", "ft"),
                        ("Deposits flee a lender", "cnbc"),
                    ]
                )
            ),
            scored("good", "positive", title="Gold shines", topic="Gold | Metals | Materials"),
            scored("cat", relevant=False, title="A cat on a roof"),
            unscored("de"),
        ]
    )
    lite.save_spikes([spike(articles=["a0", "a1", "a2"], opened=NOON - minutes(30), at=NOON)])
    two_days, one_day = NOON - timedelta(days=2), NOON - timedelta(days=1)
    lite.save_spikes(
        [
            spike(series="topic:Macro", opened=two_days),
            spike("closed", series="topic:Macro", opened=two_days, at=one_day),
        ]
    )
    lite.save_points([state("entity:First Republic", (HOUR, 1, 1, 0.4, 2.0), (HOUR - 1, 2, 2, 0.4, 1.5))])
    return client


def page(client: TestClient, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    return answer.text


def test_an_empty_archive_is_a_calm_page(client: TestClient) -> None:
    text = page(client, "/")
    assert "No spike is open" in text
    assert Elements(text).totals() == dict.fromkeys(["articles", *OUTCOMES], 0)


def test_totals_are_exact_on_the_page_and_as_json(filled: TestClient) -> None:
    expect = {"articles": 6, "negative": 3, "neutral": 0, "positive": 1, "irrelevant": 1, "unscored": 1}
    assert Elements(page(filled, "/")).totals() == expect
    assert filled.get("/api/totals").json() == expect | {"newest": "2023-04-26T12:00:00+00:00"}


def test_an_open_spike_shows_reason_time_sources_and_distinct_stories(filled: TestClient) -> None:
    text = page(filled, "/")
    assert "<title>(1) Squall</title>" in text
    assert "8 negative articles within 1 h where 0.9 is normal, from 2 sources." in text
    assert "26 Apr 2023 11:30 UTC" in text
    assert "wire <b>5</b>" in text
    assert "2 distinct stories in 3 articles" in text
    assert "/spikes/entity:First%20Republic@2023-04-26T11:30Z" in Elements(text).links()


def test_the_overview_shows_closed_spikes_mood_and_the_watchlist(filled: TestClient) -> None:
    text = page(filled, "/")
    links = Elements(text).links()
    assert "/spikes/topic:Macro@2023-04-24T12:00Z" in links
    assert "/series/topic:M%26A%20%7C%20Investments" in links
    assert "/series/entity:First%20Republic" in links
    assert "−1.00" in text
    assert "+1.00" in text


def test_a_replay_of_the_past_shows_the_past_and_says_so(filled: TestClient, lite: Store) -> None:
    assert "As of 26 Apr 2023 12:00 UTC" in page(filled, "/")
    lite.save_scored([scored("now", at=utcnow())])
    assert "As of" not in page(filled, "/")


def test_an_open_spike_has_lasted_as_long_as_its_news_and_not_as_the_clock(client: TestClient, lite: Store) -> None:
    opened = utcnow() - timedelta(hours=6)
    lite.save_scored([scored("a1", at=opened + timedelta(minutes=45))])
    lite.save_spikes([spike(opened=opened, articles=["a1"])])
    assert "for 45 min" in page(client, "/")


def test_a_series_shows_its_chart_and_its_negative_articles(filled: TestClient) -> None:
    text = page(filled, "/series/entity:First%20Republic")
    assert "26 Apr 2023 11:00 to 12:00 UTC: 2 negative of 2; 0.4 expected, above 1.5 in one case of a hundred" in text
    assert 'class="bar beyond"' in text
    assert text.count('class="shade"') == 2  # wide and narrow
    assert text.index("First Republic shares halve") < text.index("Deposits flee")
    assert "negative 80 %, neutral 10 %, positive 10 %" in text


def test_a_chosen_hour_lists_every_article_of_it(filled: TestClient, lite: Store) -> None:
    lite.save_scored([scored("up", "positive", title="Bid rises", at=NOON - minutes(40), entities=["First Republic"])])
    text = page(filled, f"/series/entity:First%20Republic?range=24h&hour={HOUR - 1}")
    assert "3 articles within 1 h, negative first" in text
    assert "Bid rises" in text
    assert "First Republic shares halve</a>" not in text  # of the next hour
    (chosen,) = {
        a["href"] for tag, a in Elements(text).found if tag == "a" and f"hour={HOUR - 1}" in (a.get("href") or "")
    }
    assert page(filled, "/series/entity:First%20Republic" + str(chosen).split("#")[0]) == text


def test_every_bar_can_be_chosen_without_javascript(filled: TestClient) -> None:
    links = [link for link in Elements(page(filled, "/series/all?range=24h")).links() if "hour=" in link]
    assert len(links) == 2 * 24
    for link in links[:24:8]:
        page(filled, "/series/all" + link.split("#")[0])


@pytest.mark.parametrize(
    "period", ["range=24h", "range=30d", "from=2023-04-01T00:00&to=2023-04-26T12:30", "from=2023-04-26"]
)
def test_ranges(filled: TestClient, period: str) -> None:
    assert "First Republic shares halve" in page(filled, f"/series/entity:First%20Republic?{period}")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("range=1y", "range: expected one of 24h, 3d, 7d, 30d"),
        ("from=yesterday", "from: expected a UTC time like 2023-04-26T12:00"),
        ("from=2023-04-26T12:00&to=2023-04-20T12:00", "from: must lie before to"),
        ("from=2000-01-01&to=2023-01-01", "at most 92 days"),
        ("to=0001-01-01", "to: expected a UTC time"),
        ("hour=abc", "hour: expected hours since 1970"),
        ("hour=99999999999999", "hour: expected hours"),
        ("range=<b>x", "got &#39;&lt;b&gt;x&#39;"),
    ],
)
def test_a_range_that_cannot_be_is_refused_in_words(filled: TestClient, query: str, said: str) -> None:
    assert said in page(filled, f"/series/all?{query}", 400)


def test_a_long_range_is_drawn_in_slots_of_hours() -> None:
    at = now(None, NOON)
    period = read_period({"range": "30d"}, at)
    assert (period.slot, period.last - period.first + 1) == (6, 720)
    assert read_period({"range": "7d"}, at).slot == 1
    with pytest.raises(RequestError):
        read_period({"hour": "²"}, at)


def test_a_spikes_page_shows_how_it_developed_and_every_copy(filled: TestClient, lite: Store) -> None:
    grown = spike("updated", observed=21, opened=NOON - minutes(30), at=NOON + minutes(10), articles=["a0"])
    lite.save_spikes([grown])
    text = page(filled, "/spikes/entity:First%20Republic@2023-04-26T11:30Z")
    assert re.search(r"opened</td>.*updated</td>", text, re.S)
    assert "2 sources: ft, wire" in text
    assert "First Republic shares halve again" in text
    assert ">open</span>" in text


def test_search_finds_words_and_keeps_the_query(filled: TestClient) -> None:
    text = page(filled, "/search?q=lender+depos")
    assert "1 article with “lender depos”" in text
    assert 'value="lender depos"' in text
    assert "0 articles" in page(filled, "/search?q=%22%3E%3Cscript%3E")
    page(filled, "/search?q=" + "%00%F0%9F%92%A5" * 200)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/spikes/none",
        "/articles/none",
        "/static/../site.py",
        "/static/nothing.js",
        "/docs",
        "/openapi.json",
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(client: TestClient, path: str) -> None:
    assert "Back to the overview" in page(client, path, 404)


def test_an_unknown_series_is_an_empty_one(client: TestClient) -> None:
    assert "No article." in page(client, "/series/topic:Nothing%2Fof%20the%3Fkind")


def test_links_of_grafana_and_prometheus_lead_to_the_series(client: TestClient) -> None:
    answer = client.get("/?series=topic%3AM%26A+%7C+Investments")
    assert (answer.status_code, answer.headers["location"]) == (302, "/series/topic:M%26A%20%7C%20Investments")


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


def test_an_unchanged_page_is_not_sent_again(filled: TestClient, lite: Store) -> None:
    first = filled.get("/")
    again = filled.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    lite.save_scored([scored("new")])
    assert filled.get("/", headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def correct(client: TestClient, headers: dict[str, str] | None = None, **form: str) -> tuple[int, str]:
    data = {"article": "a0", "correction": "sentiment=neutral", "back": "/series/all?range=3d"} | form
    answer = client.post("/labels", data=data, headers={"Origin": PAGE} if headers is None else headers)
    return answer.status_code, answer.headers.get("location", "")


def test_a_correction_is_stored_shown_and_exported(filled: TestClient, lite: Store, tmp_path: Path) -> None:
    assert correct(filled) == (303, "/series/all?range=3d")
    assert correct(filled, article="cat", correction="relevance=relevant") == (303, "/series/all?range=3d")
    assert correct(filled, correction="topic=Earnings")[0] == 303

    assert "corrected: neutral" in page(filled, "/series/entity:First%20Republic")
    assert "corrected: Earnings" in page(filled, "/articles/a0")
    rows = list(csv.DictReader(io.StringIO(page(filled, "/labels.csv"))))
    assert [(row["article"], row["head"], row["old"], row["new"]) for row in rows] == [
        ("a0", "sentiment", "negative", "neutral"),
        ("cat", "relevance", "irrelevant", "relevant"),
        ("a0", "topic", "M&A | Investments", "Earnings"),
    ]
    assert write_csv(lite.read.labels(), tmp_path / "labels.csv") == 3
    assert (tmp_path / "labels.csv").read_text() == page(filled, "/labels.csv")
    with pytest.raises(SquallError, match="choose another file"):
        write_csv(lite.read.labels(), tmp_path / "no" / "labels.csv")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://desk.example"},
        {"Origin": "http://evil.example", "Host": "evil.example"},  # a name of a stranger's that points here
        {"Origin": "http://desk.example:8080.evil.example"},
    ],
)
def test_a_correction_from_elsewhere_is_refused(filled: TestClient, lite: Store, headers: dict[str, str]) -> None:
    assert correct(filled, headers)[0] == 403
    assert list(lite.read.labels()) == []


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:9", "[::1]:8080", "10.1.2.3"])
def test_a_correction_by_address_is_taken(filled: TestClient, host: str) -> None:
    assert correct(filled, {"Origin": f"http://{host}", "Host": host})[0] == 303


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"correction": "sentiment=awful"}, 400),
        ({"correction": "colour=red"}, 400),
        ({"correction": "x" * 500}, 400),
        ({"article": "nobody"}, 404),
        ({"article": "de"}, 404),
    ],
)
def test_a_correction_that_cannot_be_is_refused_in_words(filled: TestClient, form: dict[str, str], status: int) -> None:
    assert correct(filled, None, **form)[0] == status


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_nobody_is_led_elsewhere_after_a_correction(filled: TestClient, back: str) -> None:
    assert correct(filled, back=back) == (303, "/")


def test_a_form_that_is_none_and_an_over_long_one_are_refused(filled: TestClient) -> None:
    assert filled.post("/labels", content=b"\xff", headers={"Origin": PAGE}).status_code == 400
    assert filled.post("/labels", data={"back": "x" * (MAX_BODY + 1)}, headers={"Origin": PAGE}).status_code == 413


def test_an_archive_that_is_away_is_said_and_comes_back_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(f"postgresql://u:secret@127.0.0.1:{free_port()}/d")
    with client_of(store) as client:
        for _ in range(3):
            text = page(client, "/", 503)
        assert "The archive does not answer at the moment" in text
        assert '<meta http-equiv="refresh" content="5">' in text
        assert client.get("/healthz").status_code == 200
        metrics = client.get("/metrics")
        assert "squall_archive_stored_articles{" not in metrics.text
        assert "squall_alerts_pending" in metrics.text
    assert "secret" not in caplog.text + text
    assert len([record for record in caplog.records if "the page waits" in record.message]) == 1


def test_metrics_say_what_the_archive_holds(filled: TestClient) -> None:
    text = page(filled, "/metrics")
    assert 'squall_archive_stored_articles{outcome="negative"} 3.0' in text
    assert 'squall_slack_failures_total{reason="unreachable"} 0.0' in text


def test_alertmanager_is_answered_with_what_became_of_its_call(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    good = b'{"version":"4","groupKey":"g","status":"firing","alerts":[]}'
    assert client.post("/alertmanager", content=good).json() == {"status": "accepted"}
    bad = client.post("/alertmanager", content=b'{"version":"3"}')
    assert bad.status_code == 400
    assert "Invalid enum value '3'" in bad.json()["error"]
    assert client.post("/alertmanager", content=b"x" * (MAX_BODY + 1)).status_code == 413
    assert client.get("/alertmanager").status_code == 405
    assert "squall_gateway_refused_total 2.0" in page(client, "/metrics")
    assert len([record for record in caplog.records if "POST /alertmanager" in record.message]) == 2
