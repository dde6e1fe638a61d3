"""What the tests of the alerts room share: stores on both databases, and a log."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from alerts.archive import Store
from alerts.archive.tables import metadata
from bus.embedded import EmbeddedLog
from bus.topics import news_topics
from tests.dashboards import postgres_server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres_server.serving() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/archive.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    address = str(request.getfixturevalue("postgres_url"))
    engine = sqlalchemy.create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    metadata.drop_all(engine)
    engine.dispose()
    return address


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store on each kind of database."""
    with Store(url) as opened:
        yield opened


@pytest.fixture
def lite(sqlite_url: str) -> Iterator[Store]:
    """A store on SQLite, for what does not depend on the database."""
    with Store(sqlite_url) as opened:
        yield opened


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    opened = EmbeddedLog(tmp_path / "log.db")
    opened.create_topics(news_topics())
    yield opened
    opened.close()
