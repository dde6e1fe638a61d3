"""The dashboard "Squall: market mood and pipeline", put together from its rows."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, Panel

from dashboards import mood, pipeline, queries, stories
from dashboards.names import UID
from dashboards.variables import PrometheusAnnotation, page_link, variables


def board(page: str) -> Dashboard:
    """The dashboard, with links to the page at that address."""
    built = (
        Dashboard("Squall: market mood and pipeline")
        .uid(UID)
        .description("Negative financial news beside what is normal for it, and the health of what measures it.")
        .tags(["squall"])
        .time("now-24h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(page_link("/", "Squall"))
        .variables(variables(page))
        .annotations(
            [
                PrometheusAnnotation(
                    "Spikes of the series", queries.SPIKE_OPEN, "Spike: {{series}} ({{horizon}})", "red"
                ),
                PrometheusAnnotation("New model version", queries.MODEL_PROMOTED, "Model {{version}}", "blue"),
            ]
        )
    )
    rows: dict[str, list[Builder[Panel]]] = {
        "Market mood": mood.panels(),
        "Stories": stories.panels(),
        "Pipeline": pipeline.panels(),
    }
    for title, panels in rows.items():
        built.with_row(Row(title))
        for panel in panels:
            built.with_panel(panel)
    return built
