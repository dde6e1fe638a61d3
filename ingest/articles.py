"""From what a door delivers (a feed's item, a line of a file, a pushed record) to the article that Squall keeps."""

import hashlib
import re
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct
from w3lib.url import canonicalize_url, url_query_cleaner

from bus.messages import MAX_TITLE, Article
from ingest.refusals import Refused
from ingest.text import clean_text
from ingest.times import parse_time

MAX_SUMMARY = 10_000
"""Characters of a summary that are kept."""

MAX_BODY = 100_000
"""Characters of a body that are kept: with everything else well under the 1 MB that a Kafka record may have."""

MAX_URL = 2_083
"""Longest URL that is kept, as in old browsers; a longer one is treated as missing."""

MAX_SOURCE = 200
"""Longest name of a source, in characters, as bus.messages has it."""

TRACKING = frozenset(
    ("fbclid", "gclid", "gclsrc", "dclid", "msclkid", "yclid", "twclid", "igshid", "mc_cid", "mc_eid", "cmpid", "ncid")
)
"""Query parameters that say how a reader came to a page, not which page it is; ``utm_*`` are dropped too."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}")
_HTTP = re.compile(r"(https?)://([^/?]+)(.*)", re.DOTALL)
_PARAMETER = re.compile(r"[?&;]([^=&;]+)")


class RawItem(Struct):
    """One piece of news as a door delivers it, nothing checked yet."""

    title: str = ""
    summary: str = ""
    body: str = ""
    url: str = ""
    published: object = None
    """The time that the item states, in whatever form."""
    language: str = ""


class Made(NamedTuple):
    """An article, and what was wrong with its date: ``missing``, ``unparseable``, ``future``, or nothing."""

    article: Article
    date_problem: str


def canonical_url(url: str) -> str:
    """One form for all addresses of a page; empty for what is no http or https URL.

    Lower-case host, no default port, sorted query without tracking parameters, no fragment (w3lib's canonical form).
    Applying it twice changes nothing.
    """
    url = url.strip()
    if not url or len(url) > MAX_URL:
        return ""
    try:
        url = canonicalize_url(url)
        tracking = [name for name in _PARAMETER.findall(url) if name in TRACKING or name.startswith("utm_")]
        if tracking:
            url = canonicalize_url(url_query_cleaner(url, tracking, remove=True, unique=False))
    except ValueError:
        return ""
    parts = _HTTP.fullmatch(url)
    if not parts:
        return ""
    scheme, host, rest = parts.groups()
    host = host.removesuffix(":80" if scheme == "http" else ":443")
    return f"{scheme}://{host}{rest}" if host.rpartition("@")[2] else ""


def article_id(url: str, source: str, title: str) -> str:
    """16 hexadecimal digits: the first 64 bits of sha256 over the canonical URL, else over source and title."""
    text = url or f"{source}\n{title}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_article(raw: RawItem, *, source: str, fetched_at: datetime, language: str = "", weight: float = 1.0) -> Made:
    """The article of a raw item.

    Args:
        raw: the item.
        source: the name of its source.
        fetched_at: when it came in, UTC: an article without a usable date, or with one in the future, gets this time.
        language: of the source, where it is configured; else the item's own counts.
        weight: of the source.

    Raises:
        Refused: the title is empty or too long, or the source has no usable name.
    """
    title = clean_text(raw.title, 2 * MAX_TITLE)
    if not title:
        raise Refused("title", "the title is empty")
    if len(title) > MAX_TITLE:
        length = max(len(title), len(raw.title))
        raise Refused("title", f"the title has {length} characters: no headline has more than {MAX_TITLE}")
    source = clean_text(source, MAX_SOURCE + 1)
    if not 0 < len(source) <= MAX_SOURCE:
        raise Refused("record", f"the source must have 1 to {MAX_SOURCE} characters, got {source[:40]!r}")
    published_at, problem = _published(raw.published, fetched_at)
    url = canonical_url(raw.url)
    language = language or raw.language.strip()
    article = Article(
        id=article_id(url, source, title),
        source=source,
        title=title,
        summary=clean_text(raw.summary, MAX_SUMMARY) if raw.summary else "",
        body=clean_text(raw.body, MAX_BODY) if raw.body else "",
        url=url,
        published_at=published_at,
        fetched_at=fetched_at,
        language=language if _LANGUAGE.fullmatch(language) else "",
        weight=weight,
    )
    return Made(article, problem)


def _published(stated: object, fetched_at: datetime) -> tuple[datetime, str]:
    time = parse_time(stated)
    if time is None:
        return fetched_at, "missing" if stated is None or stated == "" else "unparseable"
    return (time, "") if time <= fetched_at else (fetched_at, "future")
