"""The loaders of the labelled sets, and the split that no text crosses."""

import shutil
from pathlib import Path

import pytest

from bus.errors import ConfigError
from model.text import clean, normalised
from model.training.config import Config, Training, read_config
from model.training.data import NONE, Example, Split, split
from model.training.sets import PUBLISHED, load_sets


def test_labels_find_their_articles(data: Path) -> None:
    examples, (described,) = load_sets(["news"], data)

    assert len(examples) == described.rows == 360
    assert all(example.title and example.summary.endswith("abroad") for example in examples)
    assert {example.relevance for example in examples} == {0, 1}
    assert min(example.day for example in examples) == "2023-01-01"


def test_a_headline_whose_companies_disagree_is_left_out(data: Path) -> None:
    examples, _ = load_sets(["sentfin"], data)

    assert len(examples) == 120
    assert not {"mixed", "broken"} & {example.title for example in examples}
    assert all(example.topic == example.relevance == NONE for example in examples)


def test_tweets_carry_one_kind_of_label_each(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="needs the train extra")
    (tmp_path / "sentiment").mkdir()
    (tmp_path / "topic").mkdir()
    rows = 'text,label\n"Oil falls, again",0\nOil rises,1\nOil itâ€™s,2\n'
    (tmp_path / "sentiment" / "twitter_valid.csv").write_text(rows)
    table = pandas.DataFrame({"text": ["Acme files for IPO"], "label": [11]})
    table.to_parquet(tmp_path / "topic" / "twitter_topic_valid.parquet")

    tones, _ = PUBLISHED["twitter_sentiment_valid"][0](tmp_path)
    topics, _ = PUBLISHED["twitter_topic_valid"][0](tmp_path)

    assert [example.sentiment for example in tones] == [0, 2, 1]
    assert clean(tones[2].title) == "Oil it’s"
    assert (topics[0].sentiment, topics[0].topic, topics[0].relevance) == (NONE, 11, NONE)


def test_a_missing_set_is_named_with_its_origin(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_sets(["sentfin"], tmp_path)

    assert str(caught.value) == (
        f"{tmp_path}/sentfin/SEntFiN_dev.csv: no such file; SEntFiN 1.0, https://doi.org/10.1002/asi.24634; "
        "--data or SQUALL_DATA names the folder that holds it"
    )


def test_an_unknown_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sets: unknown set 'phrasebank'; expected some of news, wide_news"):
        load_sets(["phrasebank"], tmp_path)


def test_an_unknown_label_is_named_with_its_line(data: Path, tmp_path: Path) -> None:
    root = shutil.copytree(data, tmp_path / "data")
    file = root / "stream" / "labels.tsv"
    file.write_text(file.read_text().replace("\tnegative\t", "\tgrim\t"))

    with pytest.raises(
        ConfigError, match=r"labels\.tsv:\d+: unknown label 'grim'; expected one of negative, neutral, positive"
    ):
        load_sets(["news"], root)


def test_a_label_without_its_article_is_named(data: Path, tmp_path: Path) -> None:
    root = shutil.copytree(data, tmp_path / "data")
    with (root / "stream" / "labels.tsv").open("a") as file:
        file.write("0123456789ab\tneutral\tMacro\t1\n")

    with pytest.raises(ConfigError, match=r"labels\.tsv:362: no article 0123456789ab in rss_\*\.jsonl of"):
        load_sets(["news"], root)


def test_no_day_and_no_text_stands_on_both_sides(data: Path) -> None:
    examples, _ = load_sets(["news", "wide_news", "sentfin"], data)
    copies = [Example(set="news", title=f"{each.title.upper()}!", day="2023-03-01") for each in examples[:200]]

    parts = split([*examples, *copies], 0.15)

    days = [{each.day for each in side if each.day} for side in (parts.train, parts.development)]
    texts = [{normalised(each.title) for each in side} for side in (parts.train, parts.development)]
    assert not days[0] & days[1]
    assert not texts[0] & texts[1]
    assert 0.05 < len(parts.development) / len(examples) < 0.3


@pytest.mark.parametrize("name", ["feedback", "twitter_sentiment"])
def test_undated_sets_that_are_not_measured_train_whole(name: str) -> None:
    examples = [Example(set=name, title=f"Oil falls {number}") for number in range(100)]

    assert split(examples, 0.15) == Split(examples, [])


def test_more_data_moves_nothing_to_the_other_side(data: Path) -> None:
    examples, _ = load_sets(["news", "sentfin"], data)

    before, after = split(examples[:100], 0.15), split(examples, 0.15)

    assert {each.title for each in before.development} <= {each.title for each in after.development}


def test_a_recipe_comes_from_toml(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('epochs = 2\nsets = {news = 2}\n[[teachers]]\nencoder = "bge-small-en-v1.5"\n')

    assert read_config(file) == Config(sets={"news": 2.0}, epochs=2, teachers=(Training(encoder="bge-small-en-v1.5"),))
    assert read_config(None).teachers, "what ships was taught"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("epoch = 2", "Object contains unknown field `epoch`"),
        ("epochs = 0", r"Expected `int` >= 1 - at `\$\.epochs`"),
        ("epochs = ", "Invalid value"),
    ],
)
def test_a_recipe_that_says_something_else_is_refused(tmp_path: Path, text: str, error: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(text)

    with pytest.raises(ConfigError, match=rf"recipe\.toml: {error}.*; a recipe may hold encoder, sets, epochs"):
        read_config(file)


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; leave out --config to use the default recipe"):
        read_config(tmp_path / "recipe.toml")


def test_corrections_by_readers_are_a_set(tmp_path: Path) -> None:
    (tmp_path / "feedback").mkdir()
    rows = [
        "article,head,old,new,at,title,summary,source,model_version",
        "a1,sentiment,neutral,negative,2026-11-01T10:00:00+00:00,Lender collapses,Run on deposits,wire,v1",
        'a2,topic,Macro,Markets,2026-11-01T10:00:00+00:00,"Stocks, bonds fall",,wire,v1',
        "a1,relevance,irrelevant,relevant,2026-11-01T10:05:00+00:00,Lender collapses,Run on deposits,wire,v1",
        "a1,sentiment,negative,positive,2026-11-01T10:06:00+00:00,Lender collapses,Run on deposits,wire,v1",
    ]
    (tmp_path / "feedback" / "labels.csv").write_text("\n".join(rows) + "\n")

    examples, (described,) = load_sets(["feedback"], tmp_path)

    assert examples == [
        Example("feedback", "Lender collapses", "Run on deposits", sentiment=2, relevance=1),
        Example("feedback", "Stocks, bonds fall", topic=15),
    ]
    assert (described.rows, described.files[0].name) == (2, "feedback/labels.csv")


def test_what_the_page_exports_is_what_training_reads(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from alerts.archive.reader import Correction
    from alerts.labels import write_csv

    (tmp_path / "feedback").mkdir()
    at = datetime(2026, 11, 1, tzinfo=UTC)
    correction = Correction("a", "sentiment", "neutral", "negative", at, 'A "quote"\nand lines', "", "wire", "v1")
    write_csv([correction], tmp_path / "feedback" / "labels.csv")
    ((example,), _) = load_sets(["feedback"], tmp_path)
    assert (example.title, example.sentiment) == ('A "quote"\nand lines', 0)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,mood,x,y,t,Title,,s,v", r"labels\.csv:2: unknown head 'mood'; expected one of sentiment, topic, relevance"),
        ("a,sentiment,x,grim,t,Title,,s,v", r"labels\.csv:2: unknown label 'grim'"),
        ("a,sentiment,x", r"labels\.csv:2: the row ends before new, title, summary"),
    ],
)
def test_a_correction_that_makes_no_sense_is_named(tmp_path: Path, row: str, said: str) -> None:
    (tmp_path / "feedback").mkdir()
    header = "article,head,old,new,at,title,summary,source,model_version"
    (tmp_path / "feedback" / "labels.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(ConfigError, match=said):
        load_sets(["feedback"], tmp_path)
