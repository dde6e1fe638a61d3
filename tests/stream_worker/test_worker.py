"""The worker: what becomes of each article."""

import threading
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from bus.embedded import EmbeddedLog
from bus.log import Record
from bus.messages import Article, DeadLetter, ScoredArticle, Tally, decode, encode
from bus.topics import ARTICLES, DEAD, SCORED, TALLIES, news_topics
from stream_worker.tallies import tally
from stream_worker.watchlist import Entity, Linker
from stream_worker.worker import run
from tests.stream_worker.articles import WordModel, article

LINKER = Linker([Entity("Adani")])


@pytest.fixture
def log(tmp_path: Path) -> EmbeddedLog:
    log = EmbeddedLog(tmp_path / "log.db")
    log.create_topics(news_topics(2))
    return log


def work(log: EmbeddedLog, model: WordModel | None = None) -> CollectorRegistry:
    """Run the worker until it has read everything."""
    stop, registry = threading.Event(), CollectorRegistry()
    used = model or WordModel()
    arguments = {"batch": 16, "device": "cpu", "stop": stop, "registry": registry}
    thread = threading.Thread(target=run, args=(log, lambda: used, LINKER), kwargs=arguments)
    thread.start()
    deadline = time.monotonic() + 20
    while log.lag("worker", ARTICLES) and time.monotonic() < deadline:
        time.sleep(0.02)
    stop.set()
    thread.join()
    assert log.lag("worker", ARTICLES) == 0
    return registry


def publish(log: EmbeddedLog, *articles: Article) -> None:
    log.publish([Record(ARTICLES, each.id, encode(each)) for each in articles])


def scored(log: EmbeddedLog) -> dict[str, ScoredArticle]:
    return {entry.key: decode(entry.value, ScoredArticle) for entry in log.read_all(SCORED)}


def tallies(log: EmbeddedLog) -> list[Tally]:
    return [decode(entry.value, Tally) for entry in log.read_all(TALLIES)]


def total_of_all(log: EmbeddedLog) -> int:
    minutes = [minute for each in tallies(log) if each.series == "all" for minute in each.minutes]
    return sum(counts.total for minute in minutes for counts in minute.counts.values())


def test_an_article_is_scored_linked_and_tallied_in_its_series(log: EmbeddedLog) -> None:
    publish(log, article(1, "bad Markets day for Adani", minutes=5, language="en", weight=2.0))
    work(log)
    (found,) = scored(log).values()
    assert found.outcome == "negative"
    assert found.topic is not None
    assert found.topic.label == "Markets"
    assert (found.model_version, found.language, found.entities) == ("words-1", "en", ["Adani"])
    by_series = {each.series: each for each in tallies(log)}
    assert set(by_series) == {"all", "topic:Markets", "entity:Adani"}
    for each in by_series.values():
        (minute,) = each.minutes
        assert minute.counts["wire"].negative == 1
        assert [(n.article, n.weight) for n in minute.negatives] == [(found.article.id, 2.0)]


def test_an_irrelevant_article_is_stored_and_counts_towards_no_spike(log: EmbeddedLog) -> None:
    publish(log, article(1, "bad sport result", language="en"))
    work(log)
    assert scored(log)[f"{1:016x}"].outcome == "irrelevant"
    minutes = [minute for each in tallies(log) for minute in each.minutes]
    assert all(not minute.negatives and minute.counts["wire"].irrelevant == 1 for minute in minutes)


def test_an_article_in_another_language_is_kept_and_marked_and_never_guessed_at(log: EmbeddedLog) -> None:
    model = WordModel()
    publish(log, article(1, "Die Bank ist pleite", language="de"), article(2, "bad news", language="en-GB"))
    registry = work(log, model)
    german = scored(log)[f"{1:016x}"]
    assert (german.outcome, german.unscored, german.language) == ("unscored", "language:de", "de")
    assert german.sentiment is german.topic is german.relevance is None
    assert sum(model.batches) == 1
    assert registry.get_sample_value("squall_scored_total", {"outcome": "unscored"}) == 1
    assert total_of_all(log) == 2


@pytest.mark.parametrize(
    "value",
    [
        b"{broken",
        b"",
        b"\xff\xfe",
        b'{"id":"1","source":"s","published_at":"2023-01-01T00:00:00Z","fetched_at":"2023-01-01T00:00:00Z"}',
        b'{"id":"1","source":"s","title":"","published_at":"2023-01-01T00:00:00Z","fetched_at":"2023-01-01T00:00:00Z"}',
        b'{"id":"1","source":"s","title":"t","published_at":"yesterday","fetched_at":"2023-01-01T00:00:00Z"}',
        encode(article(9, "x" * 100_000)),
        encode(article(9)).replace(b'"id"', b'"schema":99,"id"'),
    ],
    ids=["broken", "empty", "not-utf8", "no-title", "empty-title", "bad-date", "huge-title", "newer-schema"],
)
def test_what_is_no_article_is_a_dead_letter_and_nothing_else_is_lost(log: EmbeddedLog, value: bytes) -> None:
    publish(log, article(1, language="en"))
    log.publish([Record(ARTICLES, "broken", value)])
    publish(log, article(2, language="en"))
    registry = work(log)
    assert len(scored(log)) == 2
    (dead,) = [decode(entry.value, DeadLetter) for entry in log.read_all(DEAD)]
    assert (dead.stage, dead.value, dead.topic) == ("worker", value, ARTICLES)
    assert registry.get_sample_value("squall_dead_letters_total", {"stage": "worker"}) == 1


def test_the_tallies_of_all_add_up_to_the_articles(log: EmbeddedLog) -> None:
    titles = ("bad", "good", "sport", "plain")
    publish(
        log, *(article(i, f"{titles[i % 4]} {i}", minutes=i, language=("en", "fr")[i % 7 == 0]) for i in range(200))
    )
    work(log)
    assert total_of_all(log) == len(scored(log)) == 200


def test_a_batch_is_combined_before_it_is_written() -> None:
    found = [ScoredArticle(article=article(i), scored_at=article(i).fetched_at, language="en") for i in range(500)]
    (combined,) = tally(found)
    assert [minute.counts["wire"].unscored for minute in combined.minutes] == [500]
