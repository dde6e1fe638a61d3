"""Looking at each source once without publishing anything: ``squall sources check --fetch``."""

import threading
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry

from ingest.articles import Made
from ingest.crawler.run import crawl
from ingest.crawler.spider import Look
from ingest.metrics import IngestMetrics
from ingest.publisher import Published
from ingest.sources import Source


class _Nowhere:
    """Takes articles and keeps none; to it nothing is new, so that no article pages are fetched."""

    def publish(self, made: Sequence[Made], label: str) -> Published:
        return Published([True] * len(made))

    def new(self, made: Sequence[Made]) -> list[Made]:
        return []


def try_sources(sources: Sequence[Source], user_agent: str, max_body: int) -> Iterator[tuple[Source, Look]]:
    """What one look at each source finds, in the order of the sources. Works once in a process."""
    looks: dict[str, Look] = {}
    metrics = IngestMetrics(CollectorRegistry())
    crawl(
        sources,
        _Nowhere(),
        metrics,
        threading.Event(),
        user_agent=user_agent,
        max_body=max_body,
        once=True,
        report=lambda source, look: looks.update({source.name: look}),
    )
    for source in sources:
        yield source, looks[source.name]
