"""The archive role loses nothing and stops for nothing but a stop."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import pytest
from msgspec import json
from prometheus_client import CollectorRegistry

import bus.stage
from alerts.archive import Store, role
from bus.embedded import EmbeddedLog
from bus.errors import ArchiveError, UnknownTopic
from bus.log import Entry, Record
from bus.messages import DeadLetter, ScoredArticle, decode, encode
from bus.topics import DEAD, SCORED, SPIKES, TRENDS
from tests.alerts.samples import HOUR, NOON, minutes, scored, spike, state
from tests.services.ports import wait_until

LATER = NOON + minutes(24 * 60)


class DatabaseDown(Store):
    """A store whose database is away for the first attempts."""

    failures = 3

    def save_scored(self, scored: Sequence[ScoredArticle]) -> None:
        if scored and self.failures:
            self.failures -= 1
            raise ArchiveError(f"archive {self.name}: connection refused")
        super().save_scored(scored)


@contextmanager
def running(log: EmbeddedLog, store: Store, registry: CollectorRegistry) -> Iterator[list[BaseException]]:
    """The role in a thread; gives the list that its error would stand in."""
    stop, errors = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            role.run(log, store, stop=stop, registry=registry, days=90)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield errors
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def until_archived(log: EmbeddedLog, *topics: str) -> None:
    wait_until(lambda: not any(log.lag(role.GROUP, topic) for topic in topics or role.TOPICS), 15, "all is archived")


def publish(log: EmbeddedLog, *articles: ScoredArticle) -> None:
    log.publish([Record(SCORED, one.article.id, encode(one)) for one in articles])


def test_everything_on_the_log_is_archived(log: EmbeddedLog, lite: Store) -> None:
    publish(log, *(scored(f"a{i}", entities=["First Republic"]) for i in range(50)), scored("n", "neutral"))
    log.publish([Record(SPIKES, "all", encode(spike(articles=["a7"])))])
    log.publish([Record(TRENDS, "all", encode(state("all", (HOUR, 51, 50, 3.5, 9.0))))])
    registry = CollectorRegistry()

    with running(log, lite, registry):
        until_archived(log)
        own = [{"group": "archive", "topic": SCORED, "partition": str(n)} for n in range(log.partitions(SCORED))]
        wait_until(
            lambda: all(registry.get_sample_value("squall_consumer_lag", labels) == 0 for labels in own), 5, "no lag"
        )

    assert lite.read.totals()["negative"] == 50
    assert len(lite.read.stories("entity:First Republic", NOON, LATER, limit=99)) == 50
    assert [a.id for a in lite.read.spike_articles(spike().id)] == ["a7"]
    (hour,) = lite.read.hours("all", HOUR, HOUR)
    assert (hour.negative, hour.neutral, hour.expected) == (50, 1, 3.5)
    assert registry.get_sample_value("squall_archive_articles_total", {"outcome": "negative"}) == 50
    assert registry.get_sample_value("squall_archive_lag_seconds") == 0


def test_a_restart_goes_on_where_the_offsets_stand(log: EmbeddedLog, lite: Store) -> None:
    for part in range(3):
        publish(log, *(scored(f"{part}-{i}") for i in range(20)))
        with running(log, lite, CollectorRegistry()):
            until_archived(log, SCORED)

    assert lite.read.totals()["negative"] == 60


def test_records_that_are_no_messages_are_put_aside(log: EmbeddedLog, lite: Store) -> None:
    log.publish(
        [
            Record(SCORED, "k1", b"{broken"),
            Record(SPIKES, "k2", b"{}"),
            Record(TRENDS, "k3", json.encode({"series": "all", "points": [[1, 2]]})),
            Record(SCORED, "k4", json.encode({"schema": 99} | json.decode(encode(scored("future"))))[:-1] + b"\xff}"),
        ]
    )
    publish(log, scored("good"))
    registry = CollectorRegistry()

    with running(log, lite, registry):
        until_archived(log)

    letters = [(entry.key, decode(entry.value, DeadLetter)) for entry in log.read_all(DEAD)]
    assert sorted(key for key, _ in letters) == ["k1", "k2", "k3", "k4"]
    broken = dict(letters)["k1"]
    assert (broken.stage, broken.topic, broken.offset, broken.value) == ("archive", SCORED, 0, b"{broken")
    assert "not a ScoredArticle" in broken.error
    assert lite.read.totals()["negative"] == 1
    assert registry.get_sample_value("squall_dead_letters_total", {"stage": "archive"}) == 4


def test_a_record_that_the_database_refuses_takes_no_other_with_it(log: EmbeddedLog, lite: Store) -> None:
    log.publish([Record(TRENDS, "bad", encode(state("bad", (2**63, 1, 1, 1.0, 1.0))))])
    log.publish([Record(TRENDS, "good", encode(state("good", (HOUR, 1, 1, 1.0, 1.0))))])
    publish(log, scored("a"))

    with running(log, lite, CollectorRegistry()):
        until_archived(log)

    assert [entry.key for entry in log.read_all(DEAD)] == ["bad"]
    assert len(lite.read.hours("good", HOUR, HOUR)) == 1
    assert lite.read.totals()["negative"] == 1


def test_a_database_that_is_away_is_waited_for(
    log: EmbeddedLog, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bus.stage, "FIRST_PAUSE", 0.05)
    publish(log, *(scored(f"a{i}") for i in range(30)))
    store, registry = DatabaseDown(sqlite_url), CollectorRegistry()

    with caplog.at_level("INFO"), running(log, store, registry):
        until_archived(log, SCORED)

    assert store.read.totals()["negative"] == 30
    assert registry.get_sample_value("squall_retries_total", {"group": "archive", "reason": "store"}) == 3
    assert len([line for line in caplog.records if line.levelname == "ERROR"]) == 1
    assert "connection refused; nothing is lost" in caplog.text
    assert "archive: going on" in caplog.text
    store.close()


class Busy:
    """The stage as a steady stream drives it: a record at a time, never a tick; time passes when told."""

    def __init__(self, store: Store) -> None:
        self.now, self.registry = 0.0, CollectorRegistry()
        self.store = store
        self._stage = role.Archive(store, role.ArchiveMetrics(self.registry), 90, lambda: self.now)

    def step(self, *articles: ScoredArticle) -> None:
        entries = [Entry(SCORED, 0, 0, one.article.id, encode(one), timestamp=0.0) for one in articles]
        assert self._stage.handle(entries) == []
        self._stage.committed()

    def stored(self) -> int:
        return sum(self.store.read.totals().values())


def test_a_stream_that_never_pauses_is_pruned_every_hour(lite: Store) -> None:
    busy = Busy(lite)
    busy.step(scored("old", at=NOON - timedelta(days=91)), scored("young", at=NOON))
    assert busy.stored() == 2

    busy.now += role.PRUNE_SECONDS
    busy.step(scored("next", at=NOON))
    assert busy.stored() == 2
    assert lite.read.articles(["old"]) == []


def test_pruning_that_failed_is_tried_again_soon_and_stops_no_article(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Locked(Store):
        failures = 2

        def prune(self, days: float) -> int:
            if self.failures:
                self.failures -= 1
                raise ArchiveError("archive: database is locked")
            return super().prune(days)

    with Locked(sqlite_url) as store:
        busy = Busy(store)
        busy.step(scored("old", at=NOON - timedelta(days=91)))
        for minute in range(2):
            busy.now = role.PRUNE_SECONDS + minute * role.PRUNE_AGAIN_SECONDS
            busy.step(scored(f"a{minute}"))
            busy.step(scored(f"b{minute}"))  # at once: not yet tried again
            assert busy.stored() == 3 + 2 * minute
        busy.now += role.PRUNE_AGAIN_SECONDS
        busy.step(scored("last"))
        assert busy.stored() == 5
    assert caplog.text.count("older than 90 days stay for now, trying again in 60 s: archive: database is locked") == 2


def test_a_deleted_topic_ends_the_role_with_its_name(log: EmbeddedLog, lite: Store) -> None:
    with running(log, lite, CollectorRegistry()) as errors:
        publish(log, scored("a"))
        until_archived(log, SCORED)
        log.delete_topic(SCORED)
        wait_until(lambda: bool(errors), 10, "the role has ended")

    assert isinstance(errors[0], UnknownTopic)
    assert SCORED in str(errors[0])
