"""The page, asked as a browser without JavaScript would."""

import re
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from alerts.archive import Store
from alerts.page.period import RequestError, now, read_period
from bus.messages import OUTCOMES, utcnow
from tests.alerts.pages import Elements, client_of, page
from tests.alerts.samples import HOUR, NOON, minutes, scored, spike
from tests.services.ports import free_port


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


def test_more_open_spikes_than_the_overview_has_room_for_are_counted_flagged_and_listed(
    client: TestClient, lite: Store
) -> None:
    lite.save_scored([scored("a1", topic="T0")])
    lite.save_spikes([spike(series=f"topic:T{i}", opened=NOON + minutes(i), articles=["a1"]) for i in range(20)])
    overview = page(client, "/")
    assert "20 open spikes" in overview
    assert "<title>(20) Squall</title>" in overview
    assert '<a class="flag" href="/spikes/topic:T0@2023-04-26T12:00Z">' in overview  # the oldest, in the mood table
    assert "/spikes" in Elements(overview).links()

    listed = page(client, "/spikes")
    assert "20 open spikes" in listed
    found = [link for link in Elements(listed).links() if link.startswith("/spikes/")]
    assert found == [f"/spikes/topic:T{i}@2023-04-26T12:{i:02}Z" for i in reversed(range(20))]


def test_a_few_open_spikes_need_no_list(filled: TestClient) -> None:
    assert "/spikes" not in Elements(page(filled, "/")).links()
    assert "1 open spike<" in page(filled, "/spikes")


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


def test_an_unchanged_page_is_not_sent_again(filled: TestClient, lite: Store) -> None:
    first = filled.get("/")
    again = filled.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    lite.save_scored([scored("new")])
    assert filled.get("/", headers={"If-None-Match": first.headers["etag"]}).status_code == 200


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
