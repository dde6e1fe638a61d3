"""The crawler against real web servers: what it reads, what it refuses, how it behaves.

Two crawls serve most tests: one looks at every source once, the other runs for some seconds.
"""

import gzip
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from bus.embedded import EmbeddedLog
from bus.messages import Article
from tests.ingest.conftest import FEEDS, Website, answer, articles_on
from tests.ingest.crawling import PUBLIC, Crawl, run_crawl

RSS = (FEEDS / "rss.xml").read_bytes()
MAX_BODY = 1 << 20


def feed(*links: str) -> bytes:
    """A feed with an item for each link, titled by it."""
    items = "".join(f"<item><title>About {link}</title><link>{link}</link></item>" for link in links)
    return f"<rss version='2.0'><channel><title>t</title>{items}</channel></rss>".encode()


def redirect(location: str) -> Any:
    return answer(b"", 302, {"Location": location})


def endless(request: BaseHTTPRequestHandler) -> None:
    """Twice the largest body, without saying how much."""
    request.send_response(200)
    request.end_headers()
    for _ in range(32):
        request.wfile.write(b" " * (MAX_BODY // 16))


def hanging(request: BaseHTTPRequestHandler) -> None:
    time.sleep(20)


def source(name: str, url: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "url": url, "allow_private": True, **fields}


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


class Running:
    """A crawl of some seconds that is stopped while a download hangs."""

    def __init__(self, folder: Path) -> None:
        self.site = Website()
        pages = self.site.pages
        pages["/etag"] = self._conditional("ETag", '"v1"', "If-None-Match")
        pages["/dated"] = self._conditional("Last-Modified", "Mon, 03 Mar 2025 09:00:00 GMT", "If-Modified-Since")
        pages["/plain"] = answer(RSS)
        pages["/growing"] = self._growing
        pages["/untitled"] = self._untitled
        pages["/busy"] = answer(b"", 429, {"Retry-After": "3600"})
        pages["/failing"] = answer(b"", 404)
        pages["/hanging"] = hanging
        names = ("etag", "dated", "plain", "growing", "untitled", "busy", "failing", "hanging")
        sources = [source(name, f"{self.site.url}/{name}", interval=0.5) for name in names]
        self.crawl: Crawl = run_crawl(folder / "log.db", sources, seconds=3.5)

    @staticmethod
    def _conditional(header: str, value: str, condition: str) -> Any:
        def page(request: BaseHTTPRequestHandler) -> None:
            unchanged = request.headers.get(condition) == value
            answer(b"" if unchanged else feed("http://a.example/1"), 304 if unchanged else 200, {header: value})(
                request
            )

        return page

    def _growing(self, request: BaseHTTPRequestHandler) -> None:
        looks = len(self.site.requests("/growing"))
        answer(feed(*(f"http://growing.example/{i}" for i in range(looks))))(request)

    def _untitled(self, request: BaseHTTPRequestHandler) -> None:
        """New items at each look, one without title among them and from the third look on two."""
        looks = len(self.site.requests("/untitled"))
        items = [*(f"<title>Look {look}</title>" for look in range(looks)), ""] + [""] * (looks > 2)
        body = "".join(f"<item>{item}</item>" for item in items)
        answer(f"<rss version='2.0'><channel>{body}</channel></rss>".encode())(request)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("running"))
    yield running
    running.site.close()


@pytest.mark.parametrize(("name", "condition"), [("etag", "if-none-match"), ("dated", "if-modified-since")])
def test_a_source_is_asked_only_for_what_has_changed(running: Running, name: str, condition: str) -> None:
    requests = running.site.requests(f"/{name}")
    assert len(requests) >= 3
    assert condition not in requests[0]
    assert all(condition in headers for headers in requests[1:])
    results = [look.result for look in running.crawl.of(name)]
    assert results == ["ok"] + ["unchanged"] * (len(results) - 1)
    assert len(requests) - len(results) in (0, 1), "the end may have cut the last one off"


def test_an_answer_that_is_the_same_as_before_is_not_read_again(running: Running) -> None:
    results = [look.result for look in running.crawl.of("plain")]
    assert results[0] == "ok"
    assert set(results[1:]) == {"unchanged"}
    assert running.crawl.samples["squall_ingest_duplicates_total{plain}"] == 0


def test_new_items_of_a_growing_feed_are_published_once(running: Running) -> None:
    looks = running.crawl.of("growing")
    assert len(looks) >= 3
    assert [look.published for look in looks] == [1] * len(looks)
    assert running.crawl.samples["squall_ingest_articles_total{growing}"] == len(looks)


def test_refused_items_are_said_again_only_when_their_number_changes(running: Running) -> None:
    assert len(running.crawl.of("untitled")) >= 3
    said = [line.partition(" items")[0] for line in running.crawl.warnings if line.startswith("source untitled")]
    assert said == ["source untitled: 1 of 2", "source untitled: 2 of 5"]


def test_a_server_that_asks_to_be_left_alone_is(running: Running) -> None:
    (look,) = running.crawl.of("busy")
    assert (look.result, look.retry_after) == ("http_error", 3_600)
    assert len(running.site.requests("/busy")) == 1


def test_a_failing_source_is_looked_at_less_often(running: Running) -> None:
    assert 2 <= len(running.site.requests("/failing")) < len(running.site.requests("/plain"))


def test_staleness_counts_from_the_last_success(running: Running) -> None:
    staleness = {
        name: running.crawl.samples[f"squall_crawl_staleness_seconds{{{name}}}"] for name in ("plain", "failing")
    }
    assert staleness["plain"] < 1.5 < 3 < staleness["failing"]


def test_stopping_does_not_wait_for_a_download_that_hangs(running: Running) -> None:
    assert running.crawl.stop_seconds < 5
    assert running.crawl.of("hanging") == []


def test_memory_stays_small_and_heavy_modules_out(running: Running) -> None:
    assert running.crawl.megabytes < 200
    assert running.crawl.modules == []


def test_what_was_fetched_but_not_published_before_a_crash_is_published_after_it(tmp_path: Path) -> None:
    site = Website()
    site.pages["/etag"] = Running._conditional("ETag", '"v1"', "If-None-Match")
    sources = [source("etag", f"{site.url}/etag")]
    assert run_crawl(tmp_path / "log.db", sources, crash=True).status == 9
    again = run_crawl(tmp_path / "log.db", sources)
    assert again.of("etag")[0].published == 1
    assert run_crawl(tmp_path / "log.db", sources).of("etag")[0].published == 0
    site.close()


def test_a_full_disk_is_waited_for_and_nothing_is_lost(tmp_path: Path) -> None:
    site = Website()
    site.pages["/rss"] = answer(RSS)
    crawl = run_crawl(tmp_path / "log.db", [source("rss", f"{site.url}/rss")], full=2)
    assert crawl.of("rss")[0].published == 2
    assert crawl.samples["squall_ingest_log_waits_total{}"] == 2
    site.close()


def test_a_crawler_that_waits_for_a_full_disk_can_be_stopped(tmp_path: Path) -> None:
    site = Website()
    site.pages["/rss"] = answer(RSS)
    crawl = run_crawl(tmp_path / "log.db", [source("rss", f"{site.url}/rss", interval=0.5)], seconds=1.5, full=1_000)
    assert crawl.stop_seconds < 5
    assert len(site.requests("/rss")) == 1
    site.close()
