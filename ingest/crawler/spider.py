"""The spider: one task for each source that looks, reads, publishes and sleeps, for as long as the process runs."""

import asyncio
import hashlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

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
from ingest.articles import MAX_BODY, Made, RawItem, make_article
from ingest.crawler.bodies import body_text
from ingest.crawler.downloads import PERMIT, Permit, RobotsForbidden
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
        self._said: dict[str, str] = {}
        """What was logged last about refused items, by source: said again only when it changes."""
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
        except Refused as error:
            self._metrics.refused.labels(error.reason).inc()
            return Look("refused", str(error))
        except RobotsForbidden as error:
            return Look("robots", str(error))
        except DownloadTimeoutError as error:
            return Look("timeout", str(error))
        except (
            CannotResolveHostError,
            DownloadConnectionRefusedError,
            DownloadFailedError,
            ResponseDataLossError,
            OSError,
        ) as error:
            return Look("unreachable", f"{source.url}: {error or type(error).__name__}")
        except (Stopped, LogError):
            raise
        except Exception as error:
            _log.exception("source %s", source.name)
            return Look("error", f"{source.url}: {error!r}")
        finally:
            permit.give_back()

    async def _read(self, source: Source, permit: Permit) -> Look:
        known = self._known.get(source.name, UNKNOWN)
        response = await self._fetch(source.url, permit, known)
        if response.status == 304:
            return Look("unchanged")
        if not 200 <= response.status < 300:
            retry_after = retry_after_seconds(_header(response, "Retry-After").decode("latin-1"), utcnow())
            return Look("http_error", f"{source.url}: HTTP {response.status}", retry_after=retry_after)
        digest = hashlib.blake2b(response.body, digest_size=16).digest()
        if digest == known.digest:
            return Look("unchanged")
        feed = await self._feed_of(response, source)
        if feed.sitemaps:
            feed.items.extend(await self._children(feed.sitemaps[:MAX_SITEMAPS], source, permit))
        made = await self._in_reader(partial(self._articles, feed, source))
        published = await self._publish(made, source, permit)
        if not feed.sitemaps:
            # Only now: had we stopped before publishing, the next look must see the whole response again.
            self._known[source.name] = Known(_header(response, "ETag"), _header(response, "Last-Modified"), digest)
        return Look("ok", items=len(made), published=published)

    async def _children(self, addresses: Sequence[str], source: Source, permit: Permit) -> list[RawItem]:
        """The items of a sitemap index's newest sitemaps; one that cannot be read costs the others nothing.

        Raises:
            Refused: none of them could be read; the first one's reason.
        """
        items: list[RawItem] = []
        refusals: list[Refused] = []
        for address in addresses:
            try:
                if urlsplit(address).scheme not in ("http", "https"):
                    raise Refused("scheme", f"{source.url}: a sitemap at {address[:100]!r}")
                child = await self._fetch(address, permit)
                if child.status == 200:
                    items += (await self._feed_of(child, source)).items
            except Refused as error:
                refusals.append(error)
        if refusals and len(refusals) == len(addresses):
            raise refusals[0]
        for refusal in refusals:
            self._metrics.refused.labels(refusal.reason).inc()
        return items

    async def _fetch(self, url: str, permit: Permit, known: Known = UNKNOWN) -> Response:
        headers = {"If-None-Match": known.etag, "If-Modified-Since": known.modified}
        stated = {name: value for name, value in headers.items() if value}
        request = Request(url, headers=stated, meta={PERMIT: permit}, dont_filter=True)
        return await self.crawler.engine.download_async(request)

    async def _feed_of(self, response: Response, source: Source) -> Feed:
        """Read a response, in a thread: 10 MB of XML take seconds, during which other sources go on."""
        content_type = _header(response, "Content-Type").decode("latin-1")
        return await self._in_reader(partial(read_feed, response.body, response.url, content_type, source.kind))

    async def _in_reader(self, read: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, read)

    def _articles(self, feed: Feed, source: Source) -> list[Made]:
        now = utcnow()
        made: list[Made] = []
        refusals: list[Refused] = []
        for raw in feed.items:
            try:
                article = make_article(
                    raw, source=source.name, fetched_at=now, language=source.language, weight=source.weight
                )
            except Refused as error:
                self._metrics.refused.labels(error.reason).inc()
                refusals.append(error)
            else:
                made.append(article)
        said = f"{len(refusals)} of its items are refused, the first: {refusals[0]}" if refusals else ""
        if said and said != self._said.get(source.name):
            _log.warning("source %s: %s", source.name, said)
        self._said[source.name] = said
        return made

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
        if response.status != 200 or not isinstance(response, TextResponse):
            return ""
        try:
            text = await asyncio.to_thread(body_text, response.text, url)
        except Exception as error:
            _log.warning("%s: no body can be read from the page: %r", url, error)
            return ""
        return clean_text(text, MAX_BODY)


def _header(response: Response, name: str) -> bytes:
    return response.headers.get(name) or b""
