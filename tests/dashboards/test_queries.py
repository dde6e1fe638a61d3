"""Every query of the dashboard is asked of a real Prometheus or PostgreSQL that has data, and must find some."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from alerts.archive import tables
from dashboards.variables import POSTGRES, PROMETHEUS
from tests.dashboards.prometheus_server import Prometheus

Json = dict[str, Any]

CHOSEN = {
    "$series": "all",
    "$horizon": "1h",
    "$__rate_interval": "4m",
    "$__range": "3h",
}
"""What Grafana would put in place of its variables."""


def targets(panels: list[Json], kind: str | None) -> Iterator[tuple[str, Json]]:
    for panel in panels:
        for target in panel["targets"]:
            if target["datasource"]["type"] == kind:
                yield f"{panel['title']} {target['refId']}", target


def chosen(expression: str) -> str:
    for name, value in CHOSEN.items():
        expression = expression.replace(name, value)
    return expression


@pytest.fixture
def archive(postgres: str) -> Iterator[Engine]:
    engine = create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"))
    tables.metadata.create_all(engine)
    yield engine
    tables.metadata.drop_all(engine)
    engine.dispose()


def test_every_promql_query_finds_data(panels: list[Json], prometheus: Prometheus) -> None:
    asked = dict(targets(panels, PROMETHEUS.type_val))
    assert len(asked) > 40
    for where, target in asked.items():
        expression = chosen(target["expr"])
        found = prometheus.instant(expression) if target.get("instant") else prometheus.over_time(expression)
        assert found, f"{where}: {expression}"


def test_annotations_find_data(dashboard: Json, prometheus: Prometheus) -> None:
    spikes, promotions = (chosen(annotation["expr"]) for annotation in dashboard["annotations"]["list"])
    assert prometheus.over_time(spikes)
    # The model's first ten minutes are a promotion, the rest of the three hours is not.
    assert prometheus.over_time(promotions, seconds=3 * 3600)
    assert not prometheus.over_time(promotions, seconds=3600)


def test_variables_find_values(dashboard: Json, prometheus: Prometheus) -> None:
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]).groups()  # type: ignore[union-attr]
            values = {sample["metric"][label] for sample in prometheus.instant(metric)}
            assert variable["current"]["value"] in values


def test_net_sentiment_is_zero_where_good_and_bad_news_are_equal(panels: list[Json], prometheus: Prometheus) -> None:
    (target,) = [
        target for where, target in targets(panels, PROMETHEUS.type_val) if where.startswith("Net sentiment, ")
    ]
    (sample,) = prometheus.instant(chosen(target["expr"]))
    assert float(sample["value"][1]) == pytest.approx(0.0)


def test_net_sentiment_does_not_need_positive_articles(prometheus: Prometheus) -> None:
    from dashboards.queries import net_sentiment

    only_bad = net_sentiment("1h").replace('sentiment=~"positive"', 'sentiment=~"none of this kind"')
    (sample,) = prometheus.instant(only_bad)
    assert float(sample["value"][1]) == pytest.approx(-1 / 3)


def test_shares_of_sources_add_up_to_one(panels: list[Json], prometheus: Prometheus) -> None:
    (target,) = [target for where, target in targets(panels, PROMETHEUS.type_val) if where.startswith("Share of each")]
    assert sum(float(s["value"][1]) for s in prometheus.instant(chosen(target["expr"]))) == pytest.approx(1.0)


def as_grafana(sql: str, series: str) -> str:
    """The SQL with the macros of Grafana's PostgreSQL data source expanded as it does, for the last three hours."""
    end = datetime.now(UTC)
    start = end - timedelta(hours=3)
    quoted = {"From": f"'{start:%Y-%m-%dT%H:%M:%SZ}'", "To": f"'{end:%Y-%m-%dT%H:%M:%SZ}'"}
    sql = re.sub(r"\$__timeFilter\(([^)]*)\)", rf"\1 BETWEEN {quoted['From']} AND {quoted['To']}", sql)
    sql = re.sub(r"\$__time(From|To)\(\)", lambda match: quoted[match[1]], sql)
    sql = sql.replace("$__unixEpochFrom()", str(int(start.timestamp()))).replace(
        "$__unixEpochTo()", str(int(end.timestamp()))
    )
    return sql.replace("${series:sqlstring}", "'" + series.replace("'", "''") + "'")


def fill(engine: Engine) -> None:
    """One negative article about a company with a quote in its name, its hour, and its spike."""
    now = datetime.now(UTC)
    hour = int(now.timestamp() // 3600)
    company = "entity:Moody's"
    article = {
        **dict.fromkeys(("summary", "unscored"), ""),
        **dict.fromkeys(("published_at", "fetched_at", "scored_at"), now - timedelta(minutes=5)),
        **{"id": "a", "source": "wire", "title": "Moody's cuts outlook", "url": "https://example.org/a"},
        **{"language": "en", "outcome": "negative", "model_version": "1", "entities": ["Moody's"], "signature": 1},
        **{"sentiment": "negative", "topic": "banking", "relevance": "relevant", "p_negative": 0.9},
    }
    member = {"article": "a", "outcome": "negative", "published_at": article["published_at"]}
    spike = {
        **{"id": "s", "series": company, "state": "opened", "opened_at": now - timedelta(minutes=30), "at": now},
        **{"horizon_minutes": 60, "observed": 9.0, "expected": 1.0, "surprise": 5.0, "peak_observed": 9.0},
        **{"sources": {"wire": 1}, "articles": ["a"]},
    }
    with engine.begin() as connection:
        connection.execute(tables.articles.insert(), article)
        connection.execute(tables.article_series.insert(), [{**member, "series": name} for name in ("all", company)])
        connection.execute(
            tables.points.insert(),
            {"series": company, "hour": hour - 1, "articles": 3, "negative": 1, "expected": 0.5, "upper": 2.0},
        )
        connection.execute(tables.spikes.insert(), spike)


def test_every_sql_query_finds_data(panels: list[Json], archive: Engine) -> None:
    fill(archive)
    asked = dict(targets(panels, POSTGRES.type_val))
    assert len(asked) == 3
    with archive.connect() as connection:
        for where, target in asked.items():
            rows = connection.execute(text(as_grafana(target["rawSql"], "entity:Moody's"))).mappings().all()
            assert len(rows) == 1, where
            assert isinstance(rows[0]["time"], datetime), where


def test_the_story_table_names_companies_and_links_the_article(panels: list[Json], archive: Engine) -> None:
    fill(archive)
    (sql,) = [t["rawSql"] for where, t in targets(panels, POSTGRES.type_val) if where.startswith("Negative stories")]
    with archive.connect() as connection:
        (row,) = connection.execute(text(as_grafana(sql, "all"))).mappings().all()
    assert (row["title"], row["companies"], row["url"]) == ("Moody's cuts outlook", "Moody's", "https://example.org/a")


def test_a_series_without_stories_gives_an_empty_table(panels: list[Json], archive: Engine) -> None:
    fill(archive)
    with archive.connect() as connection:
        for _, target in targets(panels, POSTGRES.type_val):
            if "${series" in target["rawSql"]:
                assert not connection.execute(text(as_grafana(target["rawSql"], "topic:'; DROP"))).all()
