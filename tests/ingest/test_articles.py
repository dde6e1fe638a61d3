"""From a raw item to an article: cleaning, identity, dates, refusals."""

import hashlib
import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.messages import MAX_TITLE, Article, decode, encode
from ingest.articles import MAX_BODY, MAX_SUMMARY, RawItem, article_id, canonical_url, make_article
from ingest.refusals import Refused
from ingest.text import clean_text

NOW = datetime(2025, 3, 3, 12, tzinfo=UTC)

urls = st.builds(
    "{}{}{}".format,
    st.sampled_from(["http://", "https://", "HTTPS://", "//", ""]),
    st.sampled_from(["a.example", "A.Example:80", "user:pw@a.example:443", "[::1]:80", "exämple.com", ""]),
    st.text(string.ascii_letters + string.digits + "-._~%&=;?#/:@[]+ é\u200b!$'(),*|{}\\^`\"<>", max_size=40),
)

any_character = st.characters(exclude_categories=())
"""Lone surrogates too."""


def make(title: str = "A title", **fields: object) -> Article:
    return make_article(RawItem(title=title, **fields), source="wire", fetched_at=NOW).article  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://a.example/x?utm_source=rss&b=2&a=1&utm_medium=x#top", "https://a.example/x?a=1&b=2"),
        ("https://a.example/x?fbclid=1", "https://a.example/x"),
        ("HTTPS://A.Example:443/x", "https://a.example/x"),
        ("http://a.example:80/x", "http://a.example/x"),
        ("http://a.example:8080/x", "http://a.example:8080/x"),
        ("  https://a.example  ", "https://a.example/"),
        ("https://a.example/b/../c/./d", "https://a.example/c/d"),
        ("https://a.example/?q=utm_source", "https://a.example/?q=utm_source"),
        ("https://exämple.com/ä", "https://xn--exmple-cua.com/%C3%A4"),
        ("ftp://a.example/x", ""),
        ("javascript:alert(1)", ""),
        ("/relative", ""),
        ("http://", ""),
        ("http://[broken/", ""),
        ("https://a.example/" + "x" * 2_100, ""),
        ("", ""),
    ],
)
def test_addresses_of_one_page_become_one(url: str, canonical: str) -> None:
    assert canonical_url(url) == canonical


@given(urls)
def test_a_canonical_url_stays_as_it_is(url: str) -> None:
    once = canonical_url(url)
    assert canonical_url(once) == once
    assert once == "" or once.startswith(("http://", "https://"))


def test_the_id_is_the_start_of_the_hash_of_the_canonical_url() -> None:
    expected = hashlib.sha256(b"https://a.example/x").hexdigest()[:16]
    assert article_id("https://a.example/x", "wire", "T") == expected
    same = make("T", url="https://a.example/x?utm_source=rss"), make("Other", url="https://A.example/x#top")
    assert same[0].id == same[1].id
    assert same[0].id == expected


def test_without_a_url_source_and_title_are_the_identity() -> None:
    one = make_article(RawItem(title="Same"), source="a", fetched_at=NOW).article
    other = make_article(RawItem(title="Same"), source="b", fetched_at=NOW).article
    again = make_article(RawItem(title=" Same\n", url="mailto:x"), source="a", fetched_at=NOW).article
    assert one.id == again.id != other.id


@given(st.text(any_character), st.text(any_character))
def test_ids_are_16_hexadecimal_digits_for_any_title(source: str, title: str) -> None:
    try:
        article = make_article(RawItem(title=title), source=source, fetched_at=NOW).article
    except Refused:
        return
    assert len(article.id) == 16
    assert set(article.id) <= set("0123456789abcdef")
    assert decode(encode(article), Article) == article


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  Two\n words\t", "Two words"),
        ("<p>AT&amp;T <b>falls</b></p>", "AT&T falls"),
        ("&lt;p&gt;Twice &amp;amp; escaped&lt;/p&gt;", "Twice & escaped"),
        ("Profit <5% and > 3%", "Profit <5% and > 3%"),
        ("Apple <AAPL.O> falls", "Apple <AAPL.O> falls"),
        ("<script>var x = '<p>';</script>Text<style>p {}</style>", "Text"),
        ("line<br/>break<!-- hidden --> end", "line break end"),
        ("half \ud83d an emoji", "half an emoji"),
        ("zero\u200bwidth\ufeff \u00ad\x00control", "zerowidth control"),
        ("non\u00a0breaking", "non breaking"),
        ("<![CDATA[left over]]>", "left over"),
        ("市场 下跌", "市场 下跌"),
        ("begun<!-- never ended", "begun"),
        # Patterns that look in vain for an end from each beginning would need minutes for these.
        ("a" + "<!--" * 250_000, "a"),
        ("a" + "<script>" * 250_000, "a"),
        ("a" + "&lt;!--" * 150_000, "a"),
        ("half &#55357; a reference", "half \ufffd a reference"),
        ("&#x41;&#0066; &#" + "9" * 5_000 + "; &#x110000;", "AB \ufffd \ufffd"),
        ("\u200b \x00", ""),
    ],
)
def test_text_is_cleaned(text: str, clean: str) -> None:
    assert clean_text(text, 1_000_000) == clean


@given(st.text(any_character, max_size=200), st.integers(1, 50))
def test_clean_text_is_short_encodable_and_single_spaced(text: str, limit: int) -> None:
    clean = clean_text(text, limit)
    assert len(clean) <= limit
    clean.encode()
    assert "  " not in clean
    assert "\n" not in clean


@pytest.mark.parametrize("title", ["", "   ", "\x00", "<b></b>", "\ud800"])
def test_an_empty_title_is_refused(title: str) -> None:
    with pytest.raises(Refused, match="the title is empty") as refused:
        make(title)
    assert refused.value.reason == "title"


def test_a_title_may_be_as_long_as_the_limit_and_no_longer() -> None:
    assert len(make("x" * MAX_TITLE).title) == MAX_TITLE
    with pytest.raises(Refused, match="the title has 100000 characters: no headline has more than 2000"):
        make("x" * 100_000)
    with pytest.raises(Refused, match="the title has 2001 characters"):
        make("x" * (MAX_TITLE + 1))


def test_summary_and_body_are_cut_so_that_a_record_fits_the_log() -> None:
    article = make(summary="s" * 10**6, body="😀" * 10**6)
    assert (len(article.summary), len(article.body)) == (MAX_SUMMARY, MAX_BODY)
    assert len(encode(article)) < 1_000_000


@pytest.mark.parametrize("source", ["", " ", "s" * 201])
def test_a_source_without_a_usable_name_is_refused(source: str) -> None:
    with pytest.raises(Refused, match="the source must have 1 to 200 characters"):
        make_article(RawItem(title="T"), source=source, fetched_at=NOW)


@pytest.mark.parametrize(
    ("published", "expected", "problem"),
    [
        ("2025-03-03T09:00:00Z", datetime(2025, 3, 3, 9, tzinfo=UTC), ""),
        (NOW.isoformat(), NOW, ""),
        (None, NOW, "missing"),
        ("", NOW, "missing"),
        ("soon", NOW, "unparseable"),
        ("0001-01-01T00:00:00", NOW, "unparseable"),
        ("99999-01-01", NOW, "unparseable"),
        ((NOW + timedelta(seconds=1)).isoformat(), NOW, "future"),
        ("9999-12-31", NOW, "future"),
    ],
)
def test_a_date_that_cannot_be_is_replaced_by_the_fetch_time(
    published: str | None, expected: datetime, problem: str
) -> None:
    made = make_article(RawItem(title="T", published=published), source="wire", fetched_at=NOW)
    assert (made.article.published_at, made.date_problem) == (expected, problem)


@pytest.mark.parametrize(
    ("configured", "stated", "kept"),
    [("en", "de", "en"), ("", "de-CH", "de-CH"), ("", "klingon!", ""), ("", "", ""), ("", "en_US", "")],
)
def test_the_configured_language_counts_before_the_stated_one(configured: str, stated: str, kept: str) -> None:
    raw = RawItem(title="T", language=stated)
    assert make_article(raw, source="wire", fetched_at=NOW, language=configured).article.language == kept
