"""Questions to the archive: what the page, the evidence and the export of labels read."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, and_, column, func, literal, or_, select, table, text

from alerts.archive import tables as t
from bus.messages import OUTCOMES, SpikeEvent

SEARCH_POOL = 500
"""Newest arrivals among which a search sorts by event time: more would sort half the archive for a common word."""


@dataclass(frozen=True, slots=True)
class ArchivedArticle:
    """An article as the archive keeps it; labels and probabilities are None where it is unscored."""

    id: str
    source: str
    title: str
    summary: str
    url: str
    published_at: datetime
    outcome: str
    sentiment: str | None
    topic: str | None
    relevance: str | None
    p_negative: float | None
    p_neutral: float | None
    p_positive: float | None
    p_topic: float | None
    p_relevant: float | None
    model_version: str
    entities: tuple[str, ...]
    signature: int
    """The 64 bits, unsigned."""


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of a series: the archived articles, and what was expected; None where trends said nothing of it."""

    hour: int
    """Hours since 1970."""
    negative: int
    neutral: int
    positive: int
    expected: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class Development:
    """One event of a spike."""

    at: datetime
    state: str
    observed: float
    expected: float
    surprise: float


@dataclass(frozen=True, slots=True)
class Correction:
    """A reader's correction of one label."""

    article: str
    head: str
    old: str
    new: str
    at: datetime
    title: str
    summary: str
    source: str
    model_version: str


class Reader:
    """Reads the archive; every method is one or two indexed statements and raises ArchiveError when that fails."""

    def __init__(self, connect: Callable[[], AbstractContextManager[Connection]], words: Callable[[], str]) -> None:
        self._connect = connect
        self._find_words = words

    def totals(self) -> dict[str, int]:
        """Articles stored by outcome; every one of :data:`bus.messages.OUTCOMES` is there."""
        with self._connect() as connection:
            found = {row.outcome: row.articles for row in connection.execute(select(t.totals))}
        return {outcome: found.get(outcome, 0) for outcome in OUTCOMES}

    def newest(self) -> datetime | None:
        """Event time of the newest article; None in an empty archive."""
        with self._connect() as connection:
            moment: datetime | None = connection.scalar(select(func.max(t.articles.c.published_at)))
        return moment

    def articles(self, ids: Sequence[str]) -> list[ArchivedArticle]:
        """The articles that are there, in the order of ``ids``."""
        if not ids:
            return []
        found = {a.id: a for a in self._articles(select(t.articles).where(t.articles.c.id.in_(ids)))}
        return [found[name] for name in dict.fromkeys(ids) if name in found]

    def latest(self, outcome: str, since: datetime, limit: int) -> list[ArchivedArticle]:
        """The newest articles of one outcome, newest first."""
        columns = t.articles.c
        wanted = and_(columns.outcome == outcome, columns.published_at >= since)
        return self._articles(select(t.articles).where(wanted).order_by(columns.published_at.desc()).limit(limit))

    def stories(
        self, series: str, since: datetime, until: datetime, outcome: str = "", limit: int = 50
    ) -> list[ArchivedArticle]:
        """Articles of a series with ``since <= published_at < until``, newest first, of one outcome or of all.

        For ``story:`` series these are the articles that its spikes named.
        """
        if series.startswith("story:"):
            ids = select(t.spike_articles.c.article).join(t.spikes, t.spikes.c.id == t.spike_articles.c.spike)
            ids = ids.where(t.spikes.c.series == series)
            columns = t.articles.c
            wanted = and_(columns.id.in_(ids), columns.published_at >= since, columns.published_at < until)
            chosen = select(t.articles).where(wanted).order_by(columns.published_at.desc())
        else:
            link = t.article_series.c
            wanted = and_(link.series == series, link.published_at >= since, link.published_at < until)
            joined = t.articles.join(t.article_series, link.article == t.articles.c.id)
            chosen = select(t.articles).select_from(joined).where(wanted).order_by(link.published_at.desc())
        if outcome:
            chosen = chosen.where(t.articles.c.outcome == outcome)
        return self._articles(chosen.limit(limit))

    def hours(self, series: str, first: int, last: int) -> list[Hour]:
        """The hours from ``first`` to ``last`` inclusive in which anything was counted or expected, oldest first."""
        return self.hours_of([series], first, last).get(series, [])

    def hours_of(self, series: Sequence[str], first: int, last: int) -> dict[str, list[Hour]]:
        """:meth:`hours` of several series."""
        with self._connect() as connection:
            counted, expected = (
                {
                    (row.series, row.hour): row
                    for row in connection.execute(
                        select(kept).where(and_(kept.c.series.in_(series), kept.c.hour.between(first, last)))
                    )
                }
                for kept in (t.hourly, t.points)
            )
        found: dict[str, list[Hour]] = {}
        for name, hour in sorted(counted.keys() | expected.keys()):
            count, point = counted.get((name, hour)), expected.get((name, hour))
            found.setdefault(name, []).append(
                Hour(
                    hour=hour,
                    # The archive does not know the articles of story: series; trends does.
                    negative=count.negative
                    if count
                    else (point.negative if point and name.startswith("story:") else 0),
                    neutral=count.neutral if count else 0,
                    positive=count.positive if count else 0,
                    expected=point.expected if point else None,
                    upper=point.upper if point else None,
                )
            )
        return found

    def busiest(self, kind: str, first: int, last: int, limit: int) -> list[str]:
        """The series of a kind (``topic``, ``entity``, ``story``) with articles in these hours, most negative first."""
        columns = (t.points if kind == "story" else t.hourly).c
        negative = func.sum(columns.negative)
        wanted = and_(columns.hour.between(first, last), columns.series >= f"{kind}:", columns.series < f"{kind};")
        chosen = select(columns.series).where(wanted).group_by(columns.series)
        with self._connect() as connection:
            return list(connection.scalars(chosen.order_by(negative.desc(), columns.series).limit(limit)))

    def open_spikes(self, limit: int = 50) -> list[SpikeEvent]:
        """Spikes that have not closed, newest first."""
        return self._spikes(select(t.spikes).where(_OPEN).limit(limit))

    def count_open_spikes(self) -> int:
        """How many spikes have not closed."""
        with self._connect() as connection:
            return connection.scalar(select(func.count()).select_from(t.spikes).where(_OPEN)) or 0

    def closed_spikes(self, limit: int) -> list[SpikeEvent]:
        """The spikes that closed last, newest first."""
        closed = select(t.spikes).where(t.spikes.c.state == "closed")
        return self._spikes(closed.order_by(t.spikes.c.closed_at.desc()).limit(limit))

    def spikes_of(self, series: str, since: datetime, until: datetime) -> list[SpikeEvent]:
        """Spikes of a series that were open at some time between two moments, newest first."""
        columns = t.spikes.c
        overlapping = and_(columns.opened_at < until, or_(columns.closed_at.is_(None), columns.closed_at >= since))
        return self._spikes(select(t.spikes).where(columns.series == series, overlapping).limit(200))

    def latest_spike(self, series: str) -> SpikeEvent | None:
        """The spike of a series that opened last."""
        return next(iter(self._spikes(select(t.spikes).where(t.spikes.c.series == series).limit(1))), None)

    def spike(self, name: str) -> SpikeEvent | None:
        """The spike with this id."""
        return next(iter(self._spikes(select(t.spikes).where(t.spikes.c.id == name))), None)

    def development(self, spike: str) -> list[Development]:
        """The events of a spike, oldest first."""
        columns = t.spike_events.c
        chosen = select(columns.at, columns.state, columns.observed, columns.expected, columns.surprise)
        with self._connect() as connection:
            rows = connection.execute(chosen.where(columns.spike == spike).order_by(columns.at))
            return [Development(**row._mapping) for row in rows]

    def spike_articles(self, spike: str, limit: int = 200) -> list[ArchivedArticle]:
        """Every archived article that an event of the spike named, newest first."""
        link = t.spike_articles.c
        joined = t.articles.join(t.spike_articles, link.article == t.articles.c.id)
        chosen = select(t.articles).select_from(joined).where(link.spike == spike)
        return self._articles(chosen.order_by(t.articles.c.published_at.desc()).limit(limit))

    def search(self, query: str, limit: int = 50) -> list[ArchivedArticle]:
        """Articles with every word of the query in title or summary (the last word may be cut short), newest first.

        Among very many matches, those that arrived last.
        """
        words = re.findall(r"\w+", query)[:20]
        if not words:
            return []
        columns = t.articles.c
        chosen = self._matching(words).order_by(columns.number.desc()).limit(max(limit, SEARCH_POOL))
        found = sorted(self._articles(chosen), key=lambda article: article.published_at, reverse=True)
        return found[:limit]

    def _matching(self, words: list[str]) -> Select[Any]:
        columns = t.articles.c
        if self._words == "fts5":
            phrase = " ".join(f'"{word}"' for word in words) + "*"
            matching = text("articles_words MATCH :phrase").bindparams(phrase=phrase)
            newest = select(_WORDS.c.rowid).where(matching).order_by(_WORDS.c.rowid.desc()).limit(SEARCH_POOL)
            return select(t.articles).where(columns.number.in_(newest))
        if self._words == "tsvector":
            phrase = " & ".join(f"'{word}'" for word in words) + ":*"
            vector = func.to_tsvector(text("'simple'"), columns.title + literal(" ") + columns.summary)
            return select(t.articles).where(vector.op("@@")(func.to_tsquery(text("'simple'"), phrase)))
        both = columns.title + " " + columns.summary
        return select(t.articles).where(and_(*(both.ilike(f"%{word}%") for word in words)))

    @cached_property
    def _words(self) -> str:
        return self._find_words()

    def labels(self) -> Iterator[Correction]:
        """Every correction, oldest first."""
        names = [column for column in t.labels.c if column.name != "number"]
        with self._connect() as connection:
            for row in connection.execute(select(*names).order_by(t.labels.c.at, t.labels.c.number)):
                yield Correction(**row._mapping)

    def corrected(self, ids: Iterable[str]) -> dict[tuple[str, str], str]:
        """The corrected label by article and head, for these articles."""
        columns = t.labels.c
        chosen = select(columns.article, columns.head, columns.new).where(columns.article.in_(list(ids)))
        with self._connect() as connection:
            return {(row.article, row.head): row.new for row in connection.execute(chosen)}

    def _articles(self, chosen: Select[Any]) -> list[ArchivedArticle]:
        with self._connect() as connection:
            return [_article(row) for row in connection.execute(chosen).mappings()]

    def _spikes(self, chosen: Select[Any]) -> list[SpikeEvent]:
        with self._connect() as connection:
            rows = connection.execute(chosen.order_by(t.spikes.c.opened_at.desc(), t.spikes.c.id)).mappings()
            return [SpikeEvent(**row) for row in rows]


_OPEN = t.spikes.c.state.in_(("opened", "updated"))
_WORDS = table("articles_words", column("rowid"))
_ARTICLE_COLUMNS = [name for name in ArchivedArticle.__slots__ if name not in ("entities", "signature")]


def _article(row: RowMapping) -> ArchivedArticle:
    plain = {name: row[name] for name in _ARTICLE_COLUMNS}
    return ArchivedArticle(entities=tuple(row["entities"]), signature=row["signature"] & (2**64 - 1), **plain)
