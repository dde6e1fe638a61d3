"""docs/sources.md is part of the contract: what is missing there fails here."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ingest.fields import Fields
from ingest.metrics import DATE_PROBLEMS, RESULTS, IngestMetrics
from ingest.refusals import REASONS
from ingest.sources import KINDS, Source

DOCS = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*Source.__dataclass_fields__, *KINDS, *Fields.__struct_fields__, *REASONS, *RESULTS])
def test_every_field_reason_and_result_is_documented(name: str) -> None:
    assert f"`{name}`" in DOCS


def test_every_metric_is_documented() -> None:
    registry = CollectorRegistry()
    IngestMetrics(registry)
    for metric in registry.collect():
        assert metric.name in DOCS
    for problem in DATE_PROBLEMS:
        assert problem in DOCS
