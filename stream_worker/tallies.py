"""Map-side combining: what a batch of scored articles adds to each series."""

from collections.abc import Iterable
from datetime import datetime

from bus.messages import Counts, Minute, Negative, ScoredArticle, Tally

ALL = "all"


def minute_of(time: datetime) -> int:
    """Minutes since 1970-01-01T00:00Z."""
    return int(time.timestamp() // 60)


def series_of(scored: ScoredArticle) -> list[str]:
    """The series that an article belongs to: ``all``, its topic's, and those of the entities it names."""
    series = [ALL]
    if scored.topic is not None:
        series.append(f"topic:{scored.topic.label}")
    return series + [f"entity:{name}" for name in scored.entities]


def tally(articles: Iterable[ScoredArticle]) -> list[Tally]:
    """One tally for each series, its minutes in order.

    The sum of all tallies of ``all`` is the number of articles, whatever became of them.
    """
    series: dict[str, dict[int, Minute]] = {}
    scored_at = None
    for scored in articles:
        article, outcome = scored.article, scored.outcome
        number, scored_at = minute_of(article.published_at), scored.scored_at
        for name in series_of(scored):
            minutes = series.setdefault(name, {})
            minute = minutes.get(number)
            if minute is None:
                minute = minutes[number] = Minute(number, {})
            counts = minute.counts.get(article.source)
            if counts is None:
                counts = minute.counts[article.source] = Counts()
            counts.count(outcome)
            if outcome == "negative":
                minute.negatives.append(Negative(article.id, article.source, scored.signature, article.weight))
    return [
        Tally(series=name, minutes=[minutes[number] for number in sorted(minutes)], scored_at=scored_at)
        for name, minutes in series.items()
    ]
