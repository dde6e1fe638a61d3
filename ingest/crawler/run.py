"""Running the crawler: Scrapy's settings, the reactor, and an end within seconds of being asked."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from scrapy.crawler import AsyncCrawlerRunner, Crawler
from scrapy.utils.reactor import install_reactor

from ingest.crawler import downloads
from ingest.crawler.addresses import GuardedResolver
from ingest.crawler.spider import Look, NewsSpider, Sink
from ingest.metrics import IngestMetrics
from ingest.sources import Source

MAX_REDIRECTS = 10

TIMEOUT = 30.0
"""Seconds that one download may take from connecting to the last byte."""

GRACE = 3.0
"""Seconds that open downloads get to end when the process is told to stop; after that they are dropped, which costs
nothing, since what was not published is fetched again."""

POLL = 0.2
"""Seconds between two looks at the stop event, which belongs to threads and cannot wake the reactor."""

_SCRAPY = "scrapy.downloadermiddlewares"


def scrapy_settings(user_agent: str, max_body: int, allow_private: bool) -> dict[str, Any]:
    """The settings of one crawler: polite, without cookies, consoles, proxies and other schemes."""
    return {
        "USER_AGENT": user_agent,
        "ROBOTSTXT_OBEY": True,
        "ROBOTSTXT_USER_AGENT": user_agent.split("/")[0].strip() or user_agent,
        "AUTOTHROTTLE_ENABLED": not allow_private,  # one's own servers decide for themselves
        "AUTOTHROTTLE_START_DELAY": 1.0,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 2,
        "DOWNLOAD_TIMEOUT": TIMEOUT,
        "DOWNLOAD_MAXSIZE": max_body,
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_VERIFY_CERTIFICATES": True,  # off in Scrapy; who can forge a feed can move a desk
        "DOWNLOAD_HANDLERS": {
            "http": downloads.GuardedDownloadHandler,
            "https": downloads.GuardedDownloadHandler,
            **dict.fromkeys(("data", "file", "ftp", "s3")),
        },
        "DOWNLOADER_MIDDLEWARES": {
            f"{_SCRAPY}.robotstxt.RobotsTxtMiddleware": None,
            downloads.DailyRobots: 100,
            f"{_SCRAPY}.httpcompression.HttpCompressionMiddleware": None,
            downloads.RefusingDecompression: 590,
            f"{_SCRAPY}.redirect.RedirectMiddleware": None,
            downloads.RefusingRedirects: 600,
        },
        "REDIRECT_MAX_TIMES": MAX_REDIRECTS,
        # Not 429 and 503: there the server asks to be left alone, and the next look comes soon enough.
        "RETRY_HTTP_CODES": [500, 502, 504, 522, 524, 408],
        "RETRY_GIVE_UP_LOG_LEVEL": "DEBUG",
        "DEFAULT_REQUEST_HEADERS": {
            "Accept": "application/rss+xml, application/atom+xml, application/feed+json, text/xml;q=0.9, */*;q=0.5"
        },
        "COOKIES_ENABLED": False,
        "HTTPPROXY_ENABLED": False,  # behind a proxy no address could be checked
        "METAREFRESH_ENABLED": False,
        "REFERER_ENABLED": False,
        # Not even imported: consoles and exporters bring 20 MB of aiohttp, conch and others.
        "EXTENSIONS_BASE": {"scrapy.extensions.throttle.AutoThrottle": 0},
        "STATS_CLASS": "scrapy.statscollectors.DummyStatsCollector",
        "STATS_DUMP": False,
        downloads.ALLOW_PRIVATE: allow_private,
    }


def crawl(
    sources: Sequence[Source],
    sink: Sink,
    metrics: IngestMetrics,
    stop: threading.Event,
    *,
    user_agent: str,
    max_body: int,
    once: bool = False,
    report: Callable[[Source, Look], None] | None = None,
) -> None:
    """Crawl until ``stop`` is set, or with ``once`` until each source was looked at. Only once in a process.

    Sources that may reach private addresses get a crawler of their own, so that no connection, redirect or robots.txt
    of theirs is ever shared with the others.

    Raises:
        LogError: the log failed in a way that waiting does not mend.
        RuntimeError: the crawler ended although nobody asked it to.
    """
    reactor = _reactor()
    runner = AsyncCrawlerRunner()
    crawlers: list[Crawler] = []
    failures: list[BaseException] = []

    def begin(allow_private: bool) -> Iterator[asyncio.Task[None]]:
        if own := [source for source in sources if source.allow_private == allow_private]:
            crawlers.append(Crawler(NewsSpider, scrapy_settings(user_agent, max_body, allow_private)))
            yield runner.crawl(crawlers[-1], sources=own, sink=sink, metrics=metrics, once=once, report=report)

    async def run() -> None:
        try:
            failures.extend(await _ended({*begin(False), *begin(True)}, stop, once))
            await _end(runner)
        except Exception as error:
            failures.append(error)
        finally:
            reactor.stop()

    running = asyncio.get_event_loop().create_task(run())
    reactor.run(installSignalHandlers=False)
    assert running.done()
    spiders = [crawler.spider for crawler in crawlers]
    failures += [spider.failure for spider in spiders if isinstance(spider, NewsSpider) and spider.failure]
    if failures:
        raise failures[0]
    if not once and not stop.is_set():
        raise RuntimeError("the crawler ended although nobody asked it to")


def _reactor() -> Any:
    """Twisted's reactor on asyncio, which connects only to addresses that a download's guard allows."""
    logging.getLogger("scrapy").setLevel(logging.ERROR)
    logging.getLogger(f"{_SCRAPY}.robotstxt").setLevel(logging.CRITICAL)  # a robots.txt that cannot be had is no error
    install_reactor("twisted.internet.asyncioreactor.AsyncioSelectorReactor")
    from twisted.internet import reactor as installed

    reactor: Any = installed
    reactor.installNameResolver(GuardedResolver(reactor.nameResolver))
    return reactor


async def _ended(crawls: set[asyncio.Task[None]], stop: threading.Event, once: bool) -> list[BaseException]:
    """The errors of the crawls that have ended, when told to stop, when one has, or with ``once`` when all have."""
    errors: list[BaseException] = []
    while crawls and not stop.is_set():
        done, crawls = await asyncio.wait(crawls, timeout=POLL)
        errors.extend(error for task in done if (error := task.exception()))
        if done and not once:
            break
    return errors


async def _end(runner: AsyncCrawlerRunner) -> None:
    try:
        await asyncio.wait_for(runner.stop(), GRACE)
    except TimeoutError:
        logging.getLogger(__name__).warning("dropped downloads that had not ended after %g s", GRACE)
