"""Dashboards and rules ask for metrics that a role really declares, under that very name."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("bus", "ingest", "stream_worker", "alerts", "squall")

METRIC = re.compile(r"\bsquall_[a-z_]+\b")


@cache
def declared() -> tuple[frozenset[str], tuple[str, ...]]:
    """Names in the roles' code without the counters' ending, and the beginnings of names that a loop completes."""
    code = "\n".join(file.read_text() for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    names = {name.removesuffix("_total") for name in re.findall(r'"(squall_[a-z_]+)"', code)}
    return frozenset(names), tuple(re.findall(r'f"(squall_[a-z_]+)\{', code))


def asked() -> Iterator[str]:
    dashboard = json.loads((ROOT / "dashboards/json/squall.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield from METRIC.findall(target.get("expr", ""))
    yield from METRIC.findall(json.dumps([dashboard["templating"], dashboard["annotations"]]))
    for file in (ROOT / "alerts/prometheus/rules").glob("*.yml"):
        text = re.sub(r"#.*", "", file.read_text())
        yield from METRIC.findall(text)


@pytest.mark.parametrize("name", sorted(set(asked())))
def test_a_role_declares_it(name: str) -> None:
    names, beginnings = declared()
    plain = re.sub(r"_(total|bucket|sum|count)$", "", name)
    assert plain in names or any(plain.startswith(beginning) for beginning in beginnings)
