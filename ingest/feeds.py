"""Reading feeds: the bytes of a response become raw items. No network, no clock, no state.

Known forms: RSS 0.9-2.0, RDF and Atom (feedparser), JSON Feed, Google News sitemaps, sitemap indexes. Anything else is
refused with a reason. Input is hostile until proven otherwise: see :func:`_text` and :func:`_check_xml`.
"""

import calendar
import io
import re
import zlib
from typing import Any, NamedTuple
from urllib.parse import urljoin
from xml.sax import SAXException

import feedparser
import msgspec
from lxml import etree  # type: ignore[import-untyped]
from w3lib.encoding import html_to_unicode

from ingest.articles import MAX_URL, RawItem
from ingest.fields import read_json
from ingest.refusals import Refused
from ingest.text import without_false_references
from ingest.times import parse_time

MAX_ITEMS = 10_000
"""Items of one feed. Google News allows 1,000 in a sitemap, EDGAR's busiest feeds hold 100; more only serve to exhaust
memory, since an empty item costs 6 bytes to send and 1 kB to hold."""

MAX_TAGS = 500_000
"""Tags of one feed: 50 for each of the most items, and 4 seconds of feedparser's time."""

MAX_FEED = 10 * 1024 * 1024
"""Bytes of a decompressed feed, for those that come as .xml.gz files; the crawler has a limit of its own before."""

_ITEM_TAG = re.compile(r"<(?:[\w.-]+:)?(?:item|entry|url|sitemap)\b")
_BARE_AMPERSAND = re.compile(r"&(?!(?:#\d+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*);)")
_DECLARATION = re.compile(r"<\?xml\s[^<>]{0,200}\?>")
_SITEMAP_ROOT = re.compile(r"<(?:[\w.-]+:)?(urlset|sitemapindex)\b")


class Feed(NamedTuple):
    """What a response holds: items, or the addresses that a sitemap index lists, newest first.

    Which of those sitemaps hold news only reading them tells.
    """

    items: list[RawItem]
    sitemaps: list[str]


def read_feed(body: bytes, url: str, content_type: str = "", kind: str = "auto") -> Feed:
    """Read the body of a response.

    Args:
        body: as it came, without any content encoding.
        url: where it came from; relative links are resolved against it.
        content_type: the response's header, for its charset.
        kind: one of ingest.sources.KINDS; all but ``auto`` insist on that form.

    Raises:
        Refused: it is none of the known forms or not the one asked for, declares XML entities, or is too large.
    """
    text = _text(body, content_type)
    start = text.lstrip()[:1]
    if start == "{" and kind in ("auto", "jsonfeed"):
        return Feed(_json_feed(text, url), [])
    if kind == "jsonfeed":
        raise Refused("not_a_feed", f"{url}: expected a JSON Feed, but the response starts with {_shown(text)}")
    # Whatever stands before the first tag is no XML: blank lines, the quote of a badly stored response.
    text = text[max(text.find("<"), 0) :]
    _check_xml(text, url)
    root = _SITEMAP_ROOT.search(text, 0, 10_000)
    if root and kind in ("auto", "sitemap"):
        return _sitemap(text[root.start() :], url)
    if kind == "sitemap":
        raise Refused("not_a_feed", f"{url}: expected a sitemap, but the response starts with {_shown(text)}")
    return Feed(_feed(text, url), [])


def _text(body: bytes, content_type: str) -> str:
    """The response as text: decompressed, decoded by byte order mark, header, XML declaration or as UTF-8.

    Decoding happens here once, so that the text which is checked is the text which is parsed: a parser that guessed an
    encoding of its own (UTF-7, say) could see declarations that the check did not.
    """
    if body[:2] == b"\x1f\x8b":
        decompressor = zlib.decompressobj(wbits=31)
        try:
            body = decompressor.decompress(body, MAX_FEED + 1)
        except zlib.error as error:
            raise Refused("not_a_feed", f"a gzip file that cannot be read: {error}") from error
        if len(body) > MAX_FEED:
            raise Refused("too_large", f"a gzip file of more than {MAX_FEED} bytes when decompressed")
    try:
        return html_to_unicode(content_type or None, body, default_encoding="utf-8")[1].removeprefix("\ufeff")
    except (LookupError, ValueError) as error:
        raise Refused("not_a_feed", f"cannot be decoded as text: {error}") from error


def _check_xml(text: str, url: str) -> None:
    # Anywhere, not only in the prolog: what a prolog is, parsers decide differently. An article that quotes the words
    # escapes the bracket.
    if "<!entity" in text.lower():
        raise Refused("entities", f"{url}: the XML declares entities, which news feeds do not need and bombs do")
    items = sum(1 for _ in _ITEM_TAG.finditer(text))
    if items > MAX_ITEMS:
        raise Refused("too_many_items", f"{url}: {items} items, more than {MAX_ITEMS}")
    tags = text.count("<")
    if tags > MAX_TAGS:
        raise Refused("too_many_items", f"{url}: {tags} tags, more than {MAX_TAGS}")


def _feed(text: str, url: str) -> list[RawItem]:
    """The entries of RSS, RDF or Atom. feedparser reads broken XML too, so its complaints are ignored."""
    declaration = _DECLARATION.match(text)
    text = without_false_references(text[declaration.end() :] if declaration else text)
    parsed = _parsed(text, url)
    if isinstance(parsed.get("bozo_exception"), SAXException):
        # The usual mistake is S&P for S&amp;P, of which feedparser's parser for broken XML makes S&P; (6.0.14).
        parsed = _parsed(_BARE_AMPERSAND.sub("&amp;", text), url)
    if not parsed.get("version"):
        raise Refused("not_a_feed", f"{url}: no RSS, Atom, RDF, JSON Feed or sitemap; it starts with {_shown(text)}")
    language = str(parsed.feed.get("language") or "")
    return [_feed_item(entry, url, language) for entry in parsed.entries]


def _parsed(text: str, url: str) -> Any:
    return feedparser.parse(
        # A stream, never bytes or text: feedparser would open what looks like a file name or a URL.
        io.BytesIO(text.encode("utf-8", "replace")),
        response_headers={"content-type": "application/xml; charset=utf-8", "content-location": url},
        resolve_relative_uris=False,  # of links inside HTML, which is stripped anyway
        sanitize_html=False,
    )


def _feed_item(entry: Any, url: str, language: str) -> RawItem:
    # "updated" falls back to "published" in feedparser; an entry's first appearance is what counts.
    stated = entry.get("published") or entry.get("updated") or entry.get("created") or None
    published: str | float | None = stated
    if stated and parse_time(stated) is None:
        # feedparser knows more forms: Korean and Greek month names, asctime.
        parsed = next((entry[key] for key in ("published_parsed", "updated_parsed") if dict.get(entry, key)), None)
        # It also reads 0000-00-00 as the year -1, for which timegm has nothing but a ValueError.
        published = float(calendar.timegm(parsed)) if parsed and 1970 <= parsed[0] <= 9999 else stated
    content = entry.get("content") or [{}]
    link = str(entry.get("link") or "").replace("&amp;", "&")
    return RawItem(
        title=str(entry.get("title") or ""),
        summary=str(entry.get("summary") or content[0].get("value") or ""),
        url=_joined(url, link),
        published=published,
        language=str(entry.get("language") or language),
    )


class _JsonFeed(msgspec.Struct):
    version: str
    items: list[Any]
    language: Any = None


def _json_feed(text: str, url: str) -> list[RawItem]:
    """The items of a JSON Feed (https://www.jsonfeed.org/version/1.1/)."""
    try:
        feed = read_json(text.encode("utf-8", "replace"), _JsonFeed)
    except (ValueError, RecursionError) as error:
        raise Refused("not_a_feed", f"{url}: JSON, but no JSON Feed: {error}") from error
    if "jsonfeed.org/version/" not in feed.version:
        raise Refused("not_a_feed", f"{url}: JSON, but no JSON Feed: its version is {feed.version[:60]!r}")
    if len(feed.items) > MAX_ITEMS:
        raise Refused("too_many_items", f"{url}: {len(feed.items)} items, more than {MAX_ITEMS}")
    return [_json_item(entry if isinstance(entry, dict) else {}, feed.language, url) for entry in feed.items]


def _json_item(entry: dict[str, Any], language: Any, url: str) -> RawItem:
    """One item; a field of the wrong type counts as missing, since it must not cost the feed its other items."""

    def first(*names: str) -> str:
        return next((text for name in names if isinstance(text := entry.get(name), str) and text), "")

    return RawItem(
        title=first("title"),
        summary=first("summary", "content_text", "content_html"),
        url=_joined(url, first("url", "external_url")),
        published=entry.get("date_published") or entry.get("date_modified"),
        language=first("language") or (language if isinstance(language, str) else ""),
    )


def _sitemap(text: str, url: str) -> Feed:
    """The news of a sitemap that starts at its root element (https://developers.google.com/search/docs/crawling-indexing/sitemaps/news-sitemap)."""
    parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True, remove_comments=True)
    root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    if root is None:
        raise Refused("not_a_feed", f"{url}: a sitemap that cannot be read as XML")
    entries = [_leaves(element) for element in root.iter("{*}url", "{*}sitemap")]
    if _name(root) == "sitemapindex":
        newest = sorted((entry for entry in entries if "loc" in entry), key=_modified, reverse=True)
        return Feed([], [_joined(url, entry["loc"]) or entry["loc"] for entry in newest])
    items = [
        RawItem(
            title=entry["title"],
            url=_joined(url, entry.get("loc", "")),
            published=entry.get("publication_date") or entry.get("lastmod"),
            language=entry.get("language", ""),
        )
        for entry in entries
        if "title" in entry
    ]
    if entries and not items:
        raise Refused("not_a_feed", f"{url}: a sitemap without <news:news>: its {len(entries)} entries have no titles")
    return Feed(items, [])


def _leaves(element: Any) -> dict[str, str]:
    """The texts under one ``<url>``, by local name; of images only the news's own title counts.

    Another entry inside this one is left to itself: reading each with all that it holds would be quadratic.
    """
    found: dict[str, str] = {}
    for child in element:
        name = _name(child)
        if name in ("news", "publication"):
            found = _leaves(child) | found
        elif child.text:
            found.setdefault(name, child.text.strip())
    return found


def _name(element: Any) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _modified(entry: dict[str, str]) -> float:
    time = parse_time(entry.get("lastmod"))
    return time.timestamp() if time else 0.0


def _joined(base: str, link: str) -> str:
    link = link.strip()
    if not link or len(link) > MAX_URL:  # which Python's cache of URLs would keep, however long
        return ""
    try:
        return urljoin(base, link)
    except ValueError:  # a bracket that opens no IPv6 address
        return ""


def _shown(text: str) -> str:
    return repr(text.strip()[:40]) if text.strip() else "nothing"
