"""Publishing each article once, and waiting for a log that takes nothing."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from bus.embedded import EmbeddedLog
from bus.errors import LogCorrupt, LogError, LogFull, LogUnreachable
from bus.log import Log, Record
from bus.messages import utcnow
from bus.topics import ARTICLES
from ingest import publisher as publisher_module
from ingest.articles import Made, RawItem, make_article
from ingest.metrics import IngestMetrics
from ingest.publisher import Publisher, Stopped
from ingest.refusals import Refused
from tests.ingest.conftest import articles_on, dead_on


class Failing:
    """A log whose publish fails a few times: before writing, or after (as when the answer is lost)."""

    def __init__(self, log: Log, errors: Sequence[LogError], after: bool = False) -> None:
        self._log = log
        self._errors = list(errors)
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def publish(self, records: Sequence[Record]) -> None:
        if self._after or not self._errors:
            self._log.publish(records)
        if self._errors:
            raise self._errors.pop(0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher_module, "FIRST_WAIT", 0.01)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def new(log: Any, registry: CollectorRegistry, stop: threading.Event | None = None) -> Publisher:
    return Publisher(log, IngestMetrics(registry), stop or threading.Event())


def made(*titles: str, published: str = "2025-03-03") -> list[Made]:
    return [make_article(RawItem(title=t, published=published), source="wire", fetched_at=utcnow()) for t in titles]


def test_an_article_is_published_once_whoever_brings_it(log: Log, tmp_path: Path, registry: CollectorRegistry) -> None:
    first = new(log, registry)
    assert first.publish(made("a", "b", "a"), "wire").accepted == [True, True, False]
    with EmbeddedLog(tmp_path / "log.db") as other:
        second = new(other, CollectorRegistry())
        assert second.publish(made("b", "c"), "wire").accepted == [False, True]
    assert first.publish(made("c", "d"), "wire").accepted == [False, True]
    assert sorted(article.title for article in articles_on(log)) == ["a", "b", "c", "d"]
    assert registry.get_sample_value("squall_ingest_articles_total", {"source": "wire"}) == 3
    assert registry.get_sample_value("squall_ingest_duplicates_total", {"source": "wire"}) == 2


def test_threads_that_publish_the_same_articles_publish_each_once(log: Log, registry: CollectorRegistry) -> None:
    publisher = new(log, registry)
    articles = made(*map(str, range(200)))
    threads = [threading.Thread(target=publisher.publish, args=(articles, "wire")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(articles_on(log)) == 200
    assert registry.get_sample_value("squall_ingest_articles_total", {"source": "wire"}) == 200


@pytest.mark.parametrize("error", [LogFull("disk full"), LogUnreachable("no answer")])
def test_a_log_that_takes_nothing_is_waited_for(log: Log, registry: CollectorRegistry, error: LogError) -> None:
    publisher = new(Failing(log, [error] * 3), registry)
    assert publisher.publish(made("a"), "wire").published == 1
    assert registry.get_sample_value("squall_ingest_log_waits_total") == 3
    assert len(articles_on(log)) == 1


def test_a_publish_whose_answer_was_lost_is_not_repeated(log: Log, registry: CollectorRegistry) -> None:
    publisher = new(Failing(log, [LogUnreachable("no answer")], after=True), registry)
    publisher.publish(made("a", "b"), "wire")
    assert len(articles_on(log)) == 2


def test_waiting_ends_when_the_process_is_told_to_stop(log: Log, registry: CollectorRegistry) -> None:
    stop = threading.Event()
    publisher = new(Failing(log, [LogFull("disk full")] * 1_000), registry, stop)
    threading.Timer(0.1, stop.set).start()
    start = time.monotonic()
    with pytest.raises(Stopped):
        publisher.publish(made("a"), "wire")
    assert time.monotonic() - start < 2


def test_without_waiting_the_error_goes_to_the_caller(log: Log, registry: CollectorRegistry) -> None:
    publisher = new(Failing(log, [LogFull("disk full")]), registry)
    with pytest.raises(LogFull):
        publisher.publish(made("a"), "wire", wait=False)
    assert publisher.publish(made("a"), "wire", wait=False).published == 1


def test_other_failures_are_not_waited_for(log: Log, registry: CollectorRegistry) -> None:
    publisher = new(Failing(log, [LogCorrupt("not a database")]), registry)
    with pytest.raises(LogCorrupt):
        publisher.publish(made("a"), "wire")


def test_more_than_a_batch_is_published_in_several(log: Log, registry: CollectorRegistry) -> None:
    titles = [str(i) for i in range(2 * publisher_module.BATCH + 1)]
    assert new(log, registry).publish(made(*titles), "wire").published == len(titles)
    assert sum(log.ends(ARTICLES)) == len(titles)


def test_only_published_articles_count_their_dates(log: Log, registry: CollectorRegistry) -> None:
    publisher = new(log, registry)
    for _ in range(2):
        publisher.publish(made("a", published="never") + made("b", published=""), "wire")
    publisher.publish(made("c", published="2199-01-01"), "wire")
    counted = {
        problem: registry.get_sample_value("squall_ingest_dates_total", {"problem": problem})
        for problem in ("missing", "unparseable", "future")
    }
    assert counted == {"missing": 1, "unparseable": 1, "future": 1}


def test_new_leaves_out_what_was_published(log: Log, registry: CollectorRegistry) -> None:
    publisher = new(log, registry)
    assert [each.article.title for each in publisher.new(made("a"))] == ["a"]
    publisher.publish(made("a"), "wire")
    assert [each.article.title for each in publisher.new(made("a", "b"))] == ["b"]


def test_refused_records_become_dead_letters(
    log: Log, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = new(log, registry)
    letters = [publisher.refuse(Refused("record", "no JSON"), b"{" * 200_000, f"f.jsonl:{i}") for i in range(15)]
    publisher.bury(letters)
    letter = dead_on(log)[0]
    assert (letter.stage, letter.error, letter.origin, letter.topic) == ("ingest", "no JSON", "f.jsonl:0", "")
    assert letter.value == b"{" * publisher_module.MAX_DEAD
    assert registry.get_sample_value("squall_ingest_refused_total", {"reason": "record"}) == 15
    assert len(caplog.records) == publisher_module.MAX_LOGGED + 1
