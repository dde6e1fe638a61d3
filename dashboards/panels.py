"""The kinds of panel of the dashboard: each needs a title, a unit and a description, and links to the page."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, Self, TypeAlias, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.variables import POSTGRES, PROMETHEUS, page_link, series_link

Steps: TypeAlias = Sequence[tuple[float | None, str]]
"""Colours from a value upwards; the first value is None: from minus infinity."""

CALM: Steps = [(None, "green")]

HEIGHT = 8
"""Rows of Grafana's grid that a panel takes; the grid has 24 columns."""

LAST = common.ReduceDataOptions().calcs(["lastNotNull"])
"""Of a series, what a number or a bar shows."""


class Panel(Protocol):
    """What the SDK's panel builders have in common; they share no base class."""

    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def unit(self, unit: str) -> Self: ...
    def datasource(self, datasource: model.DataSourceRef) -> Self: ...
    def links(self, links: list[Builder[model.DashboardLink]]) -> Self: ...
    def height(self, h: int) -> Self: ...
    def span(self, w: int) -> Self: ...


P = TypeVar("P", bound=Panel)


class Sql(Dataquery, Builder[Dataquery]):
    """A query to PostgreSQL; the SDK has no builder for this data source."""

    def __init__(self, sql: str, form: Literal["table", "time_series"]) -> None:
        self.sql = sql
        self.form = form

    def to_json(self) -> dict[str, object]:
        return {
            "refId": "A",
            "datasource": POSTGRES,
            "editorMode": "code",
            "format": self.form,
            "rawQuery": True,
            "rawSql": self.sql,
        }

    def build(self) -> Dataquery:
        return self


def over_time(expression: str, legend: str, ref: str = "A") -> prometheus.Dataquery:
    """A query whose values are drawn over the time range."""
    return prometheus.Dataquery().expr(expression).range().legend_format(legend).ref_id(ref).datasource(PROMETHEUS)


def now(expression: str, legend: str = "__auto", ref: str = "A") -> prometheus.Dataquery:
    """A query whose values at the end of the time range count."""
    return prometheus.Dataquery().expr(expression).instant().legend_format(legend).ref_id(ref).datasource(PROMETHEUS)


def _framed(panel: P, title: str, unit: str, description: str, width: int, height: int = HEIGHT) -> P:
    """What every panel has."""
    return (
        panel.title(title)
        .description(description)
        .unit(unit)
        .datasource(PROMETHEUS)
        .links([page_link()])
        .height(height)
        .span(width)
    )


def number(
    title: str, unit: str, description: str, expression: str, *, colors: Steps = CALM, legend: str = "__auto"
) -> stat.Panel:
    """One big number for each series of the result; ``legend`` names them where there are several."""
    thresholds = build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE)
    return (
        _framed(stat.Panel(), title, unit, description, 6, HEIGHT // 2)
        .with_target(now(expression, legend))
        .thresholds(thresholds.steps([model.Threshold(value=value, color=color) for value, color in colors]))
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .graph_mode(common_model.BigValueGraphMode.NONE)
        .reduce_options(LAST)
    )


def lines(title: str, unit: str, description: str, queries: Mapping[str, str], *, width: int = 12) -> timeseries.Panel:
    """Lines over time, from legend format to expression, with a table of their last and largest values."""
    panel = (
        _framed(timeseries.Panel(), title, unit, description, width)
        .line_width(2)
        .fill_opacity(8)
        .show_points(common_model.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_model.LegendDisplayMode.TABLE)
            .placement(common_model.LegendPlacement.RIGHT)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_model.TooltipDisplayMode.MULTI)
            .sort(common_model.SortOrder.DESCENDING)
        )
    )
    for ref, (legend, expression) in zip("ABCDEF", queries.items(), strict=False):
        panel.with_target(over_time(expression, legend, ref))
    return panel


def strip(title: str, unit: str, description: str, expression: str, legend: str, *, width: int) -> statetimeline.Panel:
    """A bar over time for each series, drawn while the expression has a value."""
    return (
        _framed(statetimeline.Panel(), title, unit, description, width)
        .with_target(over_time(expression, legend))
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC))
        .show_value(common_model.VisibilityMode.AUTO)
        .merge_values(True)
    )


def bars(title: str, unit: str, description: str, expression: str, legend: str, *, width: int = 12) -> bargauge.Panel:
    """Horizontal bars, one for each series of the result."""
    return (
        _framed(bargauge.Panel(), title, unit, description, width)
        .min(0)
        .with_target(now(expression, legend))
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.CONTINUOUS_GR_YL_RD))
        .display_mode(common_model.BarGaugeDisplayMode.BASIC)
        .orientation(common_model.VizOrientation.HORIZONTAL)
        .reduce_options(LAST)
    )


def heat(title: str, unit: str, description: str, expression: str, *, width: int = 12) -> heatmap.Panel:
    """A heat map of a histogram's buckets over time."""
    return (
        _framed(heatmap.Panel(), title, unit, description, width)
        .with_target(over_time(expression, "{{le}}").format(PromQueryFormat.HEATMAP))
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .color(heatmap.HeatmapColorOptions().mode(heatmap_model.HeatmapColorMode.SCHEME).scheme("YlOrRd").steps(64))
    )


def ranking(
    title: str,
    unit: str,
    description: str,
    columns: Mapping[str, str],
    *,
    units: Mapping[str, str] | None = None,
    width: int = 12,
) -> table.Panel:
    """A table with one row for each label value and one column for each query; the first column sorts, largest first.

    ``units`` gives columns another unit than the table's. A column named ``series`` links to that series' own view.
    """
    refs = dict(zip("ABCDEF", columns, strict=False))
    names: dict[str, object] = {f"Value #{ref}": name for ref, name in refs.items()}
    organized = {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": names}
    panel = (
        _framed(table.Panel(), title, unit, description, width)
        .with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(model.DataTransformerConfig(id_val="organize", options=organized))
        .sort_by([common.TableSortByFieldState().display_name(next(iter(columns))).desc(True)])
        .override_by_name("series", [model.DynamicConfigValue("links", [series_link()])])
    )
    for ref, name in refs.items():
        panel.with_target(now(columns[name], ref=ref).format(PromQueryFormat.TABLE))
    for name, other in (units or {}).items():
        panel.override_by_name(name, [model.DynamicConfigValue("unit", other)])
    return panel


def from_archive(title: str, unit: str, description: str, sql: str, *, width: int) -> table.Panel:
    """A table of what a query to PostgreSQL gives."""
    return _framed(table.Panel(), title, unit, description, width).datasource(POSTGRES).with_target(Sql(sql, "table"))


def band(title: str, unit: str, description: str, sql: str, *, lower: str, upper: str) -> timeseries.Panel:
    """Lines over time from PostgreSQL; the room between the columns ``lower`` and ``upper`` is filled."""
    return (
        lines(title, unit, description, {})
        .datasource(POSTGRES)
        .with_target(Sql(sql, "time_series"))
        .override_by_name(
            upper,
            [
                model.DynamicConfigValue("custom.fillBelowTo", lower),
                model.DynamicConfigValue("custom.fillOpacity", 20),
                model.DynamicConfigValue("custom.lineWidth", 1),
            ],
        )
        .override_by_name(lower, [model.DynamicConfigValue("custom.fillOpacity", 0)])
    )
