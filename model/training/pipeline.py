"""From labelled sets to a bundle, in one call: load, split, fine-tune, export, calibrate, evaluate, describe."""

import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError

from bus.errors import BundleError
from model.bundle import ONNX, DataSet, Manifest, sha256_of, version_of, whole, write_manifest
from model.classifier import Classifier, usable_cores
from model.labels import HEADS
from model.text import article_text
from model.training.card import card, notice
from model.training.config import Config
from model.training.data import UNLABELLED, Example, Split, split
from model.training.distill import opinions, taught, validation
from model.training.encoders import LICENCES
from model.training.evaluate import evaluate, fit_temperatures, held_out, references, scored
from model.training.export import check_exportable, export
from model.training.finetune import Lesson, Progress, finetune
from model.training.mistakes import confusions, quotable
from model.training.network import average, load, pretrained, scores_of
from model.training.sets import load_sets, load_unlabelled
from model.training.targets import targets_of

PARITY_TEXTS = 1_000
"""Texts on which the export is compared with PyTorch."""


def make_bundle(
    config: Config,
    root: Path,
    work: Path,
    folder: Path,
    progress: Progress,
    *,
    fp16: bool = False,
    command: str = "",
    parent: str = "",
) -> Manifest:
    """Fine-tune on the sets of a recipe and write a complete bundle.

    The bundle appears under its name only when it is whole; a failure leaves nothing there.

    Args:
        root: folder of the data sets.
        work: folder for checkpoints and the PyTorch weights; a second call with the same goes on from there.
        folder: of the new bundle; must not exist.
        command: how this was started, for the model card.
        parent: the version that serves now.

    Raises:
        ConfigError: a data file is missing or malformed, the recipe does not fit.
        BundleError: the folder exists, the export failed a check, or the disk is full.
    """
    if folder.exists():
        raise BundleError(f"{folder}: exists already; choose another --out, or move it away")
    names = dict.fromkeys(name for one in (config, *config.teachers) for name in one.sets)
    labelled, data = load_sets(tuple(names), root)
    parts = split(labelled, config.development)
    progress(f"{len(parts.train)} texts to train on, {len(parts.development)} kept for development")
    # Before the hours of training: what measuring needs may lack, what is trained may not export.
    measured = held_out(root, config.development, progress)
    check_exportable(pretrained(config.encoder)[0])
    with _writing(work):
        read, seconds = _train(config, parts, labelled, root, work, progress)
        story = {"command": command, "training_seconds": round(seconds)}
        return bundle_of(config, work, folder, data + read, measured, progress, fp16=fp16, story=story, parent=parent)


@contextmanager
def _writing(work: Path) -> Iterator[None]:
    """Turn what a full disk or a folder that may not be written raises into an error that says how to go on."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        where = getattr(error, "filename", None) or work
        raise BundleError(
            f"{where}: cannot be written ({error}); the same command goes on after the last whole epoch"
        ) from error


def _train(
    config: Config, parts: Split, labelled: Sequence[Example], root: Path, work: Path, progress: Progress
) -> tuple[list[DataSet], float]:
    """Train the teachers, if there are any, and the network.

    Returns what describes the sets read beside the labelled ones, and the seconds that all epochs took.
    """
    examples = [example for example in parts.train if example.set in config.sets]
    read: list[DataSet] = []
    said, seconds = None, 0.0
    if config.teachers:
        if config.unlabelled:
            stream, described = load_unlabelled(root, labelled, config.development, config.unlabelled_texts)
            examples += stream
            read.append(described)
        teachers = taught(config, parts, work, progress)
        seconds = sum(teacher.seconds for teacher in teachers)
        said = opinions(teachers, examples, config.max_tokens, progress)
    weights = {**config.sets, UNLABELLED: config.unlabelled}
    targets = targets_of(examples, weights, smoothing=config.label_smoothing, opinions=said, share=config.opinion)
    lesson = Lesson(examples, targets).counting()
    members = [work / f"member-{number}" for number in range(config.soup)] if config.soup > 1 else [work]
    for number, folder in enumerate(members):
        progress(f"{config.encoder} on {len(lesson.examples)} texts, {number + 1} of {len(members)}")
        seconds += finetune(config, lesson, config.max_tokens, folder, progress, validation(config, parts), number)
    if len(members) > 1:
        average(members, work)
    return read, seconds


def bundle_of(
    config: Config,
    work: Path,
    folder: Path,
    data: list[DataSet],
    measured: Sequence[Example],
    progress: Progress,
    *,
    fp16: bool,
    story: Mapping[str, Any],
    parent: str,
) -> Manifest:
    """Export a fine-tuned network into a bundle, fit its temperatures, measure and describe it.

    Args:
        work: folder that :func:`model.training.finetune.finetune` wrote.
        measured: held-out examples.
        story: how it was made, for the card: ``command`` and ``training_seconds``.
        parent: the version that serves now.
    """
    network, tokenizer = load(work)
    with whole(folder) as partial:
        texts = [article_text(example.title, example.summary) for example in measured[:PARITY_TEXTS]]
        progress(f"exporting to {folder}")
        names = export(network, tokenizer, partial, texts, config.max_tokens, fp16)
        files = {name: sha256_of(partial / name) for name in sorted(names)}
        write_manifest(partial, _manifest(config, files, data, dict.fromkeys(HEADS, 1.0), parent))
        progress(f"measuring on {len(measured)} held-out texts")
        scores = scored(Classifier.load(partial).scores, measured)
        temperatures = fit_temperatures(scores, measured)
        others = {"fp32": scored(lambda part: scores_of(network, tokenizer, part, config.max_tokens), measured)}
        if fp16:
            others["fp16"] = scored(_half(partial, progress).scores, measured)
        manifest = msgspec.structs.replace(
            _manifest(config, files, data, temperatures, parent),
            metrics={
                "int8": evaluate(scores, measured, temperatures),
                **{name: evaluate(each, measured, temperatures) for name, each in others.items()},
                "measured_at": datetime.now(UTC).strftime("%Y-%m-%d"),
                "machine": f"{processor()}, {usable_cores()} cores",
                **story,
                "confusions": msgspec.to_builtins(confusions(scores, measured, temperatures)),
                "mistakes": {
                    name: [each._asdict() for each in found]
                    for name, found in quotable(scores, measured, temperatures).items()
                },
            },
            reference=references(scores, measured, temperatures),
        )
        write_manifest(partial, manifest)
        (partial / "README.md").write_text(card(manifest), encoding="utf-8")
        (partial / "NOTICE").write_text(notice(manifest), encoding="utf-8")
        shutil.copyfile(Path(__file__).with_name("APACHE-2.0.txt"), partial / "LICENSE")
    return manifest


def _half(folder: Path, progress: Progress) -> Classifier:
    """The fp16 file on the GPU or, where none can be used, on the CPU, which takes the same rounded weights."""
    try:
        return Classifier.load(folder, device="cuda")
    except BundleError as error:
        progress(f"fp16 is measured on the CPU: {error}")
        return Classifier.load(folder, file=ONNX["cuda"])


def _manifest(
    config: Config, files: dict[str, str], data: list[DataSet], temperatures: dict[str, float], parent: str
) -> Manifest:
    labels = {head: list(names) for head, names in HEADS.items()}
    return Manifest(
        version=version_of(datetime.now(UTC).date(), files, labels, temperatures, config.max_tokens),
        languages=list(config.languages),
        labels=labels,
        temperatures=temperatures,
        max_tokens=config.max_tokens,
        files=files,
        encoder=config.encoder,
        parent=parent,
        licences={
            "weights": "Apache-2.0",
            "encoder": LICENCES.get(config.encoder) or config.encoder_licence or "not stated in the recipe",
        },
        recipe=msgspec.to_builtins(config),
        data=data,
    )


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
