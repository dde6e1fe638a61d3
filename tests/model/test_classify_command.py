"""``squall classify``: one JSON line out for each text in, in order."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model.bundle import load_manifest
from tests.model.conftest import SHIPPED


def squall(tmp_path: Path, *arguments: str, given: str | bytes = "") -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SQUALL_")}
    return subprocess.run(
        [sys.executable, "-m", "squall", *arguments],
        input=given.encode() if isinstance(given, str) else given,
        capture_output=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )


def answers(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_text_gets_one_line(tmp_path: Path) -> None:
    done = squall(tmp_path, "classify", "Lender collapses after run on deposits")

    assert done.returncode == 0
    (answer,) = answers(done)
    assert list(answer) == ["id", "language", "model_version", "sentiment", "topic", "relevance"]
    assert answer["language"] == "en"
    assert answer["model_version"] == load_manifest(SHIPPED).version
    assert answer["sentiment"]["label"] == "negative"
    assert set(answer["sentiment"]["probabilities"]) == {"negative", "neutral", "positive"}
    assert answer["topic"]["label"] == "Financials"
    assert answer["relevance"]["label"] == "relevant"


def test_lines_are_titles_or_json_and_keep_their_order(tmp_path: Path) -> None:
    given = "\n".join(
        [
            "Chipmaker raises forecast after record profit",
            '{"title": "Airline cuts jobs", "summary": "Losses doubled.", "id": "a-1", "more": [1]}',
            "",
            '{"title": "Lender collapses", "id": 7}',
        ]
    )

    done = squall(tmp_path, "classify", given=given)

    assert done.returncode == 0
    assert [each["sentiment"]["label"] for each in answers(done)] == ["positive", "negative", "negative"]
    assert [each["id"] for each in answers(done)][1:] == ["a-1", "7"]


def test_a_language_that_the_bundle_does_not_read_is_not_guessed_at(tmp_path: Path) -> None:
    given = (
        'Gewinnwarnung: Aktien der Deutschen Bank brechen ein\n{"title": "Oil falls", "language": "fr-FR"}\n12,5 %\n'
    )

    done = squall(tmp_path, "classify", given=given)

    assert done.returncode == 0
    assert [each["unscored"] for each in answers(done)] == ["language:de", "language:fr", "language:und"]
    assert all(each["sentiment"] is each["topic"] is each["relevance"] is None for each in answers(done))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"title": "Oil', "Input data was truncated"),
        (b'{"summary": "Oil"}', "Object missing required field `title`"),
        (b'{"title": 5}', "Expected `str`, got `int` - at `$.title`"),
        (b'{"title": "\xff"}', "'utf-8' codec can't decode byte 0xff"),
        (b'{"title": "\\ud800"}', "Input data was truncated"),
    ],
)
def test_a_broken_line_is_answered_in_its_place_and_the_rest_goes_on(tmp_path: Path, line: bytes, error: str) -> None:
    done = squall(tmp_path, "classify", given=b"Oil falls\n" + line + b"\nOil rises\n")

    assert done.returncode == 1
    first, broken, last = answers(done)
    assert first["sentiment"]["label"] == "negative"
    assert last["sentiment"]["label"] == "positive"
    assert broken["line"] == 2
    assert broken["error"].startswith(error)
    assert broken["error"].endswith('expected {"title": ..., "summary": ..., "id": ...}')


def test_bytes_that_are_not_utf8_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    done = squall(tmp_path, "classify", given=b"Nestl\xe9 profit falls sharply\n")

    assert done.returncode == 0
    assert answers(done)[0]["sentiment"]["label"] == "negative"


def test_many_lines_come_out_in_chunks(tmp_path: Path) -> None:
    done = squall(tmp_path, "classify", given="".join(f'{{"title": "Oil falls", "id": {n}}}\n' for n in range(600)))

    assert [each["id"] for each in answers(done)] == [str(n) for n in range(600)]


def test_a_missing_bundle_is_one_line(tmp_path: Path) -> None:
    done = squall(tmp_path, "classify", "--model", "nowhere", "Oil falls")

    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "squall: nowhere: no such folder; expected a bundle; 'squall model finetune' makes one"
    ]


def test_training_without_data_says_where_to_get_it(tmp_path: Path) -> None:
    done = squall(tmp_path, "model", "finetune")

    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "squall: data: no folder of data sets given; set --data DIR or SQUALL_DATA; "
        "docs/model.md says where they come from"
    ]


def test_evaluating_without_the_data_names_the_file(tmp_path: Path) -> None:
    done = squall(tmp_path, "model", "evaluate", "--data", str(tmp_path))

    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"squall: {tmp_path}/stream/labels.tsv: no such file; labels of a dated news")


def test_training_without_the_train_extra_says_which_extra(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")")
    program = "import sys; sys.path.insert(0, '.'); from squall.cli import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", program, "model", "finetune", "--data", "."],
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1] == (
        "squall: No module named 'torch'; training and evaluation need it: pip install 'squall[train]'"
    )
