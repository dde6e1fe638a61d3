"""Fixtures that several rooms share."""

import os
from collections.abc import Iterator

import pytest

from tests.services import kafka


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--chaos-seconds``: how long the chaos run lasts."""
    parser.addoption("--chaos-seconds", default="120", help="how long the chaos run inflicts faults, in seconds")


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a real broker: SQUALL_TEST_KAFKA where it is set, else one that is started here."""
    given = os.environ.get("SQUALL_TEST_KAFKA")
    if given:
        yield given
        return
    with kafka.broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.address
