"""The crawler against real web servers, one look at each source: what it reads and what it refuses."""

import gzip
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from bus.embedded import EmbeddedLog
from bus.messages import Article
from tests.ingest.conftest import FEEDS, Website, answer, articles_on
from tests.ingest.crawling import PUBLIC, RSS, Crawl, feed, run_crawl, source

MAX_BODY = 1 << 20


def redirect(location: str) -> Any:
    return answer(b"", 302, {"Location": location})


def endless(request: BaseHTTPRequestHandler) -> None:
    """Twice the largest body, without saying how much."""
    request.send_response(200)
    request.end_headers()
    for _ in range(32):
        request.wfile.write(b" " * (MAX_BODY // 16))


def index(*sitemaps: str) -> bytes:
    """A sitemap index, newest first."""
    entries = "".join(f"<sitemap><loc>{each}</loc></sitemap>" for each in sitemaps)
    return f"<sitemapindex xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>{entries}</sitemapindex>".encode()


class Once:
    """One look at each source, and what came of it."""

    def __init__(self, folder: Path) -> None:
        self.private, self.public = Website(), Website(PUBLIC)
        self.log = folder / "log.db"
        self._build_private()
        self._build_public()
        sources = self.private_sources() + self.public_sources()
        self.crawl: Crawl = run_crawl(self.log, sources, names={"rebind.example": [PUBLIC, "127.0.0.1"]})

    def articles(self, name: str) -> list[Article]:
        with EmbeddedLog(self.log) as log:
            return [article for article in articles_on(log) if article.source == name]

    def result(self, name: str) -> tuple[str, str]:
        (look,) = self.crawl.of(name)
        return look.result, look.detail

    def close(self) -> None:
        self.private.close()
        self.public.close()

    def _build_private(self) -> None:
        pages = self.private.pages
        pages["/robots.txt"] = answer(b"User-agent: Squall\nDisallow: /forbidden\n\nUser-agent: *\nDisallow:\n")
        # Addresses of its own: the other pages give the same articles, and whichever comes first publishes them.
        pages["/rss"] = answer(
            RSS.replace(b"harbour.example", b"rss.example"), headers={"Content-Type": "application/rss+xml"}
        )
        pages["/gzip"] = answer(gzip.compress(RSS), headers={"Content-Encoding": "gzip"})
        pages["/index"] = answer(
            (FEEDS / "sitemap-index.xml").read_bytes().replace(b"https://paper.example", self.private.url.encode())
        )
        here = self.private.url
        bad = ("ftp://paper.example/old.xml", f"{here}/pages.xml", f"{here}/gone", f"{here}/forbidden1")
        pages["/mixed"] = answer(index(*bad, f"{here}/today.xml"))
        pages["/no-news"] = answer(index(f"{here}/pages.xml", "file:///etc/passwd", f"{here}/mixed"))
        pages["/pages.xml"] = answer((FEEDS / "plain-sitemap.xml").read_bytes())
        pages["/today.xml"] = answer((FEEDS / "news-sitemap.xml").read_bytes())
        for hop in range(12):
            pages[f"/hop{hop}"] = redirect(f"/hop{hop + 1}")
        pages["/hop12"] = answer(RSS)
        pages["/to-ftp"] = redirect("ftp://a.example/feed")
        pages["/to-file"] = redirect("file:///etc/passwd")
        pages["/long"] = answer(b" " * (MAX_BODY + 1))
        pages["/endless"] = endless
        pages["/gzip-bomb"] = answer(gzip.compress(b" " * (50 * MAX_BODY)), headers={"Content-Encoding": "gzip"})
        pages["/deflate-bomb"] = answer(zlib.compress(b" " * (50 * MAX_BODY)), headers={"Content-Encoding": "deflate"})
        pages["/no-gzip"] = answer(b"plain text", headers={"Content-Encoding": "gzip"})
        pages["/laughs"] = answer((FEEDS / "laughs.xml").read_bytes())
        pages["/page"] = answer((FEEDS / "page.html").read_bytes())
        pages["/gone"] = answer(b"", 410)
        pages["/forbidden1"] = pages["/forbidden2"] = pages["/forbidden3"] = answer(RSS)

    def private_sources(self) -> list[dict[str, Any]]:
        names = (
            "rss gzip index mixed no-news hop2 hop1 to-ftp to-file long endless gzip-bomb deflate-bomb no-gzip laughs"
            " page gone missing forbidden1 forbidden2 forbidden3"
        )
        sources = [source(name, f"{self.private.url}/{name}") for name in names.split()]
        return [*sources, source("nobody", "http://127.0.0.1:9/feed")]

    def _build_public(self) -> None:
        pages, inside = self.public.pages, self.private.url
        pages["/feed"] = answer(feed(f"{self.public.url}/article", f"{inside}/secret", "ftp://a.example/x"))
        article = "<html><body><nav>Menu</nav><article><h1>News</h1><p>{}</p></article></body></html>"
        pages["/article"] = answer(
            article.format("The bank said on Monday that it would not pay a dividend this year. " * 5).encode(),
            headers={"Content-Type": "text/html"},
        )
        pages["/to-private"] = redirect(f"{inside}/secret")
        self.private.pages["/secret"] = answer(RSS)
        self.public.pages["/rebound"] = self.private.pages["/rebound"] = answer(RSS)

    def public_sources(self) -> list[dict[str, Any]]:
        port = self.private.port
        urls = {
            "literal": f"http://127.0.0.1:{port}/secret",
            "decimal": f"http://2130706433:{port}/secret",
            "short": f"http://127.1:{port}/secret",
            "ipv6": f"http://[::1]:{port}/secret",
            "mapped": f"http://[::ffff:127.0.0.1]:{port}/secret",
            "name": f"http://localhost:{port}/secret",
            "rebinding": f"http://rebind.example:{self.public.port}/rebound",
            "redirected": f"{self.public.url}/to-private",
        }
        sources = [source(name, url, allow_private=False) for name, url in urls.items()]
        return [*sources, source("bodies", f"{self.public.url}/feed", allow_private=False, body=True)]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Once]:
    once = Once(tmp_path_factory.mktemp("once"))
    yield once
    once.close()


def test_a_feed_becomes_articles(once: Once) -> None:
    assert once.crawl.of("rss")[0].items == 2
    first = next(article for article in once.articles("rss") if "Crane" in article.title)
    assert first.title == "Crane & Sons halts dividend after loss"
    assert (first.summary, first.language) == ("The maker of cranes lost £12m.", "en-gb")
    assert first.url == "https://rss.example/crane?id=7"
    assert first.published_at.isoformat() == "2025-03-03T09:15:00+00:00"
    assert once.crawl.samples["squall_ingest_refused_total{title}"] > 0


def test_compressed_feeds_and_sitemap_indexes_are_read(once: Once) -> None:
    assert once.crawl.of("gzip")[0].items == 2
    assert once.crawl.of("index")[0].items == 1


def test_a_sitemap_that_cannot_be_read_costs_the_others_of_its_index_nothing(once: Once) -> None:
    (look,) = once.crawl.of("mixed")
    assert (look.result, look.items) == ("ok", 1)
    text = "source mixed: 4 of 5 sitemaps cannot be used, the first: ftp://paper.example/old.xml: expected an address"
    assert [line for line in once.crawl.warnings if line.startswith(text)] == [
        f"{text} that starts with http:// or https://"
    ]


def test_an_index_of_which_no_sitemap_can_be_read_is_refused_as_its_first_one_is(once: Once) -> None:
    detail = f"{once.private.url}/pages.xml: a sitemap without <news:news>: its 1 entries have no titles"
    assert once.result("no-news") == ("refused", detail)


def test_the_items_that_are_refused_are_said_in_one_line(once: Once) -> None:
    said = [line for line in once.crawl.warnings if line.startswith("source rss: ")]
    first = "'https://rss.example/untitled': the title is empty"
    assert said == [f"source rss: 1 of 3 items cannot be used, the first: {first}"]


def test_what_may_take_long_keeps_no_other_source_waiting(once: Once) -> None:
    assert once.crawl.in_reactor == []


def test_up_to_ten_redirects_are_followed(once: Once) -> None:
    assert once.result("hop2") == ("ok", "")
    assert once.result("hop1") == ("refused", f"{once.private.url}/hop11: more than 10 redirects")


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("to-ftp", "a redirect to 'ftp://a.example/feed'"),
        ("to-file", "a redirect to 'file:///etc/passwd'"),
        ("long", "the response is too large"),
        ("endless", "the response is too large"),
        ("gzip-bomb", "the response is too large decompressed"),
        ("deflate-bomb", "the response is too large decompressed"),
        ("no-gzip", "cannot be decompressed: Not a gzipped file (b'pl')"),
        ("laughs", "the XML declares entities, which news feeds do not need and bombs do"),
        ("page", "no RSS, Atom, RDF, JSON Feed or sitemap; it starts with '<!DOCTYPE html><html><head><title>Not a '"),
    ],
)
def test_hostile_responses_are_refused(once: Once, name: str, detail: str) -> None:
    assert once.result(name) == ("refused", f"{once.private.url}/{name}: {detail}")


@pytest.mark.parametrize("name", ["literal", "decimal", "short", "ipv6", "mapped", "name", "rebinding", "redirected"])
def test_private_addresses_are_refused_before_anything_is_asked_of_them(once: Once, name: str) -> None:
    result, detail = once.result(name)
    assert result == "refused"
    assert "which is not a public address; allow_private: true permits it" in detail
    assert once.private.requests("/secret") == once.private.requests("/rebound") == []


def test_a_source_that_may_reach_private_addresses_lends_that_to_no_other(once: Once) -> None:
    assert once.result("rss")[0] == "ok"
    assert once.result("literal")[0] == "refused"


def test_refusals_are_counted_by_reason(once: Once) -> None:
    counted = {
        reason: once.crawl.samples[f"squall_ingest_refused_total{{{reason}}}"]
        for reason in ("private_address", "too_large", "redirects", "scheme", "entities", "not_a_feed")
    }
    # private_address: eight sources, and the page of one article.
    assert counted == {
        "private_address": 9,
        "too_large": 4,
        "redirects": 1,
        "scheme": 4,  # two redirects, two sitemaps of an index
        "entities": 1,
        "not_a_feed": 5,  # two sources, two sitemaps without news, an index in an index
    }


def test_robots_txt_is_obeyed_also_by_sources_that_ask_at_the_same_time(once: Once) -> None:
    for name in ("forbidden1", "forbidden2", "forbidden3"):
        assert once.result(name) == ("robots", f"{once.private.url}/{name}: robots.txt forbids it")
        assert once.private.requests(f"/{name}") == []
    assert len(once.private.requests("/robots.txt")) == 1


def test_errors_of_servers_have_names(once: Once) -> None:
    assert once.result("gone") == ("http_error", f"{once.private.url}/gone: HTTP 410")
    assert once.result("missing") == ("http_error", f"{once.private.url}/missing: HTTP 404")
    assert once.result("nobody")[0] == "unreachable"


def test_bodies_come_from_the_articles_pages_where_those_can_be_had(once: Once) -> None:
    assert once.result("bodies") == ("ok", "")
    bodies = {article.url: article.body for article in once.articles("bodies")}
    assert bodies[f"{once.public.url}/article"].startswith("News The bank said on Monday that it would not pay")
    assert "Menu" not in bodies[f"{once.public.url}/article"]
    assert bodies[f"{once.private.url}/secret"] == ""
    assert bodies[""] == ""


def test_requests_name_squall_and_carry_no_cookies(once: Once) -> None:
    headers = once.private.requests("/rss")[0]
    assert headers["user-agent"] == "Squall/test (+https://squall.example)"
    assert not {"cookie", "referer"} & set(headers)


def test_every_look_is_counted(once: Once) -> None:
    samples = once.crawl.samples
    assert samples["squall_crawl_results_total{rss,ok}"] == 1
    assert samples["squall_crawl_results_total{gone,http_error}"] == 1
    assert samples["squall_ingest_articles_total{rss}"] + samples["squall_ingest_duplicates_total{rss}"] == 2
