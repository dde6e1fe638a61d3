"""The archive's store keeps the same promises on SQLite and on PostgreSQL."""

import random
import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerts.archive import Refused, Store
from bus.errors import ArchiveError
from bus.messages import SENTIMENTS, ScoredArticle
from tests.alerts.samples import HOUR, NOON, minutes, scored, spike, state, unscored
from tests.services.ports import free_port

LATER = NOON + timedelta(days=1)
EARLIER = NOON - timedelta(days=1)


def counted(store: Store, series: str) -> tuple[int, int, int]:
    """Negative, neutral and positive articles of a series by the hourly counts."""
    hours = store.read.hours(series, HOUR - 48, HOUR + 48)
    return sum(h.negative for h in hours), sum(h.neutral for h in hours), sum(h.positive for h in hours)


def test_every_article_is_counted_under_its_one_outcome(store: Store) -> None:
    store.save_scored([scored("a"), scored("b", "positive"), scored("c", relevant=False), unscored("d"), scored("e")])

    expect = {"negative": 2, "neutral": 0, "positive": 1, "irrelevant": 1, "unscored": 1}
    assert store.read.totals() == expect


def test_an_empty_archive_answers_with_nothing(store: Store) -> None:
    assert sum(store.read.totals().values()) == 0
    assert store.read.newest() is None
    assert store.read.stories("all", EARLIER, LATER) == []
    assert store.read.open_spikes() == []
    assert store.read.search("bank") == []
    assert store.prune(1) == 0


def test_saving_again_changes_nothing(store: Store) -> None:
    batch = [scored("a", entities=["First Republic"]), scored("b", "neutral"), scored("a", entities=["First Republic"])]
    for _ in range(3):
        store.save_scored(batch)

    assert sum(store.read.totals().values()) == 2
    assert counted(store, "all") == (1, 1, 0)
    assert counted(store, "entity:First Republic") == (1, 0, 0)
    assert len(store.read.stories("all", EARLIER, LATER)) == 2


def test_an_article_scored_anew_moves_between_its_series(store: Store) -> None:
    store.save_scored([scored("a", topic="Macro", entities=["Fed"])])
    store.save_scored([scored("a", "positive", topic="Earnings")])

    assert store.read.totals()["positive"] == sum(store.read.totals().values()) == 1
    assert counted(store, "topic:Macro") == counted(store, "entity:Fed") == (0, 0, 0)
    assert counted(store, "topic:Earnings") == (0, 0, 1)
    assert store.read.stories("topic:Macro", EARLIER, LATER) == []


def test_counts_equal_the_articles_after_random_saves(store: Store) -> None:
    draw = random.Random(7)
    latest: dict[str, ScoredArticle] = {}
    for _ in range(12):
        batch = [
            scored(
                f"a{draw.randrange(60)}",
                draw.choice(SENTIMENTS),
                at=NOON + minutes(draw.randrange(-600, 600)),
                topic=draw.choice(["Macro", "Earnings"]),
                relevant=draw.random() < 0.7,
                entities=draw.sample(["A", "B", "C"], draw.randrange(3)),
            )
            for _ in range(25)
        ]
        store.save_scored(batch)
        latest |= {one.article.id: one for one in batch}

    for outcome, number in store.read.totals().items():
        assert number == sum(one.outcome == outcome for one in latest.values())
    members = [one for one in latest.values() if one.outcome in SENTIMENTS and "A" in one.entities]
    assert counted(store, "entity:A") == tuple(sum(one.outcome == label for one in members) for label in SENTIMENTS)


def test_stories_of_a_series_come_newest_first_within_the_range(store: Store) -> None:
    store.save_scored([scored(f"a{i}", at=NOON + minutes(i), topic="M&A | Investments") for i in range(5)])
    store.save_scored([scored("other", topic="Macro"), scored("good", "positive", topic="M&A | Investments")])

    found = store.read.stories("topic:M&A | Investments", NOON + minutes(1), NOON + minutes(4), "negative")

    assert [story.id for story in found] == ["a3", "a2", "a1"]
    assert found[0].p_negative == 0.8
    assert found[0].published_at == NOON + minutes(3)
    assert found[0].published_at.tzinfo is UTC


def test_a_signature_of_64_bits_comes_back_as_it_was(store: Store) -> None:
    store.save_scored([scored("a", signature=2**64 - 1), scored("b", signature=5)])

    assert [article.signature for article in store.read.articles(["a", "b"])] == [2**64 - 1, 5]


def test_hostile_text_is_stored(store: Store) -> None:
    title = "Nul\0 <b>'; DROP TABLE articles; -- \u202e 💥"
    store.save_scored([scored("a", title=title, summary="x" * 1_000_000, entities=["A\0B"])])

    (found,) = store.read.articles(["a"])
    assert found.title == title.replace("\0", "")
    assert found.entities == ("AB",)
    assert len(found.summary) == 10_000


def test_a_spike_is_one_row_that_follows_its_events(store: Store) -> None:
    opened = spike("opened", observed=8)
    updated = spike("updated", observed=12, at=NOON + minutes(20), articles=["a3", "a1"])
    closed = spike("closed", observed=0, at=NOON + minutes(90), articles=[], sources={}, peak=12)
    store.save_spikes([opened])
    assert [found.id for found in store.read.open_spikes()] == [opened.id]

    store.save_spikes([updated, closed])

    assert store.read.open_spikes() == []
    (found,) = store.read.closed_spikes(10)
    assert (found.state, found.closed_at, found.peak_observed) == ("closed", NOON + minutes(90), 12)
    assert (found.articles, found.sources) == (["a3", "a1"], {"wire": 5, "ft": 3})
    assert [step.state for step in store.read.development(opened.id)] == ["opened", "updated", "closed"]
    assert store.read.latest_spike(opened.series) == found


def test_events_that_come_again_do_not_open_a_closed_spike(store: Store) -> None:
    events = [spike("opened"), spike("closed", at=NOON + minutes(60))]
    store.save_spikes(events)
    store.save_spikes(events[:1])

    assert store.read.open_spikes() == []
    assert len(store.read.development(events[0].id)) == 2


def test_a_spikes_articles_are_those_of_all_its_events(store: Store) -> None:
    store.save_scored([scored(name, at=NOON + minutes(i)) for i, name in enumerate(["a1", "a2", "a3"])])
    store.save_spikes([spike("opened", articles=["a2", "a1"]), spike("updated", articles=["a3"], at=NOON + minutes(5))])

    assert [article.id for article in store.read.spike_articles(spike().id)] == ["a3", "a2", "a1"]


def test_stories_of_a_story_series_are_those_its_spikes_named(store: Store) -> None:
    store.save_scored([scored("a1"), scored("a2"), scored("a3")])
    store.save_spikes([spike(series="story:Thames Water", articles=["a2"])])
    store.save_points([state("story:Thames Water", (HOUR, 4, 3, 0.2, 1.0))])

    assert [a.id for a in store.read.stories("story:Thames Water", EARLIER, LATER)] == ["a2"]
    assert counted(store, "story:Thames Water") == (3, 0, 0)


def test_spikes_of_a_series_are_those_open_within_the_range(store: Store) -> None:
    store.save_spikes([spike("opened"), spike("closed", at=NOON + minutes(60)), spike(opened=LATER)])
    series = spike().series

    assert len(store.read.spikes_of(series, NOON + minutes(30), NOON + minutes(40))) == 1
    assert store.read.spikes_of(series, NOON + minutes(61), LATER) == []
    assert len(store.read.spikes_of(series, EARLIER, LATER + minutes(1))) == 2


def test_the_last_point_of_an_hour_stays(store: Store) -> None:
    store.save_points([state("all", (HOUR, 3, 1, 2.0, 5.0)), state("all", (HOUR, 4, 2, 2.5, 6.0))])
    store.save_points([state("all", (HOUR + 1, 9, 9, 2.5, 6.0))])

    assert [(h.hour, h.negative, h.expected, h.upper) for h in store.read.hours("all", HOUR, HOUR)] == [
        (HOUR, 0, 2.5, 6.0)
    ]


def test_the_busiest_series_of_a_kind_lead(store: Store) -> None:
    store.save_scored([scored(f"a{i}", topic="Macro", entities=["B"]) for i in range(3)])
    store.save_scored([scored("b", topic="Earnings", entities=["A"])])

    assert store.read.busiest("topic", HOUR - 1, HOUR, 5) == ["topic:Macro", "topic:Earnings"]
    assert store.read.busiest("entity", HOUR - 1, HOUR, 1) == ["entity:B"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("bank fraud", ["a"]),
        ("BANK", ["b", "a"]),
        ("ban", ["b", "a"]),
        ("fraud bank probe", ["a"]),
        ("gold", []),
        ('"; DROP TABLE articles --', []),
        ("* OR NOT (", []),
        ("'", []),
        ("a:b & !c | 'd'", []),
    ],
)
def test_search_wants_every_word_and_takes_any_input(store: Store, query: str, found: list[str]) -> None:
    store.save_scored([scored("a", title="Bank hid fraud", summary="A probe"), scored("b", title="Bank up", at=LATER)])

    assert [article.id for article in store.read.search(query)] == found


def test_search_follows_a_changed_title_and_forgets_pruned_ones(store: Store) -> None:
    store.save_scored([scored("a", title="Alpha"), scored("b", title="Beta", at=NOON + timedelta(days=9))])
    store.save_scored([scored("a", title="Gamma")])
    assert store.read.search("alpha") == []
    assert [a.id for a in store.read.search("gamma")] == ["a"]

    store.prune(3)

    assert store.read.search("gamma") == []
    assert [a.id for a in store.read.search("beta")] == ["b"]


def test_pruning_measures_age_from_the_newest_article(store: Store) -> None:
    store.save_scored([scored(f"d{day}", at=NOON - timedelta(days=day)) for day in range(10)])
    store.save_points([state("all", *((HOUR - 24 * day, 1, 1, 1.0, 2.0) for day in range(10)))])
    old = NOON - timedelta(days=8)
    store.save_spikes([spike("opened", opened=old), spike("closed", opened=old, at=old + minutes(9)), spike()])

    assert store.prune(3.5) == 6

    assert store.read.totals()["negative"] == 4
    assert sum(h.negative for h in store.read.hours("all", 0, HOUR)) == 4
    assert len(store.read.hours("all", 0, HOUR)) == 4
    assert store.read.closed_spikes(9) == []
    assert len(store.read.open_spikes()) == 1
    assert store.prune(3.5) == 0


def test_a_correction_replaces_an_earlier_one_and_outlives_the_article(store: Store) -> None:
    store.save_scored([scored("a", title="Old"), scored("b", at=NOON + timedelta(days=30))])
    assert store.correct("a", "sentiment", "neutral")
    assert store.correct("a", "sentiment", "positive")
    assert store.correct("a", "topic", "Earnings")
    assert not store.correct("nobody", "sentiment", "positive")
    store.prune(1)

    found = {(label.head, label.old, label.new, label.title) for label in store.read.labels()}
    assert found == {("sentiment", "negative", "positive", "Old"), ("topic", "Macro", "Earnings", "Old")}
    assert store.read.corrected(["a", "b"]) == {("a", "sentiment"): "positive", ("a", "topic"): "Earnings"}


def test_an_unscored_article_cannot_be_corrected(store: Store) -> None:
    store.save_scored([unscored("a")])
    assert not store.correct("a", "sentiment", "negative")


def test_a_value_that_no_column_holds_is_refused(store: Store) -> None:
    with pytest.raises(Refused, match="archive "):
        store.save_points([state("all", (2**63, 1, 1, 1.0, 1.0))])


def test_two_writers_keep_the_counts_exact(url: str) -> None:
    failures: list[Exception] = []

    def write(which: int) -> None:
        try:
            for part in range(10):
                stores[which].save_scored([scored(f"a{(part * 10 + i) % 50}") for i in range(10)])
        except Exception as error:
            failures.append(error)

    # As two processes would; they meet while the tables are created, too.
    with Store(url) as one, Store(url) as other:
        stores = [one, other]
        threads = [threading.Thread(target=write, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert not failures
        assert one.read.totals()["negative"] == 50
        assert counted(other, "all") == (50, 0, 0)


@pytest.mark.parametrize("address", ["", "nonsense", "mysql://u:secret@h/d", "sqlite://", "sqlite:///", "postgresql"])
def test_another_url_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(ArchiveError, match=r"expected sqlite:///FILE or postgresql://") as caught:
        Store(address)
    assert "secret" not in str(caught.value)


def test_an_unreachable_database_is_named_without_its_password() -> None:
    port = free_port()
    store = Store(f"postgresql://squall:secret@127.0.0.1:{port}/news")
    started = time.monotonic()

    with pytest.raises(ArchiveError, match=rf"postgresql\+psycopg://squall:\*\*\*@127.0.0.1:{port}/news") as caught:
        store.read.totals()

    assert "secret" not in str(caught.value)
    assert "is the database running" in str(caught.value)
    assert time.monotonic() - started < 10


def test_a_corrupt_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "archive.db").write_bytes(b"no database " * 1000)

    with pytest.raises(ArchiveError, match=r"archive\.db: file is not a database; restore it from a backup"):
        Store(f"sqlite:///{tmp_path}/archive.db").save_scored([scored("a")])


def test_without_full_text_search_titles_are_read_instead(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    store.save_scored([scored("a", title="Bank hid fraud"), scored("b", title="100% sure")])
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        for event in ("insert", "update", "delete"):
            connection.execute(f"DROP TRIGGER articles_words_{event}")
        connection.execute("DROP TABLE articles_words")
    connection.close()

    assert [article.id for article in store.read.search("fraud bank")] == ["a"]
    assert store.read.newest() == datetime(2023, 4, 26, 12, tzinfo=UTC)
    store.close()
