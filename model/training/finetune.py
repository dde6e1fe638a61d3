"""Fine-tuning one network: batches of all sets mixed, one optimizer step each, a checkpoint after every epoch."""

import hashlib
import math
import pickle
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm  # type: ignore[import-untyped]
from transformers import get_linear_schedule_with_warmup

from bus.errors import ConfigError
from model.labels import HEADS
from model.text import article_text
from model.training.config import Training
from model.training.data import Example, digest_of
from model.training.network import Network, pretrained
from model.training.targets import Targets

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
"""The weights of the best epoch, where training may stop early."""
MEMBERS_APART = 1_000
"""Between the seeds of two members of a soup: more than there are epochs."""
REPORT_STEPS = 50
"""Steps between two lines of progress."""
POOL = 50
"""Batches that are sorted by length together: enough to waste little padding, few enough to stay random."""

Progress = Callable[[str], None]


class Batch(msgspec.Struct):
    """One step's texts as tensors."""

    input_ids: Tensor
    """(texts, tokens)."""
    attention_mask: Tensor
    wanted: list[Tensor]
    """By head: (texts, labels)."""
    weights: list[Tensor]
    """By head: (texts,)."""


class Lesson(NamedTuple):
    """Texts, and what is to be learned of each."""

    examples: Sequence[Example]
    targets: Targets

    def counting(self) -> "Lesson":
        """Without the texts from which no head learns."""
        rows = np.flatnonzero(sum(self.targets.weights.values()) > 0)
        if len(rows) == len(self.examples):
            return self
        wanted, weights = ({head: part[rows] for head, part in parts.items()} for parts in self.targets)
        return Lesson([self.examples[i] for i in rows.tolist()], Targets(wanted, weights))


class Best(NamedTuple):
    """The best state so far, of a training that stops early."""

    loss: float = math.inf
    epochs: int = 0
    """Behind it."""


class Standing(NamedTuple):
    """How far a training has come, over all the runs that worked on it."""

    epochs: int = 0
    seconds: float = 0.0
    """That these epochs took."""
    best: Best = Best()


def finetune(
    training: Training,
    lesson: Lesson,
    max_tokens: int,
    folder: Path,
    progress: Progress,
    validation: Lesson | None = None,
    member: int = 0,
) -> float:
    """Train a network and write it to a folder, as a Hugging Face encoder with heads and tokenizer.

    A run that was cut off goes on after its last whole epoch, when called with the same folder and recipe.
    Returns the seconds that its epochs took, in this run and those before it.

    Args:
        validation: texts that are not trained on; needed where the recipe has ``patience``.
        member: of a soup: members begin alike and see their texts in different orders.

    Raises:
        ConfigError: nothing to learn, an unknown encoder, or a checkpoint of another recipe.
    """
    _check(training, lesson, validation)
    _seed(training.seed)
    network, tokenizer = pretrained(training.encoder, training.dropout, training.encoder_dropout)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    groups = _parameter_groups(network, training.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=training.learning_rate, fused=True)
    steps = training.epochs * math.ceil(len(lesson.examples) / training.batch_size)
    schedule = get_linear_schedule_with_warmup(optimizer, int(training.warmup * steps), steps)  # type: ignore[no-untyped-call]
    folder.mkdir(parents=True, exist_ok=True)
    state = {"network": network, "optimizer": optimizer, "schedule": schedule}
    recipe = recipe_of(training, lesson, max_tokens, member)
    epochs, seconds, best = _resume(folder / CHECKPOINT, recipe, state)
    if epochs:
        progress(f"{folder / CHECKPOINT}: going on after epoch {epochs}")
    for epoch in range(epochs, training.epochs):
        if training.patience and epoch - best.epochs >= training.patience:
            progress(f"no better on texts kept for development since epoch {best.epochs}: stopping")
            break
        started = time.monotonic()
        order = training.seed + epoch + MEMBERS_APART * member
        _seed(order)
        batches = _batches(lesson, tokenizer, training, max_tokens, random.Random(order))
        _epoch(network, batches, optimizer, schedule, device, progress, f"epoch {epoch + 1}/{training.epochs}")
        if training.patience and validation:
            loss = _loss_on(network, _batches(validation, tokenizer, training, max_tokens, random.Random(0)), device)
            progress(f"epoch {epoch + 1}/{training.epochs} loss {loss:.4f} on texts kept for development")
            if loss < best.loss:
                best = Best(loss, epoch + 1)
                _save(network.state_dict(), folder / BEST)
        seconds += time.monotonic() - started
        _save_checkpoint(folder / CHECKPOINT, recipe, Standing(epoch + 1, seconds, best), state)
    if best.epochs:
        network.load_state_dict(torch.load(folder / BEST, weights_only=True))
    network.to("cpu").eval().save(folder)
    tokenizer.save_pretrained(folder)
    return seconds


def recipe_of(training: Training, lesson: Lesson, max_tokens: int, member: int = 0) -> dict[str, Any]:
    """What a checkpoint must have been made by, to be gone on with."""
    own = {name: getattr(training, name) for name in Training.__struct_fields__}
    targets = hashlib.sha256()
    for part in lesson.targets:
        for head in HEADS:
            targets.update(part[head].tobytes())
    made_of = {"examples": digest_of(lesson.examples), "targets": targets.hexdigest()[:16]}
    return own | made_of | {"max_tokens": max_tokens, "member": member}


def _check(training: Training, lesson: Lesson, validation: Lesson | None) -> None:
    """Raise ConfigError where there is nothing to learn, or nothing to stop by."""
    names = ", ".join(training.sets)
    if training.patience and not (validation and validation.examples):
        raise ConfigError(f"patience {training.patience}: no text of {names} is kept for development to stop by; set 0")
    if not lesson.examples:
        raise ConfigError(f"sets: no example to train on in {names}")
    for head, labels in HEADS.items():
        weights, wanted = lesson.targets.weights[head], lesson.targets.wanted[head]
        answers = np.unique(wanted[weights > 0].argmax(1))
        if len(answers) == 1:
            only = labels[answers[0]]
            raise ConfigError(f"sets: every {head} in {names} is {only!r}: nothing to tell apart; add texts of others")


def fast_bf16(device: str) -> bool:
    """Whether bfloat16 is quicker than float32: on GPUs, and on processors with AMX or AVX-512 BF16."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and any(name in flags.read_text() for name in ("amx_bf16", "avx512_bf16"))


def _seed(seed: int) -> None:
    random.seed(seed)
    torch.manual_seed(seed)


def _parameter_groups(network: Network, weight_decay: float) -> list[dict[str, Any]]:
    """Biases and LayerNorm are not decayed (BERT's own recipe)."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _batches(lesson: Lesson, tokenizer: Any, training: Training, max_tokens: int, rng: random.Random) -> list[Batch]:
    """One epoch's batches in random order, each of texts of similar length."""
    examples, targets = lesson
    texts = [article_text(e.title, "" if rng.random() < training.title_only else e.summary) for e in examples]
    encoded = tokenizer(texts, truncation=True, max_length=max_tokens, padding=False)["input_ids"]
    order = list(range(len(examples)))
    rng.shuffle(order)
    groups = []
    size = training.batch_size
    for start in range(0, len(order), size * POOL):
        pool = sorted(order[start : start + size * POOL], key=lambda i: len(encoded[i]))
        groups += [pool[i : i + size] for i in range(0, len(pool), size)]
    rng.shuffle(groups)
    return [_padded(encoded, targets, group, tokenizer.pad_token_id) for group in groups]


def _padded(encoded: Sequence[list[int]], targets: Targets, group: Sequence[int], pad: int) -> Batch:
    rows = [torch.tensor(encoded[i]) for i in group]
    return Batch(
        input_ids=nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad),
        attention_mask=nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
        wanted=[torch.from_numpy(targets.wanted[head][np.asarray(group)]) for head in HEADS],
        weights=[torch.from_numpy(targets.weights[head][np.asarray(group)]) for head in HEADS],
    )


def loss_of(logits: Sequence[Tensor], wanted: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """The sum over heads of the weighted mean cross-entropy of the rows that have a target for the head."""
    losses = []
    for head, want, weight in zip(logits, wanted, weights, strict=True):
        if bool(weight.any()):
            each = nn.functional.cross_entropy(head.float(), want, reduction="none")
            losses.append((each * weight).sum() / weight.sum())
    return torch.stack(losses).sum()


def _epoch(
    network: Network,
    batches: list[Batch],
    optimizer: torch.optim.Optimizer,
    schedule: Any,
    device: torch.device,
    progress: Progress,
    name: str,
) -> None:
    network.train()
    started, running = time.monotonic(), 0.0
    bf16 = fast_bf16(device.type)
    for step, batch in enumerate(tqdm(batches, name, unit="batch", leave=False, disable=None), start=1):
        loss = _loss(network, batch, device, bf16)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        running += loss.item()
        if step == len(batches) or (step % REPORT_STEPS == 0 and not sys.stderr.isatty()):
            taken = time.monotonic() - started
            left = taken / step * (len(batches) - step)
            progress(f"{name} step {step}/{len(batches)} loss {running / step:.3f} {taken:.0f} s, {left:.0f} s left")


def _loss(network: Network, batch: Batch, device: torch.device, bf16: bool) -> Tensor:
    ids, mask = batch.input_ids.to(device), batch.attention_mask.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        *logits, _ = network(ids, mask, torch.zeros_like(ids))
    return loss_of(logits, [t.to(device) for t in batch.wanted], [t.to(device) for t in batch.weights])


def _loss_on(network: Network, batches: list[Batch], device: torch.device) -> float:
    """The mean loss on texts that are not trained on."""
    network.eval()
    bf16 = fast_bf16(device.type)
    with torch.inference_mode():
        return sum(_loss(network, batch, device, bf16).item() for batch in batches) / len(batches)


def _save_checkpoint(file: Path, recipe: dict[str, Any], standing: Standing, state: dict[str, Any]) -> None:
    content: dict[str, Any] = {name: part.state_dict() for name, part in state.items()}
    _save({**content, **standing._asdict(), "best": tuple(standing.best), "recipe": recipe}, file)


def _save(content: Any, file: Path) -> None:
    """Write a file as a whole or not at all."""
    partial = file.with_suffix(".partial")
    try:
        torch.save(content, partial)
        partial.replace(file)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        partial.unlink(missing_ok=True)
        raise ConfigError(f"{file}: cannot be written ({error}); free space and run the same command again") from error


def _resume(file: Path, recipe: dict[str, Any], state: dict[str, Any]) -> Standing:
    """Restore what a checkpoint holds, and how far the training had come."""
    if not file.is_file():
        return Standing()
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
        made_by = saved["recipe"]
    except (RuntimeError, EOFError, OSError, KeyError, TypeError, pickle.UnpicklingError) as error:
        first = str(error).partition("\n")[0]
        raise ConfigError(f"{file}: not a checkpoint: {first}; delete it to start again") from error
    if made_by != recipe:
        names = [name for name in made_by | recipe if made_by.get(name) != recipe.get(name)]
        other = ", ".join(f"{name} was {made_by.get(name)}, now {recipe.get(name)}" for name in names)
        raise ConfigError(f"{file}: made by another recipe or data ({other}); delete it, or choose another --out")
    for name, part in state.items():
        part.load_state_dict(saved[name])
    return Standing(saved["epochs"], saved["seconds"], Best(*saved["best"]))
