"""The page that an evaluation writes, and a desk's own table."""

import base64
from pathlib import Path

import numpy as np
import pytest

from bus.errors import ConfigError
from model.training.data import NONE, Example
from model.training.evaluate import evaluate_bundle
from model.training.sets import load_table

HEADER = "id\ttitle\tsummary\tsentiment\ttopic\trelevant\n"


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A table of headlines, the last one labelled wrongly."""
    file = tmp_path / "desk.tsv"
    rows = [
        "1\toil falls sharply\t\tnegative\tEnergy | Oil\t1",
        "2\teuro gains again\t\tpositive\tCurrencies\t1",
        "3\tsenate meets early\t\t\tPolitics\t",
        "4\t<b>oil</b> wins twice\t\tnegative\tEnergy | Oil\t1",
    ]
    file.write_text(HEADER + "\n".join(rows) + "\n")
    return file


def test_a_desk_measures_a_model_on_its_own_headlines(tiny: Path, desk: Path, tmp_path: Path) -> None:
    from model.training.report import sections, write_report

    measured = evaluate_bundle(tiny, load_table(desk))
    assert measured.figures["desk"]["sentiment"]["rows"] == 3
    assert measured.figures["desk"]["topic"]["accuracy"] == 1.0
    write_report(tmp_path / "report.html", "A report", sections(*measured))
    page = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;oil&lt;/b&gt; wins twice" in page, "the mistake is listed, and its markup is text"
    pictures = [part.split('"')[0] for part in page.split("data:image/png;base64,")[1:]]
    assert len(pictures) == 6, "confusion and reliability of three heads"
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)


def test_the_surest_mistakes_come_first() -> None:
    from model.training.mistakes import worst

    examples = [Example(set="s", title=title) for title in "abcd"]
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.7, 0.3]])
    found = worst(examples, np.array([1, 0, 1, 1]), probabilities, ("no", "yes"))
    assert [(each.title, each.label, each.answer) for each in found] == [
        ("b", "no", "yes"),
        ("d", "yes", "no"),
        ("a", "yes", "no"),
    ]


def test_labels_may_be_missing(desk: Path) -> None:
    third = load_table(desk)[2]
    assert (third.sentiment, third.relevance) == (NONE, NONE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER, "holds no row"),
        ("title,sentiment\n", "no column relevant, sentiment, title, topic; separate the columns by tabs"),
        (HEADER + "1\tt\t\tbad\tMacro\t1\n", r"desk\.tsv:2: unknown label 'bad'; expected one of negative, neutral"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "desk.tsv"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_table(file)


def test_quotes_are_text_where_every_line_is_a_row(tmp_path: Path) -> None:
    file = tmp_path / "desk.tsv"
    titles = ['"Big Short" bets on oil', '"We lost', '"He said ""no"" again"', "plain"]
    file.write_text(HEADER + "".join(f"1\t{title}\t\tneutral\tMacro\t1\n" for title in titles))
    assert [each.title for each in load_table(file)] == [
        '"Big Short" bets on oil',
        '"We lost',
        'He said "no" again',
        "plain",
    ]


def test_a_cell_may_hold_lines_where_it_is_quoted(tmp_path: Path) -> None:
    file = tmp_path / "desk.tsv"
    file.write_text(HEADER + '1\tOil falls\t"a\nb\tc"\tneutral\tMacro\t1\n')
    (example,) = load_table(file)
    assert (example.summary, example.relevance) == ("a\nb\tc", 1)


def test_a_text_of_a_million_characters_is_a_text(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "desk.tsv"
    file.write_text(HEADER + f"1\toil falls {'again ' * 170_000}\t\tnegative\tEnergy | Oil\t1\n")
    assert evaluate_bundle(tiny, load_table(file)).figures["desk"]["sentiment"]["accuracy"] == 1.0


@pytest.mark.parametrize("rest", ["1\tcut o", "1\t\udcff\t\tneutral\tMacro\t1", '1\t"We lost\t\tneutral\tMacro\t1\t\n'])
def test_a_damaged_table_is_refused_with_its_line(tmp_path: Path, rest: str) -> None:
    file = tmp_path / "desk.tsv"
    file.write_bytes((HEADER + "1\tfine\t\tneutral\tMacro\t1\n" + rest).encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=r"desk\.tsv:[34]"):
        load_table(file)
