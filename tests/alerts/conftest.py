"""What the tests of the alerts room share: stores on both databases, a log, and pages."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy
from fastapi.testclient import TestClient

from alerts.archive import Store
from alerts.archive.tables import metadata
from alerts.outbox import Outbox
from bus.embedded import EmbeddedLog
from bus.topics import news_topics
from tests.alerts.pages import client_of
from tests.alerts.samples import HOUR, NOON, minutes, scored, spike, state, unscored
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
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path / "outbox.db")
    yield opened
    opened.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    opened = EmbeddedLog(tmp_path / "log.db")
    opened.create_topics(news_topics())
    yield opened
    opened.close()


@pytest.fixture
def client(lite: Store) -> Iterator[TestClient]:
    with client_of(lite) as opened:
        yield opened


@pytest.fixture
def filled(lite: Store, client: TestClient) -> TestClient:
    """A page on a small archive of the past: a spike of First Republic and some other news."""
    lite.save_scored(
        [
            *(
                scored(
                    f"a{i}",
                    title=title,
                    at=NOON - minutes(10 * i),
                    source=source,
                    topic="M&A | Investments",
                    entities=["First Republic"],
                )
                for i, (title, source) in enumerate(
                    [
                        ("First Republic shares halve", "wire"),
                        ("First Republic shares halve again", "ft"),
                        ("Deposits flee a lender", "cnbc"),
                    ]
                )
            ),
            scored("good", "positive", title="Gold shines", topic="Gold | Metals | Materials"),
            scored("cat", relevant=False, title="A cat on a roof"),
            unscored("de"),
        ]
    )
    lite.save_spikes([spike(articles=["a0", "a1", "a2"], opened=NOON - minutes(30), at=NOON)])
    two_days, one_day = NOON - timedelta(days=2), NOON - timedelta(days=1)
    lite.save_spikes(
        [
            spike(series="topic:Macro", opened=two_days),
            spike("closed", series="topic:Macro", opened=two_days, at=one_day),
        ]
    )
    lite.save_points([state("entity:First Republic", (HOUR, 1, 1, 0.4, 2.0), (HOUR - 1, 2, 2, 0.4, 1.5))])
    return client
