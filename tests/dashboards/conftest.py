"""What the tests of the dashboards share: the built dashboard, its panels, and real servers to ask their queries."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dashboards.build import build
from tests.dashboards import postgres_server, prometheus_server

Json = dict[str, Any]


@pytest.fixture(scope="session")
def dashboard() -> Json:
    built: Json = json.loads(build()["squall.json"])
    return built


@pytest.fixture(scope="session")
def panels(dashboard: Json) -> list[Json]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[prometheus_server.Prometheus]:
    with prometheus_server.serving(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with postgres_server.serving() as url:
        yield url
