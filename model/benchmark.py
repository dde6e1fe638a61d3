"""How many articles a second the classifier scores, beside the ``transformers`` pipeline on the same texts."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from bus.errors import ConfigError
from model.classifier import Classifier, usable_cores

REFERENCE_BATCH = 32
"""Texts of a batch of the reference, padded to the longest: what its documentation suggests."""
WARM_UP = 64
"""Texts that each side scores before the clock starts."""


class Rate(Struct, frozen=True):
    """Articles a second over several runs."""

    median: float
    least: float
    most: float


class Figures(Struct, frozen=True):
    """What one benchmark measured."""

    texts: int
    threads: int
    repeats: int
    classifier: Rate
    transformers: Rate
    times_faster: float
    """Median over the rounds of the classifier's rate by the reference's rate in the same round."""


def classifier_against_transformers(texts: Sequence[str], bundle: Path, threads: int = 0, repeats: int = 5) -> Figures:
    """Compare a bundle's classifier with the transformers pipeline on an fp32 PyTorch model of the same shape.

    The two take turns, so that whatever else the machine does weighs on both. The reference's weights are random, which
    changes nothing about its speed, and it has one head where the classifier has three and an embedding.

    Args:
        texts: made by :func:`model.text.article_text`.
        threads: of both; 0 takes the process's cores.

    Raises:
        BundleError: the bundle cannot be used.
        ConfigError: torch and transformers are not installed.
    """
    threads = threads or usable_cores()
    classifier = Classifier.load(bundle, threads=threads)
    reference = transformers_pipeline(bundle, threads, classifier.manifest.max_tokens)
    classifier.classify(texts[:WARM_UP])
    reference(texts[:WARM_UP])
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(rate(classifier.classify, texts))
        theirs.append(rate(reference, texts))
    return Figures(
        texts=len(texts),
        threads=threads,
        repeats=repeats,
        classifier=_summary(ours),
        transformers=_summary(theirs),
        times_faster=statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
    )


def rate(classify: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    """Texts a second of one call."""
    started = time.perf_counter()
    classify(texts)
    return len(texts) / (time.perf_counter() - started)


def transformers_pipeline(bundle: Path, threads: int, max_tokens: int) -> Callable[[Sequence[str]], object]:
    """The reference: ``pipeline("text-classification")`` with the bundle's configuration and tokenizer.

    Raises:
        ConfigError: torch and transformers are not installed.
    """
    try:
        import torch
        from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, pipeline
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error}; the comparison needs it: pip install 'squall[train]'") from error
    torch.set_num_threads(threads)
    config = AutoConfig.from_pretrained(str(bundle), num_labels=3)
    model = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    classify: Any = pipeline(
        "text-classification",
        model=model.eval(),
        tokenizer=AutoTokenizer.from_pretrained(str(bundle)),
        device="cpu",
        batch_size=REFERENCE_BATCH,
    )
    return lambda texts: classify(list(texts), truncation=True, padding=True, max_length=max_tokens, top_k=None)


def _summary(rates: list[float]) -> Rate:
    return Rate(statistics.median(rates), min(rates), max(rates))
