"""The archive's store: what writes it. What reads it is :class:`alerts.archive.reader.Reader`, at ``store.read``."""

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Self

from sqlalchemy import Connection, Table, delete, inspect, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError

from alerts.archive import tables as t
from alerts.archive.engine import Refused, make_engine, reading, shown, writing
from alerts.archive.reader import Reader
from alerts.archive.rows import (
    Row,
    article_row,
    clean,
    hour_of,
    hourly_rows,
    is_news,
    memberships,
    spike_row,
    utc,
)
from bus.messages import ScoredArticle, SpikeEvent, TrendState, utcnow

__all__ = ["Refused", "Store"]

log = logging.getLogger(__name__)

CHUNK = 1_000
"""Ids looked up in one statement: SQLite takes 32,766 values, and a chunk's transaction should stay in milliseconds."""

PRUNE_CHUNK = 5_000
"""Articles deleted in one transaction, so that the writers of new ones wait some tens of milliseconds at most."""


class Store:
    """Scored articles, spikes, points and corrections in SQLite or PostgreSQL.

    Nothing is connected before the first use, and the tables are created then, so that a database that starts later
    than Squall is waited for like any other outage. Every write is an upsert: the same messages again change nothing.
    Safe to share between threads; several processes may write at once, one transaction at a time.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``.

    Raises:
        ArchiveError: the URL is none of these; from the methods: the database cannot be opened, read or written
            (Refused when it works but cannot hold the values).
    """

    def __init__(self, url: str) -> None:
        self._engine = make_engine(url)
        self._ready = False
        self._lock = threading.Lock()
        self.read = Reader(self._reading, self._words)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The URL without its password."""
        return shown(self._engine.url)

    def save_scored(self, scored: Sequence[ScoredArticle]) -> None:
        """Upsert articles with their scores; of one id the last one stays. Counts by series and outcome stay exact."""
        rows = {row["id"]: row for row in map(article_row, scored)}
        for chunk in _chunks(rows.values(), CHUNK):
            with self._writing() as connection:
                self._save_articles(connection, chunk)

    def _save_articles(self, connection: Connection, rows: list[Row]) -> None:
        ids = [row["id"] for row in rows]
        series = t.article_series
        known = select(t.articles.c.id, t.articles.c.outcome).where(t.articles.c.id.in_(ids))
        before = [outcome for _, outcome in connection.execute(known)]
        members = select(series.c.series, series.c.outcome, series.c.published_at).where(series.c.article.in_(ids))
        removed = [(name, outcome, at) for name, outcome, at in connection.execute(members)] if before else []
        if before:
            connection.execute(delete(series).where(series.c.article.in_(ids)))
        self._upsert(connection, t.articles, rows)
        links = [
            {"article": row["id"], "series": name, "outcome": outcome, "published_at": at}
            for row in rows
            for name, outcome, at in memberships(row)
        ]
        self._upsert(connection, series, links)
        self._add(connection, t.hourly, hourly_rows([m for row in rows for m in memberships(row)], removed))
        self._count(connection, (row["outcome"] for row in rows), before)

    def save_spikes(self, events: Sequence[SpikeEvent]) -> None:
        """Upsert one row for each spike from its newest event, and each event and article of it beside that."""
        if not events:
            return
        with self._writing() as connection:
            for event in events:
                before = connection.execute(select(t.spikes).where(t.spikes.c.id == clean(event.id))).mappings().first()
                row = spike_row(event, dict(before) if before else None)
                if is_news(event, dict(before) if before else None):
                    self._upsert(connection, t.spikes, [row])
                happened = {"spike": row["id"], "at": row["at"], "state": row["state"]}
                measured = {name: row[name] for name in ("observed", "expected", "surprise")}
                self._upsert(connection, t.spike_events, [happened | measured])
                named = [{"spike": row["id"], "article": clean(article)} for article in dict.fromkeys(event.articles)]
                self._upsert(connection, t.spike_articles, named)

    def save_points(self, states: Sequence[TrendState]) -> None:
        """Upsert the points of series: their hours beside what was expected; of one hour the last one stays."""
        rows = {
            (state.series, point.hour): {
                "series": clean(state.series),
                "hour": point.hour,
                "articles": point.articles,
                "negative": point.negative,
                "expected": point.expected,
                "upper": point.upper,
            }
            for state in states
            for point in state.points
        }
        if rows:
            with self._writing() as connection:
                self._upsert(connection, t.points, [rows[key] for key in sorted(rows)])

    def correct(self, article: str, head: str, new: str) -> bool:
        """Store a reader's correction of one head's label; a later one of the same article and head replaces it.

        Returns False when the archive has no such article, or the article has no label there.
        """
        columns = t.articles.c
        with self._writing() as connection:
            row = connection.execute(select(t.articles).where(columns.id == article)).mappings().first()
            if row is None or row[head] is None:
                return False
            kept = {name: row[name] for name in ("title", "summary", "source", "model_version")}
            label = {"article": article, "head": head, "old": row[head], "new": new, "at": utcnow()} | kept
            self._upsert(connection, t.labels, [label], key=("article", "head"))
        return True

    def prune(self, days: float) -> int:
        """Delete what is more than ``days`` older than the newest article; the number of articles that went.

        The age is measured in event time, so that an archive of the past, as a replay fills it, stays.
        """
        newest = self.read.newest()
        if newest is None:
            return 0
        hour = hour_of(newest - timedelta(days=days))
        cutoff = utc(datetime.fromtimestamp(hour * 3600, newest.tzinfo))
        gone = 0
        while chunk := self._prune_articles(cutoff):
            gone += chunk
        old = select(t.spikes.c.id).where(t.spikes.c.closed_at < cutoff)
        with self._writing() as connection:
            for table in (t.hourly, t.points):
                connection.execute(delete(table).where(table.c.hour < hour))
            for table in (t.spike_events, t.spike_articles):
                connection.execute(delete(table).where(table.c.spike.in_(old)))
            connection.execute(delete(t.spikes).where(t.spikes.c.closed_at < cutoff))
        return gone

    def _prune_articles(self, cutoff: datetime) -> int:
        columns = t.articles.c
        with self._writing() as connection:
            found = select(columns.id, columns.outcome).where(columns.published_at < cutoff).limit(PRUNE_CHUNK)
            rows = connection.execute(found).all()
            ids = [row.id for row in rows]
            connection.execute(delete(t.article_series).where(t.article_series.c.article.in_(ids)))
            connection.execute(delete(t.articles).where(columns.id.in_(ids)))
            self._count(connection, (), [row.outcome for row in rows])
        return len(rows)

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    def _count(self, connection: Connection, added: Iterable[str], removed: Iterable[str]) -> None:
        counts = Counter(added)
        counts.subtract(Counter(removed))
        changed = [{"outcome": name, "articles": number} for name, number in sorted(counts.items()) if number]
        self._add(connection, t.totals, changed)

    def _insert(self, table: Table) -> Any:
        return (sqlite.insert if self._engine.dialect.name == "sqlite" else postgresql.insert)(table)

    def _upsert(self, connection: Connection, table: Table, rows: list[Row], key: Sequence[str] = ()) -> None:
        """Insert rows; where the key (by default what makes a row unique) is there, replace the other columns."""
        if not rows:
            return
        insert = self._insert(table)
        unique = key or (("id",) if table is t.articles else [column.name for column in table.primary_key])
        rest = {name: insert.excluded[name] for name in rows[0] if name not in unique}
        do = insert.on_conflict_do_update(index_elements=unique, set_=rest) if rest else insert.on_conflict_do_nothing()
        connection.execute(do, rows)

    def _add(self, connection: Connection, table: Table, rows: list[Row]) -> None:
        """Insert counts; where the key is there, add to them."""
        if not rows:
            return
        insert = self._insert(table)
        key = [column.name for column in table.primary_key]
        sums = {name: table.c[name] + insert.excluded[name] for name in rows[0] if name not in key}
        connection.execute(insert.on_conflict_do_update(index_elements=key, set_=sums), rows)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._prepare()
        with reading(self._engine) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        self._prepare()
        with writing(self._engine) as connection:
            yield connection

    def _prepare(self) -> None:
        """Create the tables before the first use."""
        with self._lock:
            if self._ready:
                return
            with reading(self._engine) as connection:
                missing = "labels" not in inspect(connection).get_table_names()
            if missing:
                with writing(self._engine) as connection:
                    t.metadata.create_all(connection)
                    self._create_words(connection)
            self._ready = True

    def _create_words(self, connection: Connection) -> None:
        try:
            for statement in t.FULL_TEXT[self._engine.dialect.name]:
                connection.exec_driver_sql(statement)
        except OperationalError:  # a SQLite built without FTS5
            log.warning("archive %s: this SQLite has no FTS5; search reads every title instead", self.name)

    def _words(self) -> str:
        """How words are searched: "fts5", "tsvector" or "like"."""
        if self._engine.dialect.name == "postgresql":
            return "tsvector"
        with self._reading() as connection:
            return "fts5" if "articles_words" in inspect(connection).get_table_names() else "like"


def _chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    source = iter(rows)
    while chunk := list(islice(source, size)):
        yield chunk
