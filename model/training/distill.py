"""Teachers: networks whose opinions a smaller one learns, on labelled and unlabelled texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.labels import HEADS
from model.text import article_text
from model.training.config import Config, Training
from model.training.data import UNLABELLED, Example
from model.training.finetune import Progress, fast_bf16, finetune
from model.training.network import Network, load
from model.training.targets import targets_of

Floats = NDArray[np.float32]
BATCH = 64
REPORT_TEXTS = 10_000


def taught(config: Config, labelled: Sequence[Example], work: Path, progress: Progress) -> list[Path]:
    """Train every teacher of a recipe, each in a folder of its own under ``work``; their folders."""
    folders = []
    for number, teacher in enumerate(config.teachers):
        folder = work / f"teacher-{number}"
        known = [example for example in labelled if example.set in teacher.sets]
        progress(f"teacher {number}: {teacher.encoder} on {len(known)} texts")
        targets = targets_of(known, teacher.sets, smoothing=teacher.label_smoothing)
        finetune(teacher, known, targets, config.max_tokens, folder, progress)
        folders.append(folder)
    return folders


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
    file = folder / "opinions.npz"
    if file.is_file():
        with np.load(file) as kept:
            if len(kept["sentiment"]) == len(examples):
                return {head: kept[head] for head in HEADS}
    network, tokenizer = load(folder)
    texts = [article_text(example.title, example.summary) for example in examples]
    said = probabilities(network, tokenizer, texts, config.max_tokens, progress)
    with file.with_suffix(".partial").open("wb") as stream:
        np.savez(stream, **said)  # type: ignore[arg-type]
    file.with_suffix(".partial").replace(file)
    return said


def probabilities(
    network: Network, tokenizer: Any, texts: Sequence[str], max_tokens: int, progress: Progress
) -> dict[str, Floats]:
    """A network's distributions over the labels of each head: (texts, labels)."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device).eval()
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    found: dict[str, list[Floats]] = {head: [] for head in HEADS}
    for start in range(0, len(texts), BATCH):
        part = [texts[index] for index in order[start : start + BATCH]]
        encoded = tokenizer(part, truncation=True, max_length=max_tokens, padding=True, return_tensors="pt")
        ids, mask = encoded["input_ids"].to(device), encoded["attention_mask"].to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16(device.type)):
            *logits, _ = network(ids, mask, torch.zeros_like(ids))
        for head, each in zip(HEADS, logits, strict=True):
            found[head].append(each.float().softmax(1).cpu().numpy())
        if start % REPORT_TEXTS < BATCH:
            progress(f"opinions on {start}/{len(texts)} texts")
    back = np.argsort(order)
    return {head: np.concatenate(parts)[back] for head, parts in found.items()}
