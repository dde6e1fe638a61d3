"""A crawler that runs: what it asks for again, how it waits, how it stops, and what a crash or a full disk costs."""

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.conftest import Website, answer
from tests.ingest.crawling import RSS, Crawl, feed, run_crawl, source


def hanging(request: BaseHTTPRequestHandler) -> None:
    time.sleep(20)


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
