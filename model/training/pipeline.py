"""From labelled sets to a bundle, in one call: load, split, fine-tune, export, calibrate, evaluate, describe."""

import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bus.errors import BundleError
from model.bundle import DataSet, Manifest, sha256_of, version_of, write_manifest
from model.classifier import Classifier, usable_cores
from model.labels import HEADS
from model.text import article_text
from model.training.card import card, notice
from model.training.config import Config
from model.training.data import UNLABELLED, Example, Split, split
from model.training.distill import opinions, taught, validation
from model.training.encoders import LICENCES
from model.training.evaluate import evaluate, fit_temperatures, held_out, references, scored
from model.training.export import export
from model.training.finetune import Lesson, Progress, finetune
from model.training.mistakes import confusions, quotable
from model.training.network import average, load, scores_of
from model.training.sets import load_sets, load_unlabelled
from model.training.targets import targets_of

PARITY_TEXTS = 1_000
"""Texts on which the export is compared with PyTorch."""


def make_bundle(
    config: Config, root: Path, work: Path, folder: Path, progress: Progress, *, fp16: bool = False, command: str = ""
) -> Manifest:
    """Fine-tune on the sets of a recipe and write a complete bundle.

    The bundle appears under its name only when it is whole; a failure leaves nothing there.

    Args:
        root: folder of the data sets.
        work: folder for checkpoints and the PyTorch weights; a second call with the same goes on from there.
        folder: of the new bundle; must not exist.
        command: how this was started, for the model card.

    Raises:
        ConfigError: a data file is missing or malformed, the recipe does not fit.
        BundleError: the folder exists, or the export failed a check.
    """
    if folder.exists():
        raise BundleError(f"{folder}: exists already; choose another --out, or move it away")
    started = time.monotonic()
    names = dict.fromkeys(name for one in (config, *config.teachers) for name in one.sets)
    labelled, data = load_sets(tuple(names), root)
    parts = split(labelled, config.development)
    progress(f"{len(parts.train)} texts to train on, {len(parts.development)} kept for development")
    measured = held_out(root, config.development, progress)  # before the hours of training: what it needs may lack
    data += _train(config, parts, labelled, root, work, progress)
    seconds = time.monotonic() - started
    return bundle_of(config, work, folder, data, measured, progress, fp16=fp16, command=command, seconds=seconds)


def _train(
    config: Config, parts: Split, labelled: Sequence[Example], root: Path, work: Path, progress: Progress
) -> list[DataSet]:
    """Train the teachers, if there are any, and the network; describes the sets read beside the labelled ones."""
    examples = [example for example in parts.train if example.set in config.sets]
    read: list[DataSet] = []
    said = None
    if config.teachers:
        if config.unlabelled:
            stream, described = load_unlabelled(root, labelled, config.development, config.unlabelled_texts)
            examples += stream
            read.append(described)
        teachers = taught(config, parts, work, progress)
        said = opinions(teachers, examples, config.max_tokens, progress)
    weights = {**config.sets, UNLABELLED: config.unlabelled}
    targets = targets_of(examples, weights, smoothing=config.label_smoothing, opinions=said, share=config.opinion)
    lesson = Lesson(examples, targets).counting()
    members = [work / f"member-{number}" for number in range(config.soup)] if config.soup > 1 else [work]
    for number, folder in enumerate(members):
        progress(f"{config.encoder} on {len(lesson.examples)} texts, {number + 1} of {len(members)}")
        finetune(config, lesson, config.max_tokens, folder, progress, validation(config, parts), number)
    if len(members) > 1:
        average(members, work)
    return read


def bundle_of(
    config: Config,
    work: Path,
    folder: Path,
    data: list[DataSet],
    measured: Sequence[Example],
    progress: Progress,
    *,
    fp16: bool = False,
    command: str = "",
    seconds: float = 0.0,
) -> Manifest:
    """Export a fine-tuned network into a bundle, fit its temperatures, measure and describe it.

    Args:
        work: folder that :func:`model.training.finetune.finetune` wrote.
        measured: held-out examples.
        seconds: how long the fine-tune took.
    """
    network, tokenizer = load(work)
    with whole(folder) as partial:
        texts = [article_text(example.title, example.summary) for example in measured[:PARITY_TEXTS]]
        progress(f"exporting to {folder}")
        names = export(network, tokenizer, partial, texts, config.max_tokens, fp16)
        files = {name: sha256_of(partial / name) for name in sorted(names)}
        manifest = _manifest(config, files, data, dict.fromkeys(HEADS, 1.0))
        write_manifest(partial, manifest)
        progress(f"measuring on {len(measured)} held-out texts")
        scores = scored(Classifier.load(partial).scores, measured)
        temperatures = fit_temperatures(scores, measured)
        reference = scored(lambda part: scores_of(network, tokenizer, part, config.max_tokens), measured)
        manifest = msgspec.structs.replace(
            _manifest(config, files, data, temperatures),
            metrics={
                "int8": evaluate(scores, measured, temperatures),
                "fp32": evaluate(reference, measured, temperatures),
                "measured_at": datetime.now(UTC).strftime("%Y-%m-%d"),
                "machine": f"{processor()}, {usable_cores()} cores",
                "command": command,
                "training_seconds": round(seconds),
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


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A folder to fill beside the named one, which takes its name when it is whole and is removed when it is not."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _manifest(config: Config, files: dict[str, str], data: list[DataSet], temperatures: dict[str, float]) -> Manifest:
    labels = {head: list(names) for head, names in HEADS.items()}
    return Manifest(
        version=version_of(datetime.now(UTC).date(), files, labels, temperatures, config.max_tokens),
        languages=list(config.languages),
        labels=labels,
        temperatures=temperatures,
        max_tokens=config.max_tokens,
        files=files,
        encoder=config.encoder,
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
