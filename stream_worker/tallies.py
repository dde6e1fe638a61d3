"""Map-side combining: what a batch of scored articles adds to each series and minute."""

from collections.abc import Iterable
from datetime import datetime

from bus.messages import Counts, Negative, ScoredArticle, Tally

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
    """One tally for each series and minute, oldest minute first.

    The sum of all tallies of ``all`` is the number of articles, whatever became of them.
    """
    tallies: dict[tuple[int, str], Tally] = {}
    for scored in articles:
        article, outcome = scored.article, scored.outcome
        minute = minute_of(article.published_at)
        for series in series_of(scored):
            found = tallies.get((minute, series))
            if found is None:
                found = Tally(series=series, minute=minute, counts={}, scored_at=scored.scored_at)
                tallies[minute, series] = found
            found.counts.setdefault(article.source, Counts()).count(outcome)
            if outcome == "negative":
                found.negatives.append(Negative(article.id, article.source, scored.signature, article.weight))
    return [tallies[key] for key in sorted(tallies)]
