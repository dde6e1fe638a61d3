"""The stories row: what stands behind the figures, from the archive in PostgreSQL.

The columns are those of alerts/archive/tables.py. ``$__timeFilter`` and its kin are Grafana's macros for the
time range, ``${series:sqlstring}`` is the chosen series as a quoted SQL string.
"""

from grafana_foundation_sdk.builders import common
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, Panel

from dashboards.panels import band, from_archive
from dashboards.variables import series_link

STORIES = """\
SELECT articles.published_at AS "time", title, source, topic,
  (SELECT string_agg(name, ', ') FROM json_array_elements_text(entities) AS name) AS companies,
  p_negative AS "negative", model_version AS "model", url
FROM article_series JOIN articles ON articles.id = article_series.article
WHERE article_series.series = ${series:sqlstring} AND article_series.outcome = 'negative'
  AND $__timeFilter(article_series.published_at)
ORDER BY article_series.published_at DESC LIMIT 200"""

SPIKES = """\
SELECT opened_at AS "time", series, state, peak_observed AS "peak", expected, surprise,
  horizon_minutes * 60 AS "horizon",
  extract(epoch FROM coalesce(closed_at, at) - opened_at) AS "duration"
FROM spikes WHERE opened_at <= $__timeTo() AND coalesce(closed_at, at) >= $__timeFrom()
ORDER BY opened_at DESC LIMIT 100"""

HOURS = """\
SELECT to_timestamp(hour * 3600) AS "time", negative AS "observed", expected, upper AS "99 % of what is expected"
FROM points WHERE series = ${series:sqlstring}
  AND hour BETWEEN $__unixEpochFrom() / 3600 AND $__unixEpochTo() / 3600
ORDER BY hour"""


def panels() -> list[Builder[Panel]]:
    """The panels of the row, 24 columns a line."""
    return [_hours(), _spikes(), _stories()]


def _hours() -> Builder[Panel]:
    return band(
        "Negative articles of $series by hour, against the expected band",
        "short",
        "Hour by hour in event time, beside what the baseline expected and the 99th percentile of that.",
        HOURS,
        lower="expected",
        upper="99 % of what is expected",
    )


def _spikes() -> Builder[Panel]:
    return (
        from_archive(
            "Spikes",
            "short",
            "Spikes that were open within the time range, newest first. A click on a series shows it above.",
            SPIKES,
            width=12,
        )
        .override_by_name("series", [DynamicConfigValue("links", [series_link()])])
        .override_by_name("horizon", [DynamicConfigValue("unit", "s")])
        .override_by_name("duration", [DynamicConfigValue("unit", "s")])
    )


def _stories() -> Builder[Panel]:
    link = {"title": "Read the article", "url": "${__data.fields.url:raw}", "targetBlank": True}
    return (
        from_archive(
            "Negative stories of $series",
            "short",
            "Negative, relevant articles of the time range, newest first: the market's, a topic's or a company's.",
            STORIES,
            width=24,
        )
        .sort_by([common.TableSortByFieldState().display_name("time").desc(True)])
        .override_by_name("title", [DynamicConfigValue("links", [link]), DynamicConfigValue("custom.width", 640)])
        .override_by_name("negative", [DynamicConfigValue("unit", "percentunit")])
        .override_by_name("url", [DynamicConfigValue("custom.hidden", True)])
    )
