"""The archive's tables, for SQLite and PostgreSQL alike.

Times are ``timestamptz`` on PostgreSQL and seconds since 1970 on SQLite, which has no type for them; both come back as
aware UTC datetimes. Grafana's story table reads ``articles`` and ``spikes``, so their columns are an interface.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator, TypeEngine


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Float() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return value.timestamp() if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return datetime.fromtimestamp(value, UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


metadata = MetaData()

NUMBER = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column of type INTEGER."""

articles = Table(
    "articles",
    metadata,
    Column("number", NUMBER, primary_key=True, autoincrement=True),  # the order of arrival
    Column("id", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("published_at", UtcTime, nullable=False),
    Column("fetched_at", UtcTime, nullable=False),
    Column("scored_at", UtcTime, nullable=False),
    Column("outcome", Text, nullable=False),  # one of bus.messages.OUTCOMES
    Column("sentiment", Text),  # the heads' labels, NULL where the article is unscored
    Column("topic", Text),
    Column("relevance", Text),
    Column("p_negative", Float),
    Column("p_neutral", Float),
    Column("p_positive", Float),
    Column("p_topic", Float),
    Column("p_relevant", Float),
    Column("model_version", Text, nullable=False),
    Column("unscored", Text, nullable=False),  # why there is no score
    Column("entities", JSON, nullable=False),
    Column("signature", BigInteger, nullable=False),  # the 64 bits, as a signed number
    Index("articles_by_time", "published_at"),
    Index("articles_by_outcome", "outcome", "published_at"),
)
article_series = Table(  # which series a relevant article counts in
    "article_series",
    metadata,
    Column("article", Text, primary_key=True),
    Column("series", Text, primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("published_at", UtcTime, nullable=False),
    Index("article_series_by_time", "series", "published_at"),
    sqlite_with_rowid=False,
)

hourly = Table(  # counts of article_series, kept exact by the same transactions
    "hourly",
    metadata,
    Column("series", Text, primary_key=True),
    Column("hour", BigInteger, primary_key=True),  # hours since 1970, as in Point
    Column("negative", BigInteger, nullable=False),
    Column("neutral", BigInteger, nullable=False),
    Column("positive", BigInteger, nullable=False),
    Index("hourly_by_hour", "hour", "series"),
    sqlite_with_rowid=False,
)

totals = Table(  # counts of articles, kept exact by the same transactions
    "totals",
    metadata,
    Column("outcome", Text, primary_key=True),
    Column("articles", BigInteger, nullable=False),
)

points = Table(  # what trends expected of an hour
    "points",
    metadata,
    Column("series", Text, primary_key=True),
    Column("hour", BigInteger, primary_key=True),
    Column("articles", BigInteger, nullable=False),
    Column("negative", BigInteger, nullable=False),
    Column("expected", Float, nullable=False),
    Column("upper", Float, nullable=False),
    Index("points_by_hour", "hour", "series"),
    sqlite_with_rowid=False,
)

spikes = Table(
    "spikes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("series", Text, nullable=False),
    Column("state", Text, nullable=False),  # of the newest event: opened, updated, closed
    Column("opened_at", UtcTime, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("closed_at", UtcTime),
    Column("horizon_minutes", BigInteger, nullable=False),
    Column("observed", Float, nullable=False),
    Column("expected", Float, nullable=False),
    Column("surprise", Float, nullable=False),
    Column("peak_observed", Float, nullable=False),
    Column("sources", JSON, nullable=False),
    Column("articles", JSON, nullable=False),  # ids within the horizon at the newest event that had any, newest first
    Index("spikes_by_series", "series", "opened_at"),
    Index("spikes_by_state", "state", "closed_at"),
)

spike_events = Table(  # how a spike developed
    "spike_events",
    metadata,
    Column("spike", Text, primary_key=True),
    Column("at", UtcTime, primary_key=True),
    Column("state", Text, primary_key=True),
    Column("observed", Float, nullable=False),
    Column("expected", Float, nullable=False),
    Column("surprise", Float, nullable=False),
    sqlite_with_rowid=False,
)

spike_articles = Table(  # every article that any event of a spike named
    "spike_articles",
    metadata,
    Column("spike", Text, primary_key=True),
    Column("article", Text, primary_key=True),
    sqlite_with_rowid=False,
)

labels = Table(  # corrections by readers; they outlive the article, so they keep its text
    "labels",
    metadata,
    Column("number", NUMBER, primary_key=True, autoincrement=True),
    Column("article", Text, nullable=False),
    Column("head", Text, nullable=False),  # sentiment, topic or relevance
    Column("old", Text, nullable=False),
    Column("new", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("title", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    UniqueConstraint("article", "head"),
)

FULL_TEXT = {
    # The index reads the texts from the table itself, and triggers keep it in step: the recipe of
    # https://sqlite.org/fts5.html, section 4.4.3.
    "sqlite": (
        "CREATE VIRTUAL TABLE IF NOT EXISTS articles_words USING fts5"
        "(title, summary, content=articles, content_rowid=number)",
        "CREATE TRIGGER IF NOT EXISTS articles_words_insert AFTER INSERT ON articles BEGIN"
        " INSERT INTO articles_words (rowid, title, summary) VALUES (new.number, new.title, new.summary); END",
        "CREATE TRIGGER IF NOT EXISTS articles_words_delete AFTER DELETE ON articles BEGIN"
        " INSERT INTO articles_words (articles_words, rowid, title, summary)"
        " VALUES ('delete', old.number, old.title, old.summary); END",
        # Only where the text has changed: an article that is archived again costs the index nothing.
        "CREATE TRIGGER IF NOT EXISTS articles_words_update AFTER UPDATE ON articles"
        " WHEN old.title <> new.title OR old.summary <> new.summary BEGIN"
        " INSERT INTO articles_words (articles_words, rowid, title, summary)"
        " VALUES ('delete', old.number, old.title, old.summary);"
        " INSERT INTO articles_words (rowid, title, summary) VALUES (new.number, new.title, new.summary); END",
    ),
    "postgresql": (
        "CREATE INDEX IF NOT EXISTS articles_by_word ON articles"
        " USING gin (to_tsvector('simple', title || ' ' || summary))",
    ),
}
"""What full-text search needs, by dialect."""
