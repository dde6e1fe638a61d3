"""The messages on the log: msgspec structs in JSON, with a schema version.

Unknown fields are ignored, a missing required field is a :class:`bus.errors.MessageError`. All times are aware UTC
datetimes. A reader accepts its own schema version and older ones.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from bus.errors import MessageError

SCHEMA = 1

MAX_TITLE = 2_000
"""Longest title kept, in characters; a longer one is refused, since it is a broken feed and not a headline."""

SENTIMENTS = ("negative", "neutral", "positive")
RELEVANCES = ("irrelevant", "relevant")
OUTCOMES = (*SENTIMENTS, "irrelevant", "unscored")
"""What can become of an article, in the order of :class:`Counts`. Each article has exactly one outcome."""


class Message(Struct, kw_only=True, omit_defaults=True):
    """What every message on the log has: the version of its schema."""

    schema: int = SCHEMA


class Article(Message):
    """One piece of news as it was crawled, pushed or replayed (topic ``news.articles``, key: ``id``)."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    """16 hexadecimal digits: first 64 bits of sha256 over the canonical URL, else over source and title."""
    source: Annotated[str, Meta(min_length=1, max_length=200)]
    title: Annotated[str, Meta(min_length=1, max_length=MAX_TITLE)]
    published_at: datetime
    """Event time, UTC. Never later than ``fetched_at``: ingest clamps it."""
    fetched_at: datetime
    summary: str = ""
    body: str = ""
    url: str = ""
    language: str = ""
    """BCP 47 tag as the source states it; empty where it does not."""
    weight: float = 1.0
    """How much one negative article of this source adds to a spike (``weight`` in sources.yml)."""


class Judgement(Struct, frozen=True, kw_only=True):
    """One head's answer: the most probable label, and every label's probability (they add up to 1)."""

    label: str
    probabilities: dict[str, float]


class ScoredArticle(Message):
    """An article with the model's judgement (topic ``news.scored``, key: the article's id).

    ``sentiment``, ``topic`` and ``relevance`` are None together, and then ``unscored`` says why.
    """

    article: Article
    scored_at: datetime
    language: str
    """What the worker took the language to be, two letters; "und" when it could not tell."""
    model_version: str = ""
    sentiment: Judgement | None = None
    topic: Judgement | None = None
    relevance: Judgement | None = None
    unscored: str = ""
    entities: list[str] = []
    """Names of watchlist entities found in title and summary."""
    signature: int = 0
    """64-bit story signature: near-equal titles have equal or near-equal bits."""

    @property
    def outcome(self) -> str:
        """What became of the article, one of :data:`OUTCOMES`."""
        if self.sentiment is None or self.relevance is None:
            return "unscored"
        return self.sentiment.label if self.relevance.label == "relevant" else "irrelevant"


class Counts(Struct, array_like=True):
    """Articles by outcome; the fields stand in the order of :data:`OUTCOMES`."""

    negative: int = 0
    neutral: int = 0
    positive: int = 0
    irrelevant: int = 0
    unscored: int = 0

    @property
    def total(self) -> int:
        return self.negative + self.neutral + self.positive + self.irrelevant + self.unscored

    @property
    def relevant(self) -> int:
        return self.negative + self.neutral + self.positive

    def add(self, other: "Counts") -> None:
        self.negative += other.negative
        self.neutral += other.neutral
        self.positive += other.positive
        self.irrelevant += other.irrelevant
        self.unscored += other.unscored

    def count(self, outcome: str) -> None:
        """Count one article of this outcome (one of :data:`OUTCOMES`)."""
        setattr(self, outcome, getattr(self, outcome) + 1)


class Negative(Struct, array_like=True, frozen=True):
    """One relevant negative article inside a tally: what the detector and the evidence need of it."""

    article: str
    source: str
    signature: int
    weight: float = 1.0


class Minute(Struct, array_like=True):
    """What one batch adds to one minute of a series."""

    minute: int
    """Minutes since 1970-01-01T00:00Z of the articles' ``published_at``."""
    counts: dict[str, Counts]
    """By source."""
    negatives: list[Negative] = []


class Tally(Message):
    """What one batch adds to one series (topic ``news.tallies``, key: ``series``).

    One record for each series and batch: the topic grows with the series, not with the articles.
    """

    series: str
    """``all``, ``topic:<name>``, ``entity:<name>``, ``story:<name>``."""
    minutes: list[Minute]
    """Oldest first."""
    scored_at: datetime | None = None
    """When the batch was scored: how long a tally takes to the trends."""


class Point(Struct, array_like=True, frozen=True):
    """One hour of one series beside what was expected of it."""

    hour: int
    """Hours since 1970-01-01T00:00Z."""
    articles: int
    """Relevant articles."""
    negative: int
    expected: float
    """Negative articles that the baseline expects in this hour."""
    upper: float
    """The 99th percentile of what the baseline expects: the band's upper edge."""


class SpikeEvent(Message):
    """A spike opens, is updated or closes (topic ``news.spikes``, key: ``series``)."""

    id: str
    """``<series>@<opened_at>``: the same in all events of one spike."""
    series: str
    state: str
    """``opened``, ``updated`` or ``closed``."""
    opened_at: datetime
    """Event time."""
    at: datetime
    """Event time of this event."""
    horizon_minutes: int
    observed: float
    """Negative articles within the horizon, repeats and single loud sources discounted."""
    expected: float
    """What the baseline expects in that time."""
    surprise: float
    """-log10 of the probability of so many or more."""
    articles: list[str] = []
    """Ids of the negative articles within the horizon, newest first, bounded."""
    sources: dict[str, int] = {}
    """Negative articles within the horizon by source."""
    closed_at: datetime | None = None
    peak_observed: float = 0.0
    """The largest ``observed`` of the spike so far."""

    @property
    def reason(self) -> str:
        """One sentence for people: observed against expected, horizon and breadth."""
        hours = self.horizon_minutes / 60
        window = f"{hours:g} h" if hours >= 1 else f"{self.horizon_minutes} min"
        expected = f"{self.expected:.1f}" if self.expected >= 0.1 else "almost none"
        return (
            f"{self.observed:.3g} negative articles within {window} where {expected} is normal, "
            f"from {len(self.sources)} source{'s' if len(self.sources) != 1 else ''}"
        )


class Recent(Struct, array_like=True, frozen=True):
    """One of a series' newest negative articles: evidence for a spike, and what repeats are recognised by."""

    minute: int
    article: str
    source: str
    signature: int


class TrendState(Message):
    """Everything that Squall knows of one series (topic ``news.trends``, compacted, key: ``series``).

    The newest record of a series is enough to go on exactly where its last owner stopped. Its size is bounded: it
    grows neither with the articles nor with the days.
    """

    series: str
    minute: int = 0
    """Newest event time, in minutes since 1970."""
    totals: dict[str, Counts] = {}
    """All articles ever tallied, by source."""
    late: int = 0
    """Of these, articles older than ``open_hour``: counted here, invisible to the detector."""
    points: list[Point] = []
    """The hours that ended or changed since the record before, oldest first (for the archive)."""
    since: int = 0
    """The hour from which on the series was watched, in hours since 1970. A name that is never in the news has been
    watched all the same: it begins with the oldest series of its owner, not with its own first article."""
    open_hour: int = 0
    """The oldest hour that the baseline has not absorbed, in hours since 1970."""
    hours: dict[int, Counts] = {}
    """Relevant articles by hour, from ``open_hour`` on."""
    weights: dict[int, float] = {}
    """Negative weight by hour, from ``open_hour`` on; the weight of an article is 1 unless discounted."""
    exposure: float = 0.0
    """Forgetting sum of the hours absorbed."""
    mass: float = 0.0
    """Forgetting sum of their negative weight."""
    squares: float = 0.0
    """Forgetting sum of their squared negative weight, for the dispersion."""
    window: dict[int, dict[str, float]] = {}
    """Negative weight by slot of five minutes and source, within the longest horizon."""
    recent: list[Recent] = []
    """The newest negative articles, oldest first, bounded."""
    spike: SpikeEvent | None = None
    """The open spike, as last reported."""
    quiet_until: int = 0
    """Minute until which no new spike opens (cooldown after one has closed)."""


class DeadLetter(Message):
    """Bytes that a stage could not use, kept for a person to look at (topic ``news.dead``, key: the original key)."""

    stage: str
    error: str
    value: bytes
    """The original bytes (base64 in the JSON), or as many of them as fit."""
    at: datetime
    topic: str = ""
    partition: int = -1
    offset: int = -1
    """Where it stood on the log; -1 when it never reached it."""
    length: int = 0
    """Bytes of the original; 0 means all are here."""
    origin: str = ""
    """Where it came from when not from the log: a file and line, a URL, an address."""


class Settled(Message):
    """A person has dealt with a dead letter (topic ``news.dead``, key: the letter's)."""

    settles: int
    """The letter's offset."""
    how: str
    """``requeued`` or ``dropped``."""
    at: datetime


T = TypeVar("T")

_encoder = msgspec.json.Encoder()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def encode(message: Struct) -> bytes:
    """The message as JSON bytes."""
    return _encoder.encode(message)


def decode(value: bytes, kind: type[T]) -> T:
    """Read a message of one kind from JSON bytes.

    Raises:
        MessageError: broken JSON, a missing field, a wrong type, or a schema newer than this program knows.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        message = decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(f"not a {kind.__name__}: {error}") from error
    schema = getattr(message, "schema", SCHEMA)
    if schema > SCHEMA:
        raise MessageError(f"{kind.__name__} of schema {schema}, but this program reads up to {SCHEMA}: upgrade Squall")
    return message  # type: ignore[no-any-return]


def utcnow() -> datetime:
    """The present as an aware UTC datetime."""
    return datetime.now(UTC)
