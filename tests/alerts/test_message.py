"""Messages keep Slack's limits and say what happened, whatever stands in the titles."""

import json
import re
import threading
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.archive import Store
from alerts.archive.reader import ArchivedArticle
from alerts.evidence import Evidence, gather
from alerts.links import Links, is_web
from alerts.message import Notice, fit, notice_message, spike_message, units
from alerts.stories import group
from bus.messages import SpikeEvent
from tests.alerts.samples import NOON, minutes, scored, spike

Message = dict[str, Any]
NEVER = threading.Event()


def archived(
    name: str,
    title: str,
    *,
    source: str = "wire",
    url: str = "https://e.example/a",
    signature: int = 0,
    after: float = 0,
) -> ArchivedArticle:
    return ArchivedArticle(
        id=name,
        source=source,
        title=title,
        summary="",
        url=url,
        published_at=NOON + minutes(after),
        outcome="negative",
        sentiment="negative",
        topic="Macro",
        relevance="relevant",
        p_negative=0.9,
        p_neutral=0.05,
        p_positive=0.05,
        p_topic=0.9,
        p_relevant=0.9,
        model_version="v1",
        entities=(),
        signature=signature,
    )


def evidence(event: SpikeEvent, *articles: ArchivedArticle, links: Links | None = None) -> Evidence:
    places = links or Links("http://desk.example:8080", "https://grafana.example")
    end = event.closed_at or event.at
    return Evidence(
        event,
        group(articles),
        page=places.spike(event.id),
        series=places.series(event.series, event.opened_at, end),
        dashboard=places.dashboard(event.series, event.opened_at, end),
    )


def markdown(message: Message) -> str:
    """Everything that the message shows, in one text."""
    found = [message["text"]]
    for block in message["blocks"]:
        parts = [block.get("text"), *block.get("fields", []), *block.get("elements", [])]
        found += [part["text"] for part in parts if part]
    return "\n".join(found)


def check_limits(message: Message) -> None:
    """Slack's limits, as its documentation states them."""
    assert message["text"]
    assert len(message["blocks"]) <= 50
    for block in message["blocks"]:
        if block["type"] == "header":
            assert 1 <= units(block["text"]["text"]) <= 150
        if block["type"] == "section":
            assert 1 <= units(block["text"]["text"]) <= 3000
            assert len(block.get("fields", [])) <= 10
            assert all(1 <= units(field["text"]) <= 2000 for field in block.get("fields", []))
        if block["type"] == "context":
            assert len(block["elements"]) <= 10
    assert units(markdown(message)) <= 13_000
    json.dumps(message).encode("ascii")
    assert not re.search(r"[\ud800-\udfff]", markdown(message))


def test_an_opened_spike_says_what_surged_against_what_and_with_which_stories() -> None:
    articles = [
        archived("1", "First Republic shares halve", source="wire", signature=0xFF, after=-20),
        archived("2", "First Republic shares halve – update", source="ft", signature=0xFE, after=-10),
        archived("3", "Regulator calls banks <at night> & on Sunday", source="cnbc", after=-5),
    ]
    message = spike_message(evidence(spike(articles=["1", "2", "3"]), *articles))

    check_limits(message)
    assert message["text"].startswith(
        "🔴 Negative news surges: First Republic – 8 negative articles within 1 h where 0.9"
    )
    shown = markdown(message)
    assert "2 distinct stories in 3 articles" in shown
    assert "<https://e.example/a|First Republic shares halve> – wire, ft, 26 Apr 2023 11:40 UTC" in shown
    assert "Regulator calls banks &lt;at night&gt; &amp; on Sunday" in shown
    assert "*Expected*\n0.9" in shown
    assert "wire (5), ft (3)" in shown
    assert "<http://desk.example:8080/spikes/entity:First%20Republic@2023-04-26T12:00Z|Stories and chart>" in shown
    assert "<https://grafana.example/d/squall?var-series=entity%3AFirst+Republic&amp;from=" in shown


def test_a_closed_spike_says_how_long_and_how_large_it_was() -> None:
    event = spike("closed", at=NOON + timedelta(minutes=95), observed=0, peak=14, sources={})
    message = spike_message(evidence(event, links=Links("http://desk.example")))

    check_limits(message)
    assert message["text"] == (
        "🟢 Back to normal: First Republic – The surge of negative news lasted 1 h 35 min and peaked at 14 articles."
    )
    assert "Grafana" not in markdown(message)


def test_an_updated_spike_says_that_it_has_grown() -> None:
    assert spike_message(evidence(spike("updated")))["text"].startswith("🔴 Surge has grown: First Republic")


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "http://",
        "ftp://a.example/b",
        "https://a b.example",
        "http://[bad",
        "",
        "x" * 5000,
    ],
)
def test_only_web_addresses_become_links(url: str) -> None:
    shown = markdown(spike_message(evidence(spike(), archived("1", "A title", url=url))))
    assert not is_web(url)
    assert "|A title>" not in shown
    assert "A title" in shown


def test_a_url_cannot_break_out_of_its_link() -> None:
    url = "https://a.example/x|Click>here<!channel>?a=1&b=%20\"'"
    shown = markdown(spike_message(evidence(spike(), archived("1", "T", url=url))))
    assert "<https://a.example/x%7CClick%3Ehere%3C!channel%3E?a=1&amp;b=%20%22'|T>" in shown


def test_a_title_cannot_mention_or_hide() -> None:
    shown = markdown(spike_message(evidence(spike(), archived("1", "<!channel> a\u202etxt\n\n*b*\x00", url=""))))
    assert "&lt;!channel&gt; a txt *b*" in shown


def test_a_source_of_many_is_listed_shortly() -> None:
    sources = {f"source{i}": i for i in range(40)}
    shown = markdown(spike_message(evidence(spike(sources=sources))))
    assert "source39 (39), source38 (38), source37 (37), source36 (36), source35 (35) and 35 more" in shown


def test_ten_alerts_at_most_are_shown_of_a_group() -> None:
    notices = [Notice(f"{i} silent", "No article for a day" * 100, "Look at it " * 100) for i in range(25)]
    message = notice_message(notices, firing=True)
    check_limits(message)
    assert message["text"] == "🟠 25 alerts"
    assert "and 15 more" in markdown(message)


def test_a_single_alert_says_what_to_do_and_its_end_does_not() -> None:
    notice = Notice("Worker down", "No answer for a minute.", "Read its log.", (("http://desk.example/?x=1", "Page"),))
    fired, ended = notice_message([notice], firing=True), notice_message([notice], firing=False)
    assert fired["text"] == "🟠 Worker down – No answer for a minute."
    assert "_What to do:_ Read its log." in markdown(fired)
    assert "<http://desk.example/?x=1|Page>" in markdown(fired)
    assert ended["text"].startswith("🟢 Resolved: Worker down")
    assert "Read its log" not in markdown(ended)


hostile = st.text(alphabet=st.characters(), max_size=4000) | st.sampled_from(
    [
        "&" * 3000,
        "<" * 5000,
        "💥" * 3000,
        "\u202e" * 50,
        "",
        "\ud800",
        "é" * 9000,
        "<!here>" * 400,
        "|>" * 999,
        "\n" * 99,
    ]
)
urls = (
    st.sampled_from(["https://e.example/" + "&" * 900, "https://e.example/|>", "javascript:x", "https://e.example/ü"])
    | hostile
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    titles=st.lists(st.tuples(hostile, urls, hostile), max_size=12),
    series=hostile,
    state=st.sampled_from(["opened", "updated", "closed"]),
)
def test_any_spike_keeps_the_limits(titles: list[tuple[str, str, str]], series: str, state: str) -> None:
    articles = [archived(str(i), title, url=url, source=source) for i, (title, url, source) in enumerate(titles)]
    event = spike(state, sources={source: 1 for _, _, source in titles})
    event.series = series
    links = Links("http://desk.example", "http://grafana.example")
    stories = group(articles)
    check_limits(spike_message(Evidence(event, stories, links.spike("x"), "http://e.example/" + series, "")))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(parts=st.lists(st.tuples(hostile, hostile, hostile, urls), min_size=1, max_size=30), firing=st.booleans())
def test_any_notice_keeps_the_limits(parts: list[tuple[str, str, str, str]], firing: bool) -> None:
    check_limits(notice_message([Notice(a, b, c, ((d, "Page"),)) for a, b, c, d in parts], firing=firing))


@given(text=hostile, limit=st.integers(1, 300))
def test_text_is_cut_without_breaking_an_escape(text: str, limit: int) -> None:
    cut = fit(text, limit)
    assert units(cut) <= limit
    assert re.fullmatch(r"(?:[^&<>]|&amp;|&lt;|&gt;)*", cut)


def test_evidence_waits_for_the_archive_but_not_long(lite: Store) -> None:
    event = spike(articles=["a1", "a2"])
    lite.save_scored([scored("a1")])
    threading.Timer(0.3, lambda: lite.save_scored([scored("a2")])).start()

    found = gather(lite, event, Links("http://desk.example"), patience=5, stop=NEVER)
    assert sorted(article.id for story in found.stories for article in story.articles) == ["a1", "a2"]

    event.articles.append("never")
    found = gather(lite, event, Links("http://desk.example"), patience=0.3, stop=NEVER)
    assert len(found.stories) == 2


def test_evidence_goes_on_without_a_database() -> None:
    found = gather(Store("postgresql://u@127.0.0.1:1/d"), spike(), Links("http://desk.example"), stop=NEVER)
    assert found.stories == []
    check_limits(spike_message(found))


def test_copies_are_one_story_and_the_widest_leads() -> None:
    stories = group(
        [
            archived("1", "Oil falls to a new low on demand fears", source="a", after=1),
            archived("2", "OIL FALLS TO A NEW LOW, on demand fears!", source="b", after=2),
            archived("3", "Gold steady", source="a", after=9),
            archived("4", "Another text altogether", source="c", signature=0b1011, after=3),
            archived("5", "Reworded fully", source="d", signature=0b1111, after=4),
            archived("6", "Third of them", source="e", signature=0b1110, after=5),
        ]
    )
    assert [[article.id for article in story.articles] for story in stories] == [["6", "5", "4"], ["2", "1"], ["3"]]
    assert stories[0].sources == ["c", "d", "e"]
    assert stories[1].first.id == "1"
