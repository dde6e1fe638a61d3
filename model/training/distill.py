"""Teachers: networks whose opinions a smaller one learns, on labelled and unlabelled texts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.labels import HEADS
from model.text import article_text
from model.training.config import Config, Training
from model.training.data import UNLABELLED, Example, Split, digest_of
from model.training.finetune import Lesson, Progress, fast_bf16, finetune
from model.training.network import BATCH, load, scores_of
from model.training.targets import targets_of

Floats = NDArray[np.float32]
REPORT_TEXTS = 10_000


def taught(config: Config, parts: Split, work: Path, progress: Progress) -> list[Path]:
    """Train every teacher of a recipe, each in a folder of its own under ``work``; their folders."""
    folders = []
    for number, teacher in enumerate(config.teachers):
        folder = work / f"teacher-{number}"
        known = [example for example in parts.train if example.set in teacher.sets]
        progress(f"teacher {number}: {teacher.encoder} on {len(known)} texts")
        targets = targets_of(known, teacher.sets, smoothing=teacher.label_smoothing)
        held = validation(teacher, parts)
        finetune(teacher, Lesson(known, targets), config.max_tokens, folder, progress, held)
        folders.append(folder)
    return folders


def validation(training: Training, parts: Split) -> Lesson:
    """The development part of the sets that a network learns, with their labels alone."""
    held = [example for example in parts.development if example.set in training.sets]
    return Lesson(held, targets_of(held, training.sets))


def opinions(
    config: Config, folders: Sequence[Path], examples: Sequence[Example], progress: Progress
) -> dict[str, Floats]:
    """The mean distribution of the teachers that know each text's set, by head: (texts, labels).

    What a teacher said is kept in its folder: an interrupted run need not ask again.
    """
    sums = {head: np.zeros((len(examples), len(names)), np.float32) for head, names in HEADS.items()}
    counts = np.zeros(len(examples), np.float32)
    for teacher, folder in zip(config.teachers, folders, strict=True):
        asked = np.array([knows(teacher, example) for example in examples])
        said = _said(folder, [example for example, ask in zip(examples, asked, strict=True) if ask], config, progress)
        for head in HEADS:
            sums[head][asked] += said[head]
        counts[asked] += 1
    divisor = np.maximum(counts, 1)[:, None]
    return {head: np.asarray(each / divisor, np.float32) for head, each in sums.items()}


def knows(teacher: Training, example: Example) -> bool:
    """Whether a teacher has learned texts of this kind; unlabelled articles are news."""
    return ("news" if example.set == UNLABELLED else example.set) in teacher.sets


def _said(folder: Path, examples: Sequence[Example], config: Config, progress: Progress) -> dict[str, Floats]:
    file = folder / f"opinions-{digest_of(examples)}.npz"
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

    scores = scores_of(network.to(device), tokenizer, texts, config.max_tokens, bf16=fast_bf16(device), done=done)
    said = {head: torch.from_numpy(logits).softmax(1).numpy() for head, logits in scores.logits.items()}
    with file.with_suffix(".partial").open("wb") as stream:
        np.savez(stream, **said)  # type: ignore[arg-type]
    file.with_suffix(".partial").replace(file)
    return said
