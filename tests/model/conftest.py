"""A tiny encoder, tiny data sets in the layout of the real ones, and the bundle that the pipeline makes of them."""

import csv
import json
import os
import random
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from model.labels import TOPICS
from model.training.config import Config

SHIPPED = Path(__file__).parents[2] / "model" / "bundle"

TONES = {
    "negative": ["falls", "loses", "cuts", "slumps", "defaults"],
    "neutral": ["says", "meets", "plans", "names", "holds"],
    "positive": ["gains", "wins", "rises", "beats", "recovers"],
}
SUBJECTS = {"Energy | Oil": ["oil", "gas"], "Currencies": ["dollar", "euro"], "Politics": ["senate", "minister"]}
FILLERS = ["today", "again", "sharply", "quietly", "abroad", "early", "late", "twice"]
WORDS = [*chain(*TONES.values(), *SUBJECTS.values()), *FILLERS, *"abcdefghijklmnopqrstuvwxyz0123456789.,:'"]


@pytest.fixture(scope="session")
def training() -> None:
    """Skip where the train extra is missing; in CI it must be there."""
    if not os.environ.get("CI"):
        pytest.importorskip("torch", reason="needs the train extra")
    import torch

    torch.set_num_threads(1)  # threads that wait for each other's tiny tensors would take most of the time


@pytest.fixture(scope="session")
def encoder(training: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random BERT of two layers and 32 dimensions."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {
        word: number for number, word in enumerate([*special, *WORDS, *(f"##{word}" for word in WORDS[-40:])])
    }
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)  # type: ignore[no-untyped-call]
    fast.save_pretrained(folder)
    BertModel(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=128,
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def recipe(encoder: Path) -> Config:
    """A recipe that learns the tiny sets in seconds."""
    return Config(
        encoder=str(encoder),
        encoder_licence="none, random weights",
        epochs=8,
        batch_size=16,
        learning_rate=3e-3,
        max_tokens=32,
        dropout=0.0,
    )


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data sets with invented texts, in the layout of the real one."""
    root = tmp_path_factory.mktemp("data")
    rng = random.Random(1)
    write_stream(root, "rss", "labels.tsv", 360, rng)
    write_stream(root, "wide", "wide_labels.tsv", 120, rng)
    rows = [
        {"S No.": number, "Title": headline, "Decisions": str({"Acme": tone}), "Words": 5}
        for number, (headline, tone, _) in enumerate(invented(rng) for _ in range(120))
    ]
    rows.append({"S No.": 998, "Title": "mixed", "Decisions": "{'A': 'positive', 'B': 'negative'}", "Words": 1})
    rows.append({"S No.": 999, "Title": "broken", "Decisions": "{'A's': 'positive'}", "Words": 1})
    (root / "sentfin").mkdir()
    with (root / "sentfin" / "SEntFiN_dev.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


def invented(rng: random.Random) -> tuple[str, str, str]:
    """A headline, its tone and its topic."""
    tone, topic = rng.choice(list(TONES)), rng.choice(list(SUBJECTS))
    fillers = rng.sample(FILLERS, 2)
    return (
        f"{rng.choice(SUBJECTS[topic])} {rng.choice(TONES[tone])} {' '.join(fillers)} {rng.random():.5f}",
        tone,
        topic,
    )


def write_stream(root: Path, name: str, labels: str, count: int, rng: random.Random) -> None:
    """A dated stream and its labels, over 40 days."""
    from model.training.sets import article_key

    (root / "stream").mkdir(exist_ok=True)
    articles: list[dict[str, Any]] = []
    lines = ["id\tsentiment\ttopic\trelevant"]
    for number in range(count):
        title, tone, topic = invented(rng)
        url = f"https://{name}.example/{number}"
        day = f"2023-0{1 + number % 40 // 20}-{1 + number % 20:02}"
        articles.append(
            {"source": name, "title": title, "summary": f"{title.split()[0]} abroad", "url": url, "language": "en"}
            | {"published_at": f"{day}T10:00:00Z"}
        )
        lines.append(f"{article_key(url, title)}\t{tone}\t{topic}\t{int(topic != 'Politics')}")
        assert topic in TOPICS
    text = "".join(json.dumps(article) + "\n" for article in articles)
    (root / "stream" / f"{name}_2023-01.jsonl").write_text(text)
    (root / "stream" / labels).write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def tiny(recipe: Config, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that the whole pipeline makes of the tiny encoder and the tiny sets, with a file for GPUs."""
    from model.training.pipeline import make_bundle

    folder = tmp_path_factory.mktemp("made") / "bundle"
    work = folder.with_name("work")
    make_bundle(
        recipe, data, work, folder, lambda line: None, fp16=True, command="squall test", parent="the one before"
    )
    return folder
