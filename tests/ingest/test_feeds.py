"""Reading feeds: every form that is known, and what is refused."""

import codecs
import contextlib
import gzip
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.messages import utcnow
from ingest.articles import make_article
from ingest.feeds import MAX_ITEMS, MAX_TAGS, read_feed
from ingest.refusals import Refused
from tests.ingest.conftest import FEEDS

URL = "https://site.example/news/feed"


def load(name: str) -> bytes:
    return (FEEDS / name).read_bytes()


@pytest.mark.parametrize(
    ("file", "items"),
    [("rss.xml", 3), ("atom.xml", 2), ("rdf.xml", 1), ("feed.json", 3), ("news-sitemap.xml", 1), ("broken.xml", 2)],
)
def test_every_known_form_is_recognised(file: str, items: int) -> None:
    assert len(read_feed(load(file), URL).items) == items


def test_rss_items_keep_title_link_summary_date_and_language() -> None:
    first, second, third = read_feed(load("rss.xml"), URL).items
    assert first.title == "Crane & Sons halts dividend after <b>loss</b>"
    assert first.url == "https://harbour.example/crane?utm_source=rss&id=7#top"
    assert "£12m" in first.summary or "&pound;12m" in first.summary
    assert (first.published, first.language) == ("Mon, 03 Mar 2025 09:15 GMT", "en-gb")
    assert (second.url, second.published) == ("https://site.example/groen", "2025-03-03T10:00:00+01:00")
    assert (third.title, third.published) == ("", "no date at all")


def test_an_atom_entry_is_dated_by_its_publication_and_only_else_by_its_update() -> None:
    first, second = read_feed(load("atom.xml"), URL).items
    assert first.published == "2025-03-01T08:00:00Z"
    assert first.url == "https://authority.example/a"
    assert (second.published, second.url) == ("2025-03-02T08:00:00-05:00", "https://site.example/news/b")
    assert "Long" in second.summary
    assert make_article(first, source="s", fetched_at=utcnow()).article.title == "Verfahren gegen <Nordbank> eröffnet"


def test_json_feed_items_take_the_feeds_language_unless_they_have_their_own() -> None:
    first, second, third = read_feed(load("feed.json"), URL).items
    assert (first.url, first.language, first.summary) == ("https://site.example/notes/1", "en", "<p>Repo at 5 %.</p>")
    assert (second.url, second.language) == ("https://elsewhere.example/x", "de")
    assert third.title == ""


def test_a_news_sitemap_gives_the_urls_that_have_news() -> None:
    (item,) = read_feed(load("news-sitemap.xml"), URL, kind="sitemap").items
    assert (item.title, item.url) == ("Miner & refiner merge", "https://paper.example/a")
    assert (item.published, item.language) == ("2025-03-03T07:00:00+00:00", "en")


def test_a_sitemap_index_names_its_sitemaps_newest_first() -> None:
    feed = read_feed(load("sitemap-index.xml"), URL)
    assert feed.items == []
    assert feed.sitemaps == [
        "https://site.example/today.xml",
        "https://paper.example/2024.xml",
        "https://paper.example/undated.xml",
    ]


def test_a_broken_feed_is_read_as_far_as_it_goes() -> None:
    first, second = read_feed(load("broken.xml"), URL).items
    assert make_article(first, source="s", fetched_at=utcnow()).article.title == "AT&T & friends <sue>"
    assert second.title == "Second époque"


ENCODINGS = {
    "UTF-8 with a byte order mark": (codecs.BOM_UTF8, "utf-8", ""),
    "UTF-16, little endian": (codecs.BOM_UTF16_LE, "utf-16-le", ""),
    "UTF-16, big endian": (codecs.BOM_UTF16_BE, "utf-16-be", ""),
    "Latin-1 by header": (b"", "latin-1", "text/xml; charset=ISO-8859-1"),
    "a header that names no known encoding": (b"", "utf-8", "text/xml; charset=klingon"),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_encodings_are_recognised(name: str) -> None:
    mark, encoding, content_type = ENCODINGS[name]
    text = load("rss.xml").decode().replace('encoding="UTF-8"', "")
    feed = read_feed(mark + text.encode(encoding, "xmlcharrefreplace"), URL, content_type)
    assert feed.items[1].title == "Café chain Grön opens in Zürich"


def test_a_declared_latin_1_is_believed() -> None:
    text = load("rss.xml").decode().replace("UTF-8", "ISO-8859-1")
    assert read_feed(text.encode("latin-1"), URL).items[1].title == "Café chain Grön opens in Zürich"


def test_bytes_that_fit_no_encoding_do_not_stop_the_rest() -> None:
    items = read_feed(load("rss.xml").replace("Café".encode(), b"Caf\xe9"), URL).items
    assert items[0].title.startswith("Crane & Sons")
    assert items[1].title.startswith("Caf")


def test_a_gzip_file_is_unpacked() -> None:
    assert len(read_feed(gzip.compress(load("news-sitemap.xml")), URL).items) == 1


REFUSED = {
    "a web page": (load("page.html"), "auto", "not_a_feed", "it starts with '<!DOCTYPE html><html>"),
    "nothing": (b"", "auto", "not_a_feed", "it starts with nothing"),
    "JSON that is no feed": (b'{"items": []}', "auto", "not_a_feed", "missing required field `version`"),
    "another version": (b'{"version": "2", "items": []}', "auto", "not_a_feed", "its version is '2'"),
    "broken JSON": (b'{"version": ', "auto", "not_a_feed", "JSON, but no JSON Feed"),
    "a sitemap without news": (load("plain-sitemap.xml"), "auto", "not_a_feed", "its 1 entries have no titles"),
    "a feed where a sitemap is asked for": (load("rss.xml"), "sitemap", "not_a_feed", "expected a sitemap"),
    "a sitemap where a feed is asked for": (load("news-sitemap.xml"), "feed", "not_a_feed", "no RSS, Atom"),
    "a feed where JSON is asked for": (load("rss.xml"), "jsonfeed", "not_a_feed", "expected a JSON Feed"),
    "a billion laughs": (load("laughs.xml"), "auto", "entities", "declares entities"),
    "laughs in UTF-16": (load("laughs.xml").decode().encode("utf-16"), "auto", "entities", "declares entities"),
    "laughs in UTF-7": (
        b'<?xml version="1.0" encoding="utf-7"?>' + load("laughs.xml").decode().partition("?>")[2].encode("utf-7"),
        "auto",
        "entities",
        "declares entities",
    ),
    "laughs behind a comment": (
        b"<!-- <rss> -->" + load("laughs.xml").partition(b"?>")[2],
        "auto",
        "entities",
        "declares entities",
    ),
    "a sitemap with entities": (
        load("laughs.xml").replace(b"rss", b"urlset"),
        "sitemap",
        "entities",
        "declares entities",
    ),
    "more items than news has": (
        b"<rss version='2.0'><channel>" + b"<item/>" * (MAX_ITEMS + 1),
        "auto",
        "too_many_items",
        f"{MAX_ITEMS + 1} items",
    ),
    "more tags than news has": (
        b"<rss version='2.0'><channel>" + b"<a>" * MAX_TAGS,
        "auto",
        "too_many_items",
        f"{MAX_TAGS + 2} tags",
    ),
    "more JSON items than news has": (
        json.dumps({"version": "https://jsonfeed.org/version/1", "items": [{}] * (MAX_ITEMS + 1)}).encode(),
        "auto",
        "too_many_items",
        f"{MAX_ITEMS + 1} items",
    ),
    "a gzip bomb": (gzip.compress(b" " * (11 << 20)), "auto", "too_large", "when decompressed"),
    "half a gzip header": (b"\x1f\x8b\x08garbage", "auto", "not_a_feed", "gzip"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_feed_is_refused_with_a_reason(what: str) -> None:
    body, kind, reason, text = REFUSED[what]
    with pytest.raises(Refused) as refused:
        read_feed(body, URL, kind=kind)
    assert refused.value.reason == reason
    assert text in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_body_that_names_a_file_does_not_make_the_parser_open_it() -> None:
    with pytest.raises(Refused, match="it starts with '/etc/passwd'"):
        read_feed(b"/etc/passwd", URL)


RSS = b"<rss version='2.0'><channel><item>"

HOSTILE = {
    **{unit: RSS + unit * 9_000 for unit in (b"<a>", b"<item>", b"<a ", b"<![CDATA[", b"<!--", b"&amp", b"<title>")},
    "declarations without end": RSS + b"<?xml " * 200_000,
    "a date of spaces": RSS + b"<pubDate>2025" + b" " * 500_000 + b"x</pubDate></item></channel></rss>",
    "sitemap entries inside each other": b"<urlset>" + b"<url>" * 200 + b"<a>x</a>" * 150_000,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_body_takes_time_in_proportion_to_its_size(what: bytes | str) -> None:
    # Of the processor, whatever else runs; in proportion to its square each would take minutes.
    start = time.process_time()
    with contextlib.suppress(Refused):
        read_feed(HOSTILE[what], URL)
    assert time.process_time() - start < 10.0


WRONG = {
    "half an emoji": "<title>Half &#55357; an emoji</title>",
    "no character": "<title>Not &#x110000; there</title>",
    "endless number": f"<title>Long &#{'9' * 5_000}; one</title>",
    "zero date": "<title>Dated</title><pubDate>0000-00-00 00:00:00</pubDate>",
    "date off the calendar": "<title>Dated</title><pubDate>9999-12-31T23:59:59-23:59</pubDate>",
    "Korean zero date": "<title>Dated</title><pubDate>0000-05-28 오후 11:10:10</pubDate>",
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_one_item_costs_the_others_nothing(what: str) -> None:
    good = "<item><title>Good</title></item>"
    body = f"<rss version='2.0'><channel><item>{WRONG[what]}</item>{good}</channel></rss>"
    made = [make_article(item, source="s", fetched_at=utcnow()) for item in read_feed(body.encode(), URL).items]
    assert len(made) == 2
    assert made[1].article.title == "Good"
    assert made[0].article.published_at == made[0].article.fetched_at


@pytest.mark.parametrize("wrong", ['"date_published": 1e999', '"title": 7', '"summary": "half \\ud83d an emoji"', ""])
def test_a_json_feed_keeps_its_items_beside_one_with_a_field_of_the_wrong_type(wrong: str) -> None:
    item = "7" if not wrong else f"{{{wrong}}}"
    body = f'{{"version": "https://jsonfeed.org/version/1.1", "items": [{item}, {{"title": "Good"}}]}}'
    assert [item.title for item in read_feed(body.encode(), URL).items] == ["", "Good"]


@given(st.binary(max_size=200), st.sampled_from([b"", b"<rss version='2.0'>", b"<urlset>", b"<feed xmlns='x'>", b"{"]))
def test_any_bytes_are_read_or_refused(junk: bytes, start: bytes) -> None:
    with contextlib.suppress(Refused):
        read_feed(start + junk, URL)


REAL = {
    "cnbc_finance_2019.xml": 30,
    "crawinsight_bloomberg.xml": 16,
    "crawinsight_cnbc.xml": 30,
    "crawinsight_google.xml": 100,
    "crawinsight_nytimes.xml": 50,
    "crawinsight_seekingalpha.xml": 20,
    "fed_press_all_trimmed.xml": 3,
    "malformed_marketwatch_sitemap.xml": 1_000,
    "nasdaq_trade_halts.rss": 25,
    "reuters_direct_googlenews.xml": 500,
    "reuters_scraped.xml": 500,
    "sec_edgar_current.atom": 40,
}


@pytest.mark.parametrize("file", REAL)
def test_real_feeds_give_all_their_items_as_dated_articles(file: str, data_feeds: Path) -> None:
    items = read_feed((data_feeds / file).read_bytes(), URL).items
    made = [make_article(item, source="real", fetched_at=utcnow()) for item in items]
    assert len(items) == REAL[file]
    assert len({each.article.id for each in made}) == len(items)
    assert {each.date_problem for each in made} <= {"", "future"}


def test_no_real_feed_is_left_out(data_feeds: Path) -> None:
    assert {path.name for path in data_feeds.iterdir()} == set(REAL)
