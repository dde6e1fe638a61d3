"""Messages as the stages before would write them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bus.messages import Article, Judgement, Point, ScoredArticle, SpikeEvent, TrendState

NOON = datetime(2023, 4, 26, 12, tzinfo=UTC)
"""The event time that the samples circle around."""

HOUR = int(NOON.timestamp()) // 3600


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def scored(
    name: str,
    label: str = "negative",
    *,
    at: datetime = NOON,
    topic: str = "Macro",
    relevant: bool = True,
    title: str = "",
    entities: Sequence[str] = (),
    source: str = "wire",
    signature: int = 0,
    **article: Any,
) -> ScoredArticle:
    """A scored article; ``label`` is the sentiment."""
    rest = {other: 0.1 for other in ("negative", "neutral", "positive") if other != label}
    return ScoredArticle(
        article=Article(
            id=name,
            source=source,
            title=title or f"Headline {name}",
            published_at=at,
            fetched_at=at,
            **({"url": f"https://news.example/{name}", "summary": f"Summary of {name}"} | article),
        ),
        scored_at=at,
        language="en",
        model_version="v1",
        sentiment=Judgement(label=label, probabilities={label: 0.8, **rest}),
        topic=Judgement(label=topic, probabilities={topic: 0.9}),
        relevance=Judgement(
            label="relevant" if relevant else "irrelevant",
            probabilities={"relevant": 0.95 if relevant else 0.05, "irrelevant": 0.05 if relevant else 0.95},
        ),
        entities=list(entities),
        signature=signature,
    )


def unscored(name: str, at: datetime = NOON) -> ScoredArticle:
    """An article in a language that no model reads."""
    article = Article(id=name, source="wire", title=f"Überschrift {name}", published_at=at, fetched_at=at)
    return ScoredArticle(article=article, scored_at=at, language="de", unscored="no model reads de")


def spike(
    state: str = "opened",
    *,
    series: str = "entity:First Republic",
    opened: datetime = NOON,
    at: datetime | None = None,
    observed: float = 8.0,
    peak: float | None = None,
    articles: Sequence[str] = ("a1", "a2"),
    sources: dict[str, int] | None = None,
) -> SpikeEvent:
    """An event of a spike."""
    moment = at or opened
    return SpikeEvent(
        id=f"{series}@{opened:%Y-%m-%dT%H:%M}Z",
        series=series,
        state=state,
        opened_at=opened,
        at=moment,
        horizon_minutes=60,
        observed=observed,
        expected=0.9,
        surprise=6.2,
        articles=list(articles),
        sources={"wire": 5, "ft": 3} if sources is None else sources,
        closed_at=moment if state == "closed" else None,
        peak_observed=observed if peak is None else peak,
    )


def state(series: str, *points: tuple[int, int, int, float, float]) -> TrendState:
    """A series' state with points: hour, articles, negative, expected, upper."""
    return TrendState(series=series, points=[Point(*point) for point in points])
