"""The topics of the log: who writes what under which key stands in docs/design.md."""

from dataclasses import dataclass

HOUR = 3_600.0
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must be: name, number of partitions, and how long its records are kept."""

    name: str
    partitions: int = 1
    compacted: bool = False
    """Keep the newest record of each key instead of deleting by age."""
    retention_seconds: float = 7 * DAY
    """Age after which a record may go; for a compacted topic, the age that a superseded record keeps at least."""
    keyed_state: bool = False
    """A key must stay in its partition, since the state of what it names lives in the partition of that number."""


ARTICLES = "news.articles"
SCORED = "news.scored"
TALLIES = "news.tallies"
TRENDS = "news.trends"
SPIKES = "news.spikes"
DEAD = "news.dead"


def news_topics(partitions: int = 4, retention_days: float = 7.0) -> list[TopicSpec]:
    """Every topic of Squall.

    Tallies and trends have equal partition counts, so that a series' state lives in the partition of the same number
    as its tallies and moves with them.
    """
    age = retention_days * DAY
    return [
        TopicSpec(ARTICLES, partitions, retention_seconds=age),
        TopicSpec(SCORED, partitions, retention_seconds=age),
        TopicSpec(TALLIES, partitions, retention_seconds=age, keyed_state=True),
        TopicSpec(TRENDS, partitions, compacted=True, retention_seconds=HOUR, keyed_state=True),
        TopicSpec(SPIKES, 1, retention_seconds=max(age, 30 * DAY)),
        TopicSpec(DEAD, 1, retention_seconds=max(age, 30 * DAY)),
    ]
