"""Teachers: networks whose opinions a smaller one learns, on labelled and unlabelled texts."""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from model.labels import HEADS
from model.text import article_text
from model.training.config import Config, Training
from model.training.data import NONE, UNLABELLED, Example, Split, digest_of, labels_of
from model.training.finetune import Lesson, Progress, fast_bf16, finetune
from model.training.network import BATCH, load, scores_of
from model.training.targets import targets_of

Floats = NDArray[np.float32]
REPORT_TEXTS = 10_000
ARTICLES = (UNLABELLED, "wide_news", "read_news", "read_more", "feedback")
"""Sets of what is read like the news: title and summary of an article."""


class Teacher(NamedTuple):
    """A trained network, and what it may be asked about."""

    folder: Path
    sets: Collection[str]
    heads: Collection[str]
    """Those that its sets have labels for; the others know nothing."""
    seconds: float = 0.0
    """That its training took."""


def taught(config: Config, parts: Split, work: Path, progress: Progress) -> list[Teacher]:
    """Train every teacher of a recipe, each in a folder of its own under ``work``."""
    teachers = []
    for number, training in enumerate(config.teachers):
        folder = work / f"teacher-{number}"
        known = [example for example in parts.train if example.set in training.sets]
        progress(f"teacher {number}: {training.encoder} on {len(known)} texts")
        targets = targets_of(known, training.sets, smoothing=training.label_smoothing)
        lesson, held = Lesson(known, targets), validation(training, parts)
        seconds = finetune(training, lesson, config.max_tokens, folder, progress, held)
        heads = [head for head in HEADS if (labels_of(known, head) != NONE).any()]
        teachers.append(Teacher(folder, training.sets, heads, seconds))
    return teachers


def validation(training: Training, parts: Split) -> Lesson:
    """The development part of the sets that a network learns, with their labels alone."""
    held = [example for example in parts.development if example.set in training.sets]
    return Lesson(held, targets_of(held, training.sets))


def opinions(
    teachers: Sequence[Teacher], examples: Sequence[Example], max_tokens: int, progress: Progress
) -> dict[str, Floats]:
    """The mean distribution of the teachers that know each text's set, by head: (texts, labels).

    Rows of zeros where none does. What a teacher said is kept in its folder: an interrupted run need not ask again.
    """
    sums = {head: np.zeros((len(examples), len(names)), np.float32) for head, names in HEADS.items()}
    for teacher in teachers:
        asked = np.array([knows(teacher, example) for example in examples])
        if not asked.any():
            continue
        texts = [example for example, ask in zip(examples, asked, strict=True) if ask]
        said = _said(teacher.folder, texts, max_tokens, progress)
        for head in teacher.heads:
            sums[head][asked] += said[head]
    return {head: np.asarray(each / np.maximum(each.sum(1), 1)[:, None], np.float32) for head, each in sums.items()}


def knows(teacher: Teacher, example: Example) -> bool:
    """Whether a teacher has learned texts of this kind; one that knows the news knows every article."""
    return example.set in teacher.sets or ("news" in teacher.sets and example.set in ARTICLES)


def _said(folder: Path, examples: Sequence[Example], max_tokens: int, progress: Progress) -> dict[str, Floats]:
    said_by = hashlib.sha256(f"{max_tokens} {digest_of(examples)}".encode())
    for weights in sorted(folder.glob("*.safetensors")):
        said_by.update(weights.read_bytes())
    file = folder / f"opinions-{said_by.hexdigest()[:16]}.npz"
    if file.is_file():
        with np.load(file) as kept:
            return {head: kept[head] for head in HEADS}
    network, tokenizer = load(folder)
    network.encoder.set_attn_implementation("sdpa")  # type: ignore[operator]  # a third faster, without gradients
    device = "cuda" if torch.cuda.is_available() else "cpu"
    texts = [article_text(example.title, example.summary) for example in examples]

    def done(count: int) -> None:
        if count % REPORT_TEXTS < BATCH:
            progress(f"opinions on {count}/{len(texts)} texts")

    scores = scores_of(network.to(device), tokenizer, texts, max_tokens, bf16=fast_bf16(device), done=done)
    said = {head: torch.from_numpy(logits).softmax(1).numpy() for head, logits in scores.logits.items()}
    with file.with_suffix(".partial").open("wb") as stream:
        np.savez(stream, **said)  # type: ignore[arg-type]
    file.with_suffix(".partial").replace(file)
    return said
