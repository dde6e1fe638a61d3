"""The report on the data that a model would be trained on: JSON to compare, one page to read."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from bus.errors import ConfigError
from model.classifier import Classifier
from model.labels import HEADS
from model.text import article_text
from model.training.config import Config
from model.training.data import Example, by_set, is_held_out, split
from model.training.evaluate import NEWS
from model.training.finetune import fast_bf16
from model.training.network import pretrained, scores_of
from model.training.quality import Crossing, Drift, SetReport, Suspect, crossing, drift, report_of_set, suspects
from model.training.report import rendered
from model.training.sets import load_sets, stream_lines


class Suspects(Struct, frozen=True):
    """Likely label errors of one head, over all sets that carry it."""

    rows: int
    listed: list[Suspect]


class DataReport(Struct, frozen=True):
    """What ``squall model data report`` writes as JSON."""

    sets: dict[str, SetReport]
    train: int
    development: int
    crossing: Crossing
    suspects: dict[str, Suspects]
    """By head; empty when they were not looked for."""
    drift: Drift | None
    """None without live texts."""


def report_data(
    config: Config,
    root: Path,
    progress: Callable[[str], None],
    *,
    find_suspects: bool = True,
    live: Sequence[str] = (),
    bundle: Path | None = None,
) -> DataReport:
    """Look at the sets of a recipe, its teachers' included, before they train anything.

    Args:
        root: folder of the data sets.
        find_suspects: look for label errors: embeds every text with the recipe's encoder, some minutes.
        live: texts as the model reads them, for the drift.
        bundle: the model that labels them.

    Raises:
        ConfigError: a set is missing or malformed.
        BundleError: the bundle cannot be used.
    """
    names = dict.fromkeys(name for one in (config, *config.teachers) for name in one.sets)
    examples, _ = load_sets(tuple(names), root)
    parts = split(examples, config.development)
    progress(f"{len(examples)} texts of {len(names)} sets")
    news = [example for example in examples if example.set in NEWS]
    found = _suspects(config, examples, progress) if find_suspects else {}
    return DataReport(
        sets={name: report_of_set(part) for name, part in by_set(examples)},
        train=len(parts.train),
        development=len(parts.development),
        crossing=crossing([each for each in examples if not is_held_out(each, config.development)], parts.development),
        suspects=found,
        drift=_drift(news, live, bundle) if news and live and bundle else None,
    )


def _suspects(config: Config, examples: Sequence[Example], progress: Callable[[str], None]) -> dict[str, Suspects]:
    network, tokenizer = pretrained(config.encoder)
    texts = [article_text(example.title, example.summary) for example in examples]
    progress(f"embedding {len(texts)} texts with {config.encoder}")
    bf16 = fast_bf16("cpu")
    embedding = scores_of(network.eval(), tokenizer, texts, config.max_tokens, bf16=bf16).embedding
    found = {}
    for head in HEADS:
        progress(f"looking for label errors: {head}")
        found[head] = Suspects(*suspects(examples, embedding, head))
    return found


def _drift(news: Sequence[Example], live: Sequence[str], bundle: Path) -> Drift:
    scores = Classifier.load(bundle).scores(live)
    return drift(news, live, {head: np.asarray(logits.argmax(1), np.int64) for head, logits in scores.logits.items()})


def live_texts(file: Path) -> list[str]:
    """The texts of a file of articles, one JSON object with ``title`` and perhaps ``summary`` a line.

    Raises:
        ConfigError: no such file, a line that is not such an object, no line at all.
    """
    try:
        texts = [article_text(article.title, article.summary or "") for _, article in stream_lines(file)]
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: no such file; --live takes a file of articles, one JSON object a line") from error
    if not texts:
        raise ConfigError(f"{file}: holds no article")
    return texts


def write_data_report(report: DataReport, json_file: Path | None, html_file: Path | None) -> None:
    """Write the report as JSON, as a page, or both."""
    if json_file:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    if html_file:
        html_file.write_text(rendered("data_report.html", report=report), encoding="utf-8")
