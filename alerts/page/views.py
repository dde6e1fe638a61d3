"""What each view of the page shows, read from the archive."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts.archive.reader import ArchivedArticle, Development, Hour, Reader
from alerts.page.chart import Chart, Slot, Spark, chart, net_sentiment, slots, spark
from alerts.page.period import Now, Period, moment_of, now
from alerts.stories import Story, group
from bus.messages import SENTIMENTS, SpikeEvent, utcnow

DAY_HOURS = 24
"""What "now" covers in the overview: a day, so that every hour of the day has its share in it."""

MOST_OPEN, MOST_CLOSED, MOST_TOPICS, MOST_ENTITIES, MOST_LATEST, MOST_STORIES = 12, 8, 24, 10, 12, 100
"""Rows of each part."""

MOST_LISTED = 1_000
"""Open spikes that their list names; more would be a page that nobody reads."""

WIDE, NARROW = 960, 400
"""Widths of a chart, in pixels of the view box: one for desks, one for telephones."""


@dataclass(frozen=True, slots=True)
class Mood:
    """A series over the last day."""

    series: str
    counts: dict[str, int]
    """Articles by sentiment."""
    expected: float | None
    spark: Spark
    spike: SpikeEvent | None
    """The open one."""

    @property
    def articles(self) -> int:
        return sum(self.counts.values())

    @property
    def net(self) -> float | None:
        return net_sentiment(self.counts)

    @property
    def excess(self) -> float:
        """How far beyond the expectation, roughly in standard deviations: what the table is sorted by."""
        expected = self.expected or 0.0
        deviation: float = (self.counts["negative"] - expected) / (expected + 1) ** 0.5
        return deviation


@dataclass(frozen=True, slots=True)
class OpenSpike:
    """A spike with its stories and its series' last day."""

    event: SpikeEvent
    lasted: timedelta
    stories: list[Story]
    spark: Spark


@dataclass(frozen=True, slots=True)
class Overview:
    now: Now
    totals: dict[str, int]
    open: list[OpenSpike]
    """The newest; the list of all of them has the rest."""
    open_count: int
    closed: list[SpikeEvent]
    market: Mood
    topics: list[Mood]
    entities: list[Mood]
    latest: list[Story]
    corrected: dict[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class OpenSpikes:
    now: Now
    count: int
    listed: list[tuple[SpikeEvent, timedelta]]
    """With how long each has lasted."""


@dataclass(frozen=True, slots=True)
class SeriesView:
    now: Now
    series: str
    period: Period
    wide: Chart
    narrow: Chart
    shown: list[Slot]
    counts: dict[str, int]
    expected: float | None
    spikes: list[SpikeEvent]
    chosen: Slot | None
    articles: list[ArchivedArticle]
    """Of the chosen slot, or the newest negative ones of the range."""
    corrected: dict[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class SpikeView:
    now: Now
    event: SpikeEvent
    lasted: timedelta
    development: list[Development]
    stories: list[Story]
    wide: Chart
    narrow: Chart
    corrected: dict[tuple[str, str], str]


def current(read: Reader) -> Now:
    """The moment that the page is about."""
    return now(read.newest(), utcnow())


def overview(read: Reader) -> Overview:
    """The first view: everything at a glance."""
    at = current(read)
    first, last = at.hour - DAY_HOURS + 1, at.hour
    opened = read.open_spikes(MOST_LISTED)
    events = opened[:MOST_OPEN]
    topics = read.busiest("topic", first, last, MOST_TOPICS)
    entities = read.busiest("entity", first, last, MOST_ENTITIES)
    hours = read.hours_of(["all", *topics, *entities, *(event.series for event in events)], first, last)
    open_by_series = {event.series: event for event in opened}
    moods = {
        name: _mood(name, hours.get(name, []), first, last, open_by_series) for name in ["all", *topics, *entities]
    }
    latest = read.latest("negative", at.moment - timedelta(days=7), 3 * MOST_LATEST)
    newest = sorted(group(latest), key=lambda story: story.articles[0].published_at, reverse=True)[:MOST_LATEST]
    return Overview(
        now=at,
        totals=read.totals(),
        open=[_open_spike(read, event, at, hours.get(event.series, [])) for event in events],
        open_count=read.count_open_spikes(),
        closed=read.closed_spikes(MOST_CLOSED),
        market=moods["all"],
        topics=sorted((moods[name] for name in topics), key=lambda mood: mood.excess, reverse=True),
        entities=[moods[name] for name in entities if moods[name].counts["negative"]],
        latest=newest,
        corrected=read.corrected(story.first.id for story in newest),
    )


def _mood(series: str, hours: Sequence[Hour], first: int, last: int, spikes: dict[str, SpikeEvent]) -> Mood:
    expected = [hour.expected for hour in hours if hour.expected is not None]
    return Mood(
        series=series,
        counts={label: sum(getattr(hour, label) for hour in hours) for label in SENTIMENTS},
        expected=sum(expected) if expected else None,
        spark=spark(hours, first, last),
        spike=spikes.get(series),
    )


def _open_spike(read: Reader, event: SpikeEvent, at: Now, hours: Sequence[Hour]) -> OpenSpike:
    stories = group(read.articles(event.articles))
    return OpenSpike(event, _lasted(event, at), stories, spark(hours, at.hour - DAY_HOURS + 1, at.hour))


def _lasted(event: SpikeEvent, at: Now) -> timedelta:
    """How long an open spike has lasted."""
    return max(at.reached, event.at) - event.opened_at


def open_spikes_view(read: Reader) -> OpenSpikes:
    """Every open spike, newest first."""
    at = current(read)
    listed = [(event, _lasted(event, at)) for event in read.open_spikes(MOST_LISTED)]
    return OpenSpikes(at, read.count_open_spikes(), listed)


def series_view(read: Reader, series: str, period: Period, at: Now) -> SeriesView:
    """One series over a range, and the stories behind a slot of it."""
    shown = slots(read.hours(series, period.first, period.last), period.first, period.last, period.slot)
    spikes = read.spikes_of(series, period.start, period.end)
    chosen = None
    if period.chosen is not None:
        chosen = next((s for s in shown if s.first <= period.chosen < s.first + period.slot), None)
    if chosen:
        start, end, outcome = moment_of(chosen.first), moment_of(chosen.first + period.slot), ""
    else:
        start, end, outcome = period.start, period.end, "negative"
    articles = read.stories(series, start, end, outcome, MOST_STORIES)
    expected = [slot.expected for slot in shown if slot.expected is not None]
    return SeriesView(
        now=at,
        series=series,
        period=period,
        wide=chart(shown, spikes, period, width=WIDE),
        narrow=chart(shown, spikes, period, width=NARROW, height=200),
        shown=shown,
        counts={label: sum(getattr(slot, label) for slot in shown) for label in SENTIMENTS},
        expected=sum(expected) if expected else None,
        spikes=spikes,
        chosen=chosen,
        articles=_negative_first(articles) if chosen else articles,
        corrected=read.corrected(article.id for article in articles),
    )


def _negative_first(articles: Sequence[ArchivedArticle]) -> list[ArchivedArticle]:
    return sorted(articles, key=lambda article: SENTIMENTS.index(article.outcome))


def spike_view(read: Reader, event: SpikeEvent) -> SpikeView:
    """One spike: its reason, how it developed, every story of it."""
    at = current(read)
    end: datetime = event.closed_at or max(at.reached, event.at)
    last = int(end.timestamp() // 3600) + (2 if event.closed_at else 0)
    first = max(int(event.opened_at.timestamp() // 3600) - DAY_HOURS, last - MOST_STORIES)
    period = Period(first, last, "")
    shown = slots(read.hours(event.series, first, last), first, last, 1)
    spikes = read.spikes_of(event.series, period.start, period.end)
    articles = read.spike_articles(event.id)
    return SpikeView(
        now=at,
        event=event,
        lasted=end - event.opened_at,
        development=read.development(event.id),
        stories=group(articles),
        wide=chart(shown, spikes, period, width=WIDE),
        narrow=chart(shown, spikes, period, width=NARROW, height=200),
        corrected=read.corrected(article.id for article in articles),
    )
