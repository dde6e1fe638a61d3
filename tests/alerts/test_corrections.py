"""Corrections of wrong labels: stored, shown, exported, and taken from the page's own forms only."""

import csv
import io
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from alerts.archive import Store
from alerts.labels import write_csv
from alerts.page.site import MAX_BODY
from bus.errors import SquallError
from tests.alerts.pages import PAGE, page


def correct(client: TestClient, headers: dict[str, str] | None = None, **form: str) -> tuple[int, str]:
    data = {"article": "a0", "correction": "sentiment=neutral", "back": "/series/all?range=3d"} | form
    answer = client.post("/labels", data=data, headers={"Origin": PAGE} if headers is None else headers)
    return answer.status_code, answer.headers.get("location", "")


def test_a_correction_is_stored_shown_and_exported(filled: TestClient, lite: Store, tmp_path: Path) -> None:
    assert correct(filled) == (303, "/series/all?range=3d")
    assert correct(filled, article="cat", correction="relevance=relevant") == (303, "/series/all?range=3d")
    assert correct(filled, correction="topic=Earnings")[0] == 303

    assert "corrected: neutral" in page(filled, "/series/entity:First%20Republic")
    assert "corrected: Earnings" in page(filled, "/articles/a0")
    rows = list(csv.DictReader(io.StringIO(page(filled, "/labels.csv"))))
    assert [(row["article"], row["head"], row["old"], row["new"]) for row in rows] == [
        ("a0", "sentiment", "negative", "neutral"),
        ("cat", "relevance", "irrelevant", "relevant"),
        ("a0", "topic", "M&A | Investments", "Earnings"),
    ]
    assert write_csv(lite.read.labels(), tmp_path / "labels.csv") == 3
    assert (tmp_path / "labels.csv").read_text() == page(filled, "/labels.csv")
    assert write_csv(lite.read.labels(), tmp_path / "feedback" / "labels.csv") == 3
    with pytest.raises(SquallError, match="choose another file"):
        write_csv(lite.read.labels(), tmp_path / "labels.csv" / "labels.csv")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://desk.example"},
        {"Origin": "http://evil.example", "Host": "evil.example"},  # a name of a stranger's that points here
        {"Origin": "http://desk.example:8080.evil.example"},
        {"Origin": "http://["},
        {"Origin": "ftp://desk.example:8080"},
    ],
)
def test_a_correction_from_elsewhere_is_refused(filled: TestClient, lite: Store, headers: dict[str, str]) -> None:
    assert correct(filled, headers)[0] == 403
    assert list(lite.read.labels()) == []


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:9", "[::1]:8080", "10.1.2.3"])
def test_a_correction_by_address_is_taken(filled: TestClient, host: str) -> None:
    assert correct(filled, {"Origin": f"http://{host}", "Host": host})[0] == 303


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"correction": "sentiment=awful"}, 400),
        ({"correction": "colour=red"}, 400),
        ({"correction": "x" * 500}, 400),
        ({"article": "nobody"}, 404),
        ({"article": "de"}, 404),
    ],
)
def test_a_correction_that_cannot_be_is_refused_in_words(filled: TestClient, form: dict[str, str], status: int) -> None:
    assert correct(filled, None, **form)[0] == status


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_nobody_is_led_elsewhere_after_a_correction(filled: TestClient, back: str) -> None:
    assert correct(filled, back=back) == (303, "/")


def test_a_form_that_is_none_and_an_over_long_one_are_refused(filled: TestClient) -> None:
    assert filled.post("/labels", content=b"\xff", headers={"Origin": PAGE}).status_code == 400
    assert filled.post("/labels", data={"back": "x" * (MAX_BODY + 1)}, headers={"Origin": PAGE}).status_code == 413
