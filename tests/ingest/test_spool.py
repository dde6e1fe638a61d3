"""What waits on disk while the log takes nothing: nothing is lost, nothing comes twice, and never more than allowed."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from bus.errors import ConfigError, LogCorrupt, LogError, LogUnreachable
from bus.log import Log, Record
from ingest import publisher as publisher_module
from ingest.metrics import IngestMetrics
from ingest.publisher import Publisher, Stopped
from ingest.refusals import Refused
from ingest.spool import Spool
from tests.ingest.conftest import articles_on, dead_on
from tests.ingest.test_publisher import made
from tests.services.ports import wait_until


class Cut:
    """A log that can be cut off and joined again."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.error: LogError | None = None

    def __getattr__(self, name: str) -> Any:
        if self.error:
            raise self.error
        return getattr(self._log, name)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher_module, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(publisher_module, "LONGEST_WAIT", 0.05)


@pytest.fixture
def cut(log: Log) -> Cut:
    return Cut(log)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def open_spool(tmp_path: Path, limit: int = 1_000_000) -> "closing[Spool]":
    return closing(Spool(tmp_path / "spool", limit))


class Ingest:
    """A publisher whose spool is drained."""

    def __init__(self, log: Any, spool: Spool, registry: CollectorRegistry) -> None:
        self.stop = threading.Event()
        self.publisher = Publisher(log, IngestMetrics(registry), self.stop, spool=spool)
        self._thread = threading.Thread(target=self.publisher.drain)

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self.publisher

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join()


def titles(log: Log) -> list[str]:
    return [article.title for article in articles_on(log)]


def test_what_comes_while_the_log_is_away_is_published_once_it_is_back(
    log: Log, cut: Cut, tmp_path: Path, registry: CollectorRegistry
) -> None:
    with open_spool(tmp_path) as spool, Ingest(cut, spool, registry) as publisher:
        publisher.publish(made("before"), "wire")
        cut.error = LogUnreachable("no answer")
        assert publisher.publish(made("a", "before", "b"), "wire").accepted == [True, False, True]
        assert publisher.publish(made("b", "c"), "wire", wait=False).accepted == [False, True]
        publisher.bury([publisher.refuse(Refused("title", "no title"), b"{}", "feed item 3")])
        assert registry.get_sample_value("squall_ingest_spooled_bytes") == spool.bytes > 0
        assert titles(log) == ["before"]
        wait_until(lambda: bool(registry.get_sample_value("squall_ingest_log_waits_total")), 10, "a wait to be counted")
        cut.error = None
        wait_until(lambda: not spool.bytes, 10, "the spool to be emptied")
        assert publisher.publish(made("c", "d"), "wire").accepted == [False, True]
    assert sorted(titles(log)) == ["a", "b", "before", "c", "d"]
    assert len(dead_on(log)) == 1


def test_a_restart_goes_on_with_what_waits(log: Log, cut: Cut, tmp_path: Path, registry: CollectorRegistry) -> None:
    cut.error = LogUnreachable("no answer")
    with open_spool(tmp_path) as spool:
        Publisher(cut, IngestMetrics(registry), threading.Event(), spool=spool).publish(made("a", "b"), "wire")
    (tmp_path / "spool" / "000000000009.partial").write_bytes(b"cut off by a crash")
    with open_spool(tmp_path) as spool:
        publisher = Publisher(cut, IngestMetrics(CollectorRegistry()), threading.Event(), spool=spool)
        assert publisher.publish(made("b", "c"), "wire").accepted == [False, True]
    with open_spool(tmp_path) as spool, Ingest(log, spool, CollectorRegistry()):
        wait_until(lambda: not spool.bytes, 10, "the spool to be emptied")
    assert sorted(titles(log)) == ["a", "b", "c"]
    assert [file.name for file in (tmp_path / "spool").iterdir()] == ["owner"]


def test_what_was_published_before_a_crash_forgot_it_is_not_published_again(
    log: Log, tmp_path: Path, registry: CollectorRegistry
) -> None:
    cut = Cut(log)
    cut.error = LogUnreachable("no answer")
    with open_spool(tmp_path) as spool:
        Publisher(cut, IngestMetrics(registry), threading.Event(), spool=spool).publish(made("a", "b"), "wire")
        Publisher(log, IngestMetrics(CollectorRegistry()), threading.Event()).publish(made("a"), "wire")
        with Ingest(log, spool, CollectorRegistry()):
            wait_until(lambda: not spool.bytes, 10, "the spool to be emptied")
    assert sorted(titles(log)) == ["a", "b"]


def test_a_full_spool_slows_the_crawler_and_turns_pushes_away(
    log: Log, cut: Cut, tmp_path: Path, registry: CollectorRegistry
) -> None:
    cut.error = LogUnreachable("no answer")
    with open_spool(tmp_path, limit=1_000) as spool, Ingest(cut, spool, registry) as publisher:
        kept = 0
        with pytest.raises(LogUnreachable, match="the spool is full"):
            for kept in range(100):
                publisher.publish(made(f"pushed {kept}"), "wire", wait=False)
        assert 0 < spool.bytes <= 1_000
        crawler = threading.Thread(target=publisher.publish, args=(made("crawled"), "wire"))
        crawler.start()
        crawler.join(0.3)
        assert crawler.is_alive(), "it waits"
        cut.error = None
        crawler.join(10)
        wait_until(lambda: not spool.bytes, 10, "the spool to be emptied")
    assert sorted(titles(log)) == sorted(["crawled", *(f"pushed {number}" for number in range(kept))])


def test_waiting_for_a_full_spool_ends_with_the_role(cut: Cut, tmp_path: Path, registry: CollectorRegistry) -> None:
    cut.error = LogUnreachable("no answer")
    stop = threading.Event()
    with open_spool(tmp_path, limit=10) as spool:
        publisher = Publisher(cut, IngestMetrics(registry), stop, spool=spool)
        threading.Timer(0.1, stop.set).start()
        with pytest.raises(Stopped):
            publisher.publish(made("a"), "wire")


def test_a_damaged_batch_is_put_aside_and_holds_up_no_other(
    log: Log, cut: Cut, tmp_path: Path, registry: CollectorRegistry
) -> None:
    cut.error = LogUnreachable("no answer")
    with open_spool(tmp_path) as spool:
        publisher = Publisher(cut, IngestMetrics(registry), threading.Event(), spool=spool)
        for title in "abc":
            publisher.publish(made(title), "wire")
    (tmp_path / "spool" / "000000000002.batch").write_bytes(b"[")
    with open_spool(tmp_path) as spool, Ingest(log, spool, CollectorRegistry()):
        wait_until(lambda: not spool.bytes, 10, "the spool to be emptied")
    assert sorted(titles(log)) == ["a", "c"]
    assert (tmp_path / "spool" / "000000000002.unreadable").read_bytes() == b"["


def test_a_failure_that_waiting_does_not_mend_ends_the_draining(
    cut: Cut, tmp_path: Path, registry: CollectorRegistry
) -> None:
    with open_spool(tmp_path) as spool:
        spool.put([Record("news.articles", "key", b"{}")])
        cut.error = LogCorrupt("not a database")
        with pytest.raises(LogCorrupt):
            Publisher(cut, IngestMetrics(registry), threading.Event(), spool=spool).drain()
        assert spool.oldest()


def test_two_processes_do_not_share_a_spool(tmp_path: Path) -> None:
    with open_spool(tmp_path), pytest.raises(ConfigError, match="another ingest process uses it"):
        Spool(tmp_path / "spool", 10)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(ConfigError, match=r"spool .*spool: cannot be used: "):
        Spool(tmp_path / "spool", 10)


@given(st.lists(st.lists(st.tuples(st.text(), st.binary()), min_size=1, max_size=3), max_size=6))
@settings(max_examples=30)
def test_batches_come_out_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, bytes]]]
) -> None:
    folder = tmp_path_factory.mktemp("spools")
    given_ = [[Record("t", key, value) for key, value in batch] for batch in batches]
    with closing(Spool(folder, 1_000_000)) as spool:
        for batch in given_:
            assert spool.put(batch)
    with closing(Spool(folder, 1_000_000)) as spool:
        assert list(emptied(spool)) == given_
        assert (spool.bytes, spool.keys) == (0, set())


def emptied(spool: Spool) -> Iterator[list[Record]]:
    while batch := spool.oldest():
        file, records = batch
        yield records
        spool.drop(file, records)
