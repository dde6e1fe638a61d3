"""The spider: one task for each source that looks, reads, publishes and sleeps, for as long as the process runs."""

import asyncio
import hashlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec
from scrapy import Request, Spider
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    ResponseDataLossError,
)
from scrapy.http import Response, TextResponse

from bus.errors import LogError
from bus.messages import utcnow
from ingest.articles import MAX_BODY, Made, make_article
from ingest.crawler.bodies import body_text
from ingest.crawler.downloads import PERMIT, Permit, RefusedDownload, RobotsForbidden
from ingest.crawler.pacing import next_look, retry_after_seconds
from ingest.feeds import Feed, read_feed
from ingest.metrics import IngestMetrics
from ingest.publisher import Published, Stopped
from ingest.refusals import Refused
from ingest.sources import Source
from ingest.text import clean_text

MAX_SITEMAPS = 5
"""Sitemaps of an index that are read, newest first: news is in the newest, and archives go back for decades."""

MAX_PAGES = 30
"""Article pages fetched in one look, so that a feed's first does not ask for all of them. The rest go without body."""

HELD = 16
"""Responses in transfer or in memory at a time, over all sources: with the largest allowed, 160 MB."""

READERS = 1
"""Threads that read feeds. What a parser builds is 20 times the size of the feed, and parsers hold the interpreter's
lock anyway: a second thread costs 30 MB and gains nothing."""

_UNREACHABLE = (
    CannotResolveHostError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    ResponseDataLossError,
    OSError,
)

_FAILURES = ("refused", "robots", "http_error", "timeout", "unreachable", "error")

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Where articles go: :class:`ingest.publisher.Publisher`, or something that only counts."""

    def publish(self, made: Sequence[Made], label: str) -> Published: ...
    def new(self, made: Sequence[Made]) -> list[Made]: ...


class Look(NamedTuple):
    """What became of one look at a source."""

    result: str
    """One of ingest.metrics.RESULTS."""
    detail: str = ""
    items: int = 0
    published: int = 0
    retry_after: float = 0.0


class Known(NamedTuple):
    """What identifies the version of a source that was published last."""

    etag: bytes = b""
    modified: bytes = b""
    digest: bytes = b""


UNKNOWN = Known()


class HttpError(Exception):
    """Raised when a server answers with an error; ``retry_after`` is what it asks for, in seconds."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"{response.url}: HTTP {response.status}")
        self.retry_after = retry_after_seconds(_header(response, "Retry-After").decode("latin-1"), utcnow())


class NewsSpider(Spider):
    """Looks at sources again and again.

    Args:
        sources: the sources.
        sink: where articles go.
        metrics: where looks are counted.
        once: look at each source once and end.
        report: called with each look.
    """

    name = "news"

    def __init__(
        self,
        sources: Sequence[Source],
        sink: Sink,
        metrics: IngestMetrics,
        once: bool = False,
        report: Callable[[Source, Look], None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.failure: BaseException | None = None
        self._sources = sources
        self._sink = sink
        self._metrics = metrics
        self._once = once
        self._report = report
        self._known: dict[str, Known] = {}
        self._said: dict[tuple[str, str], tuple[int, str]] = {}
        """How many of a source's items or sitemaps were turned away at its last look, and why the first was."""
        self._free = asyncio.Semaphore(HELD)
        self._readers = ThreadPoolExecutor(READERS, "feeds")

    async def start(self) -> AsyncIterator[Any]:
        """Watch all sources until the crawler is stopped; yields nothing, since each source fetches for itself."""
        try:
            async with asyncio.TaskGroup() as group:
                for source in self._sources:
                    group.create_task(self._watch(source))
        except* Exception as group_error:
            self.failure = group_error.exceptions[0]
        finally:
            self._readers.shutdown(wait=False, cancel_futures=True)
        return
        yield

    async def _watch(self, source: Source) -> None:
        self._metrics.watch(source.name)
        failures, before = 0, ""
        while True:
            try:
                look = await self._look(source)
            except Stopped:
                return
            self._metrics.results.labels(source.name, look.result).inc()
            failures = failures + 1 if look.result in _FAILURES else 0
            if not failures:
                self._metrics.read_now(source.name)
            wait = next_look(source.interval, failures, look.retry_after, random.uniform(-1, 1))
            if failures and look.result != before:
                _log.warning("source %s: %s; looking again in %.0f s", source.name, look.detail, wait)
            elif not failures and before in _FAILURES:
                _log.info("source %s: read again", source.name)
            before = look.result
            if self._report:
                self._report(source, look)
            if self._once:
                return
            await asyncio.sleep(wait)

    async def _look(self, source: Source) -> Look:
        """One look. Raises Stopped and LogError; everything that a source can do wrong is in the answer."""
        permit = Permit(self._free)
        try:
            return await self._read(source, permit)
        except (Stopped, LogError):
            raise
        except Exception as error:
            return self._failed(source, source.url, error)
        finally:
            permit.give_back()

    def _failed(self, source: Source, url: str, error: Exception) -> Look:
        """What a failure makes of a look; counts what was refused."""
        if isinstance(error, Refused):
            self._metrics.refused.labels(error.reason).inc()
            return Look("refused", str(error))
        if isinstance(error, RobotsForbidden):
            return Look("robots", str(error))
        if isinstance(error, HttpError):
            return Look("http_error", str(error), retry_after=error.retry_after)
        if isinstance(error, DownloadTimeoutError):
            return Look("timeout", str(error))
        if isinstance(error, _UNREACHABLE):
            return Look("unreachable", f"{url}: {str(error) or type(error).__name__}")
        _log.error("source %s: %s", source.name, url, exc_info=error)
        return Look("error", f"{url}: {error!r}")

    async def _read(self, source: Source, permit: Permit) -> Look:
        known = self._known.get(source.name, UNKNOWN)
        response = await self._fetch(source.url, permit, known)
        if response.status == 304:
            return Look("unchanged")
        digest = hashlib.blake2b(response.body, digest_size=16).digest()
        if digest == known.digest:
            return Look("unchanged")
        feed = await self._feed_of(response, source)
        if feed.sitemaps and (failure := await self._add_children(feed, source, permit)):
            return failure
        made, refusals = await self._in_reader(partial(_articles, feed, source))
        for reason, _ in refusals:
            self._metrics.refused.labels(reason).inc()
        self._say(source, "items", refusals, len(feed.items))
        published = await self._publish(made, source, permit)
        if not feed.sitemaps:
            # Only now: had we stopped before publishing, the next look must see the whole response again.
            self._known[source.name] = Known(_header(response, "ETag"), _header(response, "Last-Modified"), digest)
        return Look("ok", items=len(made), published=published)

    async def _add_children(self, feed: Feed, source: Source, permit: Permit) -> Look | None:
        """Add the items of an index's newest sitemaps; when none of them can be read, what became of the first."""
        addresses = feed.sitemaps[:MAX_SITEMAPS]
        failed: list[Look] = []
        for address in addresses:
            try:
                child = await self._feed_of(await self._fetch(address, permit), source)
                if child.sitemaps:
                    raise Refused("not_a_feed", f"{address}: a sitemap index inside another")
                feed.items.extend(child.items)
            except Exception as error:
                failed.append(self._failed(source, address, error))
        if len(failed) == len(addresses):
            return failed[0]
        self._say(source, "sitemaps", [(look.result, look.detail) for look in failed], len(addresses))
        return None

    def _say(self, source: Source, what: str, turned_away: Sequence[tuple[str, str]], of: int) -> None:
        """Warn about a source's items or sitemaps that are of no use, unless it is as it was at the last look.

        Args:
            turned_away: the reason and the explanation for each of them.
        """
        state = (len(turned_away), turned_away[0][0] if turned_away else "")
        if turned_away and self._said.get((source.name, what)) != state:
            text = "source %s: %d of %d %s cannot be used, the first: %s"
            _log.warning(text, source.name, len(turned_away), of, what, turned_away[0][1])
        self._said[source.name, what] = state

    async def _fetch(self, url: str, permit: Permit, known: Known = UNKNOWN) -> Response:
        """The answer of a server, 2xx or 304. Raises HttpError, Refused, and what Scrapy does."""
        if url.partition("://")[0].lower() not in ("http", "https"):
            raise RefusedDownload("scheme", f"{url[:200]}: expected an address that starts with http:// or https://")
        headers = {"If-None-Match": known.etag, "If-Modified-Since": known.modified}
        stated = {name: value for name, value in headers.items() if value}
        request = Request(url, headers=stated, meta={PERMIT: permit}, dont_filter=True)
        response = await self.crawler.engine.download_async(request)
        if not 200 <= response.status < 300 and response.status != 304:
            raise HttpError(response)
        return response

    async def _feed_of(self, response: Response, source: Source) -> Feed:
        """Read a response, in a thread: 10 MB of XML take seconds, during which other sources go on."""
        content_type = _header(response, "Content-Type").decode("latin-1")
        return await self._in_reader(partial(read_feed, response.body, response.url, content_type, source.kind))

    async def _in_reader(self, read: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, read)

    async def _publish(self, made: list[Made], source: Source, permit: Permit) -> int:
        published = 0
        if source.body:
            new = await asyncio.to_thread(self._sink.new, made)  # it may wait for the log, behind whoever writes
            pages = [each for each in new if each.article.url][:MAX_PAGES]
            for each in pages:
                permit.give_back()  # pages wait for their hosts' throttle, and meanwhile other sources may go
                body = await self._body(each.article.url, permit)
                full = each._replace(article=msgspec.structs.replace(each.article, body=body))
                published += (await asyncio.to_thread(self._sink.publish, [full], source.name)).published
            done = {each.article.id for each in pages}
            made = [each for each in made if each.article.id not in done]
        return published + (await asyncio.to_thread(self._sink.publish, made, source.name)).published

    async def _body(self, url: str, permit: Permit) -> str:
        """The text of an article's page; empty when the page cannot be had: its headline is news all the same."""
        try:
            response = await self._fetch(url, permit)
        except Refused as error:
            self._metrics.refused.labels(error.reason).inc()
            return ""
        except Exception as error:
            _log.debug("%s: no body: %s", url, error)
            return ""
        if not isinstance(response, TextResponse):
            return ""
        return await asyncio.to_thread(_page_text, response)


def _articles(feed: Feed, source: Source) -> tuple[list[Made], list[tuple[str, str]]]:
    """The articles of a feed, and for each item that is none its reason and the explanation."""
    now = utcnow()
    made: list[Made] = []
    refusals: list[tuple[str, str]] = []
    for raw in feed.items:
        try:
            article = make_article(
                raw, source=source.name, fetched_at=now, language=source.language, weight=source.weight
            )
            made.append(article)
        except Refused as error:
            refusals.append((error.reason, f"{raw.url[:200]!r}: {error}" if raw.url else str(error)))
    return made, refusals


def _page_text(response: TextResponse) -> str:
    try:
        return clean_text(body_text(response.text, response.url), MAX_BODY)
    except Exception as error:
        _log.warning("%s: no body can be read from the page: %r", response.url, error)
        return ""


def _header(response: Response, name: str) -> bytes:
    return response.headers.get(name) or b""
