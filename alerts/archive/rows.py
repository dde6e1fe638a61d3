"""Messages as the archive's rows."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from bus.messages import OUTCOMES, SENTIMENTS, Judgement, ScoredArticle, SpikeEvent

MAX_SUMMARY = 10_000
"""Characters of a summary that are kept; PostgreSQL's word index takes a megabyte at most."""

Row = dict[str, Any]
Membership = tuple[str, str, datetime]
"""Series, outcome and event time of an article that counts in a series."""


def clean(text: str) -> str:
    """Text that every database takes: PostgreSQL knows no NUL character."""
    return text.replace("\0", "")


def signed(signature: int) -> int:
    """64 bits as the signed number that SQL has; the inverse is ``number & (2**64 - 1)``."""
    bits = signature & (2**64 - 1)
    return bits - 2**64 if bits >= 2**63 else bits


def utc(moment: datetime) -> datetime:
    """An aware UTC datetime; a naive one is taken as UTC."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def hour_of(moment: datetime) -> int:
    """Hours since 1970 of an event time."""
    return int(utc(moment).timestamp() // 3600)


def article_row(scored: ScoredArticle) -> Row:
    """The row of table ``articles``, without the body: page, evidence and relabelling read title and summary."""
    article = scored.article
    return {
        "id": clean(article.id),
        "source": clean(article.source),
        "title": clean(article.title),
        "summary": clean(article.summary[:MAX_SUMMARY]),
        "url": clean(article.url),
        "language": clean(scored.language),
        "published_at": utc(article.published_at),
        "fetched_at": utc(article.fetched_at),
        "scored_at": utc(scored.scored_at),
        "outcome": scored.outcome if scored.outcome in OUTCOMES else "unscored",
        "sentiment": _label(scored.sentiment),
        "topic": _label(scored.topic),
        "relevance": _label(scored.relevance),
        **{f"p_{label}": _probability(scored.sentiment, label) for label in SENTIMENTS},
        "p_topic": _probability(scored.topic, scored.topic.label) if scored.topic else None,
        "p_relevant": _probability(scored.relevance, "relevant"),
        "model_version": clean(scored.model_version),
        "unscored": clean(scored.unscored),
        "entities": [clean(entity) for entity in scored.entities],
        "signature": signed(scored.signature),
    }


def _label(judgement: Judgement | None) -> str | None:
    return clean(judgement.label) if judgement else None


def _probability(judgement: Judgement | None, label: str) -> float | None:
    return judgement.probabilities.get(label) if judgement else None


def memberships(row: Row) -> list[Membership]:
    """The series that an article of table ``articles`` counts in: none unless it is relevant."""
    if row["outcome"] not in SENTIMENTS:
        return []
    names = ["all", *([f"topic:{row['topic']}"] if row["topic"] else []), *(f"entity:{e}" for e in row["entities"])]
    return [(name, row["outcome"], row["published_at"]) for name in dict.fromkeys(names)]


def hourly_rows(added: Iterable[Membership], removed: Iterable[Membership]) -> list[Row]:
    """What table ``hourly`` changes by, one row for each series and hour that changes at all."""
    cells: dict[tuple[str, int], Counter[str]] = {}
    for sign, members in ((1, added), (-1, removed)):
        for series, outcome, published_at in members:
            cells.setdefault((series, hour_of(published_at)), Counter())[outcome] += sign
    return [
        {"series": series, "hour": hour, **{label: counts[label] for label in SENTIMENTS}}
        for (series, hour), counts in sorted(cells.items())
        if any(counts.values())
    ]


def spike_row(event: SpikeEvent, before: Row | None) -> Row:
    """The row of table ``spikes`` after an event, given the row before it.

    A closing event may have no article left within its horizon; what the spike was about is kept from before.
    """
    row = {
        "id": clean(event.id),
        "series": clean(event.series),
        "state": event.state,
        "opened_at": utc(event.opened_at),
        "at": utc(event.at),
        "closed_at": utc(event.closed_at or event.at) if event.state == "closed" else None,
        "horizon_minutes": event.horizon_minutes,
        "observed": event.observed,
        "expected": event.expected,
        "surprise": event.surprise,
        "peak_observed": max(event.peak_observed, event.observed, before["peak_observed"] if before else 0.0),
        "sources": {clean(source): count for source, count in event.sources.items()},
        "articles": [clean(article) for article in event.articles],
    }
    if before:
        row["sources"] = row["sources"] or before["sources"]
        row["articles"] = row["articles"] or before["articles"]
    return row


def is_news(event: SpikeEvent, before: Row | None) -> bool:
    """Whether an event is not older than what is archived: a closed spike stays closed when its events come again."""
    return before is None or (
        utc(event.at) >= before["at"] and (before["state"] != "closed" or event.state == "closed")
    )
