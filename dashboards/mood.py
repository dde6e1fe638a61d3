"""The market-mood row: how negative the news is, about what, and whether that is normal."""

from grafana_foundation_sdk.builders import common, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, Panel

from dashboards import queries
from dashboards.panels import Steps, bars, lines, number, ranking, strip
from dashboards.variables import page_link

SPIKES: Steps = [(None, "green"), (1.0, "red")]
SHARE: Steps = [(None, "green"), (0.4, "yellow"), (0.6, "red")]
SENTIMENT: Steps = [(None, "red"), (-0.3, "yellow"), (0.0, "green")]


def panels() -> list[Builder[Panel]]:
    """The panels of the row, 24 columns a line."""
    return [*_at_a_glance(), _expected_and_observed(), *_by_topic(), *_spikes(), *_who()]


def _at_a_glance() -> list[Builder[Panel]]:
    return [
        number(
            "Open spikes",
            "short",
            "Series whose negative news is beyond what is normal for them at this moment.",
            queries.OPEN_SPIKES,
            colors=SPIKES,
        ),
        number(
            "Negative share, last hour",
            "percentunit",
            "Negative articles among the relevant ones of the last hour, whole market.",
            queries.MARKET_SHARE,
            colors=SHARE,
        ),
        number(
            "Net sentiment, last hour",
            "percentunit",
            "Positive minus negative articles, as a share of the relevant ones: -100 % to 100 %.",
            queries.MARKET_SENTIMENT,
            colors=SENTIMENT,
        ),
        number(
            "Relevant articles, last hour",
            "short",
            "Articles that the relevance model keeps; the others are stored but do not count towards spikes.",
            queries.RELEVANT_ARTICLES,
        ),
    ]


def _expected_and_observed() -> timeseries.Panel:
    """The chosen series beside what the detector expects of it, with the surprise on an axis of its own."""
    dashed = common.LineStyle().fill("dash").dash([10, 10]).build()
    surprise: list[tuple[str, object]] = [
        ("custom.axisPlacement", common_model.AxisPlacement.RIGHT),
        ("custom.axisLabel", "surprise"),
        ("custom.fillOpacity", 0),
    ]
    return (
        lines(
            "Negative articles of $series within $horizon: observed and expected",
            "short",
            "Negative articles in the window, repeats and single loud sources discounted, beside what the series' own "
            "baseline expects. Surprise is -log10 of the probability of so many or more: 3 is one in a thousand.",
            {"observed": queries.OBSERVED, "expected": queries.EXPECTED, "surprise": queries.SURPRISE},
            width=24,
        )
        .override_by_name("expected", [DynamicConfigValue("custom.lineStyle", dashed)])
        .override_by_name("surprise", [DynamicConfigValue(name, value) for name, value in surprise])
        .links([page_link("/series/${series:percentencode}", "Stories of $series in Squall")])
    )


def _by_topic() -> list[Builder[Panel]]:
    return [
        lines(
            "Net sentiment by topic",
            "percentunit",
            "Positive minus negative articles of the last hour, as a share of the topic's relevant ones.",
            {"{{topic}}": queries.SENTIMENT_BY_TOPIC},
        ),
        lines(
            "Negative share by topic",
            "percentunit",
            "Negative articles among the topic's relevant ones of the last hour.",
            {"{{series}}": queries.SHARE_BY_TOPIC},
        ),
    ]


def _spikes() -> list[Builder[Panel]]:
    return [
        strip(
            "Open spikes over time",
            "short",
            "A bar for as long as a spike of the series is open.",
            queries.SPIKE_STRIP,
            "{{series}}",
            width=16,
        ),
        lines(
            "Spikes opened",
            "short",
            "Spikes that opened, by kind of series.",
            {"{{kind}}": queries.SPIKES_OPENED},
            width=8,
        ),
    ]


def _who() -> list[Builder[Panel]]:
    return [
        ranking(
            "Topics with most negative news",
            "short",
            "Topics by negative articles within the chosen horizon. A click on one shows it above.",
            {name: queries.busiest(name, "topic:.+") for name in ("observed", "expected", "surprise")},
        ),
        ranking(
            "Companies and people with most negative news",
            "short",
            "Watchlist entities by negative articles within the chosen horizon. A click on one shows it above.",
            {name: queries.busiest(name, "entity:.+") for name in ("observed", "expected", "surprise")},
        ),
        bars(
            "Sources of negative news",
            "short",
            "Negative articles of the time range by source.",
            queries.NEGATIVE_SOURCES,
            "{{source}}",
        ),
        bars(
            "Share of each source in the negative news",
            "percentunit",
            "A single source with most of the negative news is one loud voice, not a market.",
            queries.SHARE_OF_SOURCES,
            "{{source}}",
        ),
    ]
