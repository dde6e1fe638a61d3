"""Scrapy's download handler and middlewares with our refusals: each piece turns one thing away and says why."""

import asyncio
import time

from scrapy import Request, Spider
from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.downloadermiddlewares.redirect import RedirectMiddleware
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import CannotResolveHostError, DownloadCancelledError, IgnoreRequest
from scrapy.http import Response
from scrapy.robotstxt import RobotParser
from scrapy.utils.httpobj import urlparse_cached

from ingest.crawler.addresses import Guard, guard
from ingest.refusals import Refused

ALLOW_PRIVATE = "SQUALL_ALLOW_PRIVATE"
"""The Scrapy setting that lets a crawler reach private addresses."""

ROBOTS_SECONDS = 86_400.0
"""Age at which robots.txt is read again: RFC 9309 section 2.4 allows a day; Scrapy alone would keep it for ever."""


PERMIT = "squall_permit"
"""The key of a request's meta that holds its :class:`Permit`; requests for robots.txt have none."""


class Permit:
    """The right to hold a response in memory, taken when its transfer starts and kept until it is published.

    Not when the request is made: one that waits for its host's throttle must not keep other hosts' from going.
    """

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free = free
        self._held = False

    async def take(self) -> None:
        """Wait for a free permit; nothing when this one is held already, as after a redirect."""
        if not self._held:
            await self._free.acquire()
            self._held = True

    def give_back(self) -> None:
        """Let go of it."""
        if self._held:
            self._held = False
            self._free.release()


class RefusedDownload(Refused, IgnoreRequest):
    """Raised when a download is turned away; as an IgnoreRequest it is not retried."""


class RobotsForbidden(IgnoreRequest):
    """Raised when robots.txt forbids a page."""


class GuardedDownloadHandler(HTTP11DownloadHandler):
    """Downloads only from allowed addresses, and only so many bytes."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._allow_private = crawler.settings.getbool(ALLOW_PRIVATE)
        # Every request makes a connection of its own, so that every request is checked. Between two looks a pooled one
        # would have died anyway, and Twisted takes those of HTTP/1.0 servers for alive.
        self._pool.persistent = False

    async def download_request(self, request: Request) -> Response:
        """Download as Scrapy does. Raises RefusedDownload."""
        mine = Guard(self._allow_private)
        token = guard.set(mine)
        try:
            if permit := request.meta.get(PERMIT):
                await permit.take()
            return await super().download_request(request)
        except DownloadCancelledError as error:
            raise RefusedDownload("too_large", f"{request.url}: the response is too large") from error
        except CannotResolveHostError as error:
            if not mine.refused:
                raise
            addresses = ", ".join(sorted(set(mine.refused)))
            text = f"{request.url}: leads to {addresses}, which is not a public address; allow_private: true permits it"
            raise RefusedDownload("private_address", text) from error
        finally:
            guard.reset(token)


class RefusingRedirects(RedirectMiddleware):
    """Follows redirects to http and https, up to REDIRECT_MAX_TIMES."""

    def process_response(
        self, request: Request, response: Response, spider: Spider | None = None
    ) -> Request | Response:
        try:
            result: Request | Response = super().process_response(request, response)
        except IgnoreRequest as error:
            raise RefusedDownload(
                "redirects", f"{request.url}: more than {self.max_redirect_times} redirects"
            ) from error
        if result is response and response.status in (301, 302, 303, 307, 308) and "Location" in response.headers:
            target = (response.headers["Location"] or b"").decode("latin-1")
            raise RefusedDownload("scheme", f"{request.url}: a redirect to {target[:100]!r}")
        return result


class RefusingDecompression(HttpCompressionMiddleware):
    """Decompresses up to DOWNLOAD_MAXSIZE bytes."""

    def process_response(
        self, request: Request, response: Response, spider: Spider | None = None
    ) -> Request | Response:
        try:
            result: Request | Response = super().process_response(request, response)
        except IgnoreRequest as error:
            raise RefusedDownload("too_large", f"{request.url}: the response is too large decompressed") from error
        except Exception as error:  # every codec has its own errors
            raise RefusedDownload("not_a_feed", f"{request.url}: cannot be decompressed: {error}") from error
        return result


class DailyRobots(RobotsTxtMiddleware):
    """Obeys robots.txt as it was at most a day ago."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._read: dict[str, float] = {}
        self._reading: dict[str, asyncio.Lock] = {}

    async def process_request(self, request: Request, spider: Spider | None = None) -> None:
        try:
            await super().process_request(request)
        except IgnoreRequest as error:
            raise RobotsForbidden(f"{request.url}: robots.txt forbids it") from error

    async def robot_parser(self, request: Request) -> RobotParser | None:
        site = urlparse_cached(request).netloc
        # One at a time: Scrapy lets all requests of a site wait for one Deferred, of which only the first gets the
        # rules and the others None, which allows everything (2.19.0).
        async with self._reading.setdefault(site, asyncio.Lock()):
            now = time.monotonic()
            if site not in self._read:
                self._forget(now)
            elif now - self._read[site] > ROBOTS_SECONDS:
                self._parsers.pop(site, None)
            if site not in self._parsers:
                self._read[site] = now
            return await super().robot_parser(request)

    def _forget(self, now: float) -> None:
        """Drop what is older than a day, so that article pages on ever new sites do not fill memory."""
        for site in [site for site, read in self._read.items() if now - read > ROBOTS_SECONDS]:
            if not self._reading[site].locked():
                del self._read[site], self._reading[site]
                self._parsers.pop(site, None)
