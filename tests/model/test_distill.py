"""Teachers and their opinions: what becomes the target of each text, and a student that learns from both."""

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.labels import HEADS
from model.training.config import Config, Training
from model.training.data import NONE, UNLABELLED, Example
from model.training.sets import load_sets, load_unlabelled
from model.training.targets import targets_of

labels = st.tuples(st.integers(NONE, 2), st.integers(NONE, 19), st.integers(NONE, 1))


def example(labels: tuple[int, int, int] = (NONE, NONE, NONE), set_: str = "news") -> Example:
    sentiment, topic, relevance = labels
    return Example(set=set_, title="t", sentiment=sentiment, topic=topic, relevance=relevance)


def opinions(rows: int, known: list[bool]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    drawn = {head: rng.dirichlet(np.ones(len(names)), rows).astype(np.float32) for head, names in HEADS.items()}
    return {head: each * np.array(known)[:, None] for head, each in drawn.items()}


@given(rows=st.lists(st.tuples(labels, st.booleans()), min_size=1, max_size=12), smoothing=st.floats(0, 0.5))
def test_every_target_is_a_distribution_or_counts_for_nothing(
    rows: list[tuple[tuple[int, int, int], bool]], smoothing: float
) -> None:
    examples = [example(labels) for labels, _ in rows]
    known = [known for _, known in rows]
    said = opinions(len(rows), known)
    targets = targets_of(examples, {"news": 2.0}, smoothing=smoothing, opinions=said, share=0.6)
    for head in HEADS:
        weights, sums = targets.weights[head], targets.wanted[head].sum(1)
        assert sums[weights > 0] == pytest.approx(1, abs=1e-5)
        assert (sums[weights == 0] == 0).all()
        assert set(weights.tolist()) <= {0.0, 2.0}


def test_a_label_alone_is_sure_an_opinion_alone_is_itself_and_both_are_mixed() -> None:
    examples = [example((0, NONE, NONE)), example(), example((0, NONE, NONE))]
    said = opinions(3, [False, True, True])
    wanted = targets_of(examples, {"news": 1.0}, opinions=said, share=0.6).wanted["sentiment"]
    assert wanted[0].tolist() == [1, 0, 0]
    assert wanted[1] == pytest.approx(said["sentiment"][1])
    assert wanted[2] == pytest.approx(0.4 * np.array([1, 0, 0]) + 0.6 * said["sentiment"][2])


@pytest.fixture
def stream(data: Path, tmp_path: Path) -> Path:
    """The tiny sets with unlabelled articles in their stream, every fifth a copy of a labelled one."""
    root = tmp_path / "data"
    (root / "stream").mkdir(parents=True)
    (root / "sentfin").symlink_to(data / "sentfin")
    for file in (data / "stream").iterdir():
        (root / "stream" / file.name).write_bytes(file.read_bytes())
    lines = (data / "stream" / "rss_2023-01.jsonl").read_text().splitlines()
    fresh = [json.loads(line) for line in lines[:100]]
    for number, article in enumerate(fresh):
        article["url"] += "?again"
        if number % 5:
            article["title"] = f"{article['title']} {chr(97 + number % 26)} {number}"
    text = "".join(json.dumps(article) + "\n" for article in fresh)
    (root / "stream" / "rss_2023-02.jsonl").write_text(text)
    return root


def test_unlabelled_articles_are_neither_copies_of_labelled_ones_nor_of_days_kept_for_development(stream: Path) -> None:
    labelled, _ = load_sets(["news", "wide_news"], stream)
    articles, described = load_unlabelled(stream, labelled, 0.15, 1_000)
    assert 40 < len(articles) <= 80
    assert described.rows == len(articles)
    assert {article.set for article in articles} == {UNLABELLED}
    held, _ = load_unlabelled(stream, labelled, 0.99, 1_000)
    assert len(held) < 20


def test_a_student_learns_from_a_teacher_and_says_so(recipe: Config, stream: Path, tmp_path: Path) -> None:
    from model.training.pipeline import make_bundle

    teacher = Training(encoder=recipe.encoder, epochs=6, batch_size=16, learning_rate=3e-3, dropout=0.0)
    student = msgspec.structs.replace(recipe, teachers=(teacher,), epochs=4)
    lines: list[str] = []
    manifest = make_bundle(student, stream, tmp_path / "work", tmp_path / "bundle", lines.append)
    assert manifest.metrics["int8"]["news"]["sentiment"]["accuracy"] > 0.9
    assert [data.name for data in manifest.data] == ["news", "wide_news", "sentfin", "unlabelled"]
    assert manifest.recipe["teachers"][0]["epochs"] == 6
    again: list[str] = []
    make_bundle(student, stream, tmp_path / "work", tmp_path / "again", again.append)
    assert not any("step" in line or "opinions on" in line for line in again), "nothing is trained or asked twice"


def test_a_teacher_speaks_of_the_sets_and_heads_that_it_has_learned(tiny: Path, tmp_path: Path) -> None:
    from model.training.distill import Teacher, opinions

    folder = shutil.copytree(tiny.with_name("work"), tmp_path / "work")
    teachers = [Teacher(folder, {"news"}, list(HEADS)), Teacher(folder, {"news", "sentfin"}, ["sentiment"])]
    examples = [Example(name, "oil falls sharply") for name in ("news", "sentfin", "twitter_topic", UNLABELLED)]
    said = opinions(teachers, examples, 32, lambda line: None)

    assert said["sentiment"].sum(1) == pytest.approx([1, 1, 0, 1], abs=1e-5)
    assert said["topic"].sum(1) == pytest.approx([1, 0, 0, 1], abs=1e-5)
    assert said["sentiment"][0] == pytest.approx(said["sentiment"][1], abs=1e-3), "the mean of two that agree"
    assert said["topic"][3].argmax() == 6, "an unlabelled article is news"


def test_a_teacher_that_is_trained_anew_is_asked_anew(tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from model.training.distill import Teacher, opinions

    folder = shutil.copytree(tiny.with_name("work"), tmp_path / "work")
    asked = ([Teacher(folder, {"news"}, list(HEADS))], [Example("news", "oil falls sharply")], 32, lambda line: None)
    before = opinions(*asked)["topic"]
    heads = load_file(folder / "heads.safetensors")
    save_file({name: -value for name, value in heads.items()}, folder / "heads.safetensors")
    assert opinions(*asked)["topic"].argmax() != before.argmax()


def test_texts_that_nobody_says_anything_of_are_left_out() -> None:
    from model.training.finetune import Lesson

    examples = [example((0, NONE, NONE)), example(), example((NONE, 3, NONE))]
    lesson = Lesson(examples, targets_of(examples, {"news": 1.0})).counting()
    assert lesson.examples == [examples[0], examples[2]]
    assert [len(part) for part in (*lesson.targets.wanted.values(), *lesson.targets.weights.values())] == [2] * 6
