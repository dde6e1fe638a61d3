"""The variables, data sources, annotations and links that all panels share."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from dashboards.names import PAGE_VARIABLE, UID

PROMETHEUS = model.DataSourceRef(type_val="prometheus", uid="${prometheus}")
POSTGRES = model.DataSourceRef(type_val="grafana-postgresql-datasource", uid="${postgres}")


def variables(page: str) -> list[Builder[model.VariableModel]]:
    """What the reader of the dashboard can choose, and where the page is."""
    return [
        build.DatasourceVariable("prometheus").label("Prometheus").type("prometheus"),
        build.DatasourceVariable("postgres").label("PostgreSQL").type(str(POSTGRES.type_val)),
        build.QueryVariable("series")
        .label("Series")
        .description("The market (all), one topic or one company")
        .datasource(PROMETHEUS)
        .query("label_values(squall_negative_observed, series)")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .current(model.VariableOption(selected=True, text="all", value="all")),
        build.QueryVariable("horizon")
        .label("Horizon")
        .description("The window in which negative articles are counted")
        .datasource(PROMETHEUS)
        .query("label_values(squall_negative_observed, horizon)")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NUMERICAL_ASC)
        .current(model.VariableOption(selected=True, text="1h", value="1h")),
        build.ConstantVariable(PAGE_VARIABLE).label("Squall's page").value(page),
    ]


class PrometheusAnnotation(model.AnnotationQuery, Builder[model.AnnotationQuery]):
    """An annotation from PromQL: a mark while the expression has a value, titled after its labels."""

    def __init__(self, name: str, expression: str, title: str, color: str) -> None:
        super().__init__(name=name, datasource=PROMETHEUS, enable=True, icon_color=color, expr=expression)
        self.title = title

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "titleFormat": self.title, "step": "60s"}

    def build(self) -> model.AnnotationQuery:
        return self


def page_link(path: str = "/", title: str = "Open in Squall") -> build.DashboardLink:
    """A link to the page, whose address the dashboard's constant holds."""
    return (
        build.DashboardLink(title)
        .type(model.DashboardLinkType.LINK)
        .url(f"${{{PAGE_VARIABLE}:raw}}{path}")
        .target_blank(True)
    )


def series_link() -> dict[str, object]:
    """On a table's series: the same dashboard, for that series and the same time."""
    return {
        "title": "Show ${__value.raw}",
        "url": f"/d/{UID}?var-series=${{__value.raw:percentencode}}&${{__url_time_range}}",
    }
