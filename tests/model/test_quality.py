"""What is to know of labelled sets before they train anything."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bus.errors import ConfigError
from model.labels import HEADS
from model.training.config import Config
from model.training.data import NONE, Example
from model.training.quality import crossing, drift, label_mix, report_of_set, suspects


def news(title: str, sentiment: int = 1, summary: str = "", day: str = "2023-01-01") -> Example:
    return Example(set="news", title=title, summary=summary, sentiment=sentiment, day=day)


def test_a_set_is_described_by_its_labels_repeats_and_lengths() -> None:
    examples = [
        news("Oil falls, again", 0, "Prices fell on Monday", "2023-01-02"),
        news("OIL FALLS AGAIN!", 1, "prices fell on Monday https://t.co/x"),
        news("Profit rises at Acme", 2, day="2023-01-09"),
        news("...", 1),
    ]
    found = report_of_set(examples)

    assert (found.rows, found.first_day, found.last_day) == (4, "2023-01-01", "2023-01-09")
    assert found.labels == {"sentiment": {"negative": 1, "neutral": 2, "positive": 1}}, "no head without labels"
    assert (found.repeats.texts, found.repeats.rows, found.repeats.conflicting) == (1, 1, 1)
    assert (found.lengths.longest, found.lengths.no_summary) == (7, 0.5)


def test_a_foreign_text_shows() -> None:
    german = news("Die Deutsche Bank meldet hohe Verluste und streicht tausende Stellen in Frankfurt")
    english = news("The bank reports heavy losses and cuts thousands of jobs in Frankfurt")
    assert report_of_set([german, english, english]).languages == {"en": 2, "de": 1}


def test_near_copies_across_the_split_are_found() -> None:
    development = [news("Regulators close Silicon Valley Bank after a run on its deposits in California on Friday")]
    train = [
        news("Regulators close Silicon Valley Bank after a run on deposits in California on Friday"),
        news("REGULATORS close Silicon Valley Bank, after a run on its deposits in California on Friday"),
        news("Oil prices rise as producers agree to cut output by a million barrels a day from May"),
        news(""),
    ]
    found = crossing(train, development)
    assert (found.exact, found.near) == (1, 1)
    assert found.pairs == [(train[0].title, development[0].title)]


def test_a_wrong_label_is_suspected() -> None:
    rng = np.random.default_rng(3)
    centres = {0: [3, 0, 0, 0], 1: [0, 3, 0, 0], 2: [0, 0, 3, 0]}
    truth = rng.integers(0, 3, 300)
    embedding = np.array([centres[each] for each in truth]) + rng.normal(0, 0.5, (300, 4))
    written = truth.copy()
    wrong = [5, 50, 200]
    written[wrong] = (truth[wrong] + 1) % 3
    examples = [news(f"t{i}", int(label), day=f"2023-01-{1 + i % 28:02}") for i, label in enumerate(written)]

    count, listed = suspects(examples, embedding.astype(np.float32), "sentiment")
    assert {each.title for each in listed[:3]} == {"t5", "t50", "t200"}
    assert 3 <= count <= 10
    assert listed[0].likely == HEADS["sentiment"][truth[int(listed[0].title[1:])]]


def test_a_head_without_two_labels_has_no_suspects() -> None:
    examples = [news(f"t{i}") for i in range(40)]
    assert suspects(examples, np.zeros((40, 4), np.float32), "sentiment") == (0, [])


def test_drift_names_new_words_and_moved_labels() -> None:
    examples = [
        Example("news", f"shares of acme fall {' again' * (i % 5)}", "", i % 3, i % 20, i % 2) for i in range(600)
    ]
    live = ["shares of acme fall again"] * 50 + ["blockchain tumbles as a very long list of reasons is given here"] * 50
    given = {head: np.zeros(100, np.int64) for head in HEADS}
    given["relevance"] = np.arange(100) % 2

    found = drift(examples, live, given)

    assert found.texts == 100
    assert found.new_words["blockchain"] == 50
    assert "acme" not in found.new_words
    assert found.unseen_words == pytest.approx(11 / 17, abs=1e-4)
    assert found.length_psi > 0.25
    assert found.label_psi["sentiment"] > 0.25 > 0.1 > found.label_psi["relevance"]
    assert found.labels["relevance"] == {"irrelevant": 0.5, "relevant": 0.5}


def test_labels_that_a_set_does_not_have_are_not_counted() -> None:
    assert label_mix([Example("sentfin", "t", sentiment=0)], "topic") == {}
    assert label_mix([Example("x", "t", topic=3), Example("x", "t", topic=NONE)], "topic")["Earnings"] == 0


def test_the_report_is_a_page_and_figures(tiny: Path, recipe: Config, data: Path, tmp_path: Path) -> None:
    from squall.cli import app

    rng = random.Random(2)
    live = tmp_path / "live.jsonl"
    live.write_text("".join(json.dumps({"title": f"euro gains {rng.random()}", "source": "x"}) + "\n" for _ in "abc"))
    recipe_file = tmp_path / "recipe.toml"
    recipe_file.write_text(f'encoder = "{recipe.encoder}"\nmax_tokens = 32\n')
    out = [tmp_path / "report.json", tmp_path / "report.html"]
    command = ["model", "data", "report", "--data", str(data), "--config", str(recipe_file), "--live", str(live)]
    environment = {"SQUALL_MODEL": str(tiny), "SQUALL_HOME": str(tmp_path)}
    done = CliRunner().invoke(
        app, [*command, "--json", str(out[0]), "--html", str(out[1])], env=environment, catch_exceptions=False
    )

    assert done.exit_code == 0, done.output
    figures = json.loads(out[0].read_text())
    assert set(figures["sets"]) == {"news", "wide_news", "sentfin"}
    assert figures["drift"]["labels"]["topic"]["Currencies"] == 1.0
    assert set(figures["suspects"]) == set(HEADS)
    page = out[1].read_text()
    assert "Likely label errors" in page
    assert "Live texts" in page


def test_live_texts_are_the_archives_newest(tmp_path: Path) -> None:
    from alerts.archive.store import Store
    from squall.commands.model_data import _archived
    from squall.settings import load
    from tests.alerts.samples import NOON, minutes, scored, unscored

    settings = load(home=tmp_path, archive="sqlite:///archive.db")
    assert _archived(settings) == [], "nothing has run yet"
    with Store(settings.archive_url) as store:
        store.save_scored([scored("a"), scored("b", "positive", at=NOON + minutes(1)), unscored("c")])
    assert [text.split(".")[0] for text in _archived(settings)] == ["Headline b", "Headline a"]


def test_a_feed_of_four_days_has_no_suspects_and_a_recipe_without_news_no_drift() -> None:
    few = [news(f"t{i}", i % 3, day=f"2023-01-0{1 + i % 4}") for i in range(60)]
    assert suspects(few, np.zeros((60, 4), np.float32), "sentiment") == (0, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "holds no article"), ("{\n", "not one article a line"), ('{"summary": "x"}\n', "not one article a line")],
)
def test_live_articles_that_cannot_be_read_are_refused(tmp_path: Path, text: str, said: str) -> None:
    from model.training.data_report import live_texts

    file = tmp_path / "live.jsonl"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        live_texts(file)
