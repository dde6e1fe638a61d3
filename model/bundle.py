"""A model bundle: a folder with the ONNX model, its tokenizer, and a manifest that says what they are.

- ``manifest.json``: this module's :class:`Manifest`;
- ``model.int8.onnx`` for the CPU, ``model.fp16.onnx`` for a GPU where it was exported;
- ``config.json``, ``tokenizer.json``, ``tokenizer_config.json``: readable by Hugging Face tools;
- ``README.md`` (the model card), ``LICENSE``, ``NOTICE``.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from bus.errors import BundleError
from bus.files import PARTIAL, sync, write_whole
from model.drift import Reference

SCHEMA = 1
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
ONNX = {"cpu": "model.int8.onnx", "cuda": "model.fp16.onnx"}
"""The model file of each device."""
_RESTORE = "restore it from the bundle's origin"
_VERSION = re.compile(r"(\d{4}-\d\d-\d\d)-[0-9a-f]{8}")


class DataFile(Struct, frozen=True):
    """One file of a training set, as it was when the model was trained."""

    name: str
    sha256: str


class DataSet(Struct, frozen=True):
    """A set that the model was trained on."""

    name: str
    files: list[DataFile]
    rows: int
    """Rows used, before the split into training and development."""
    licence: str
    source: str
    """Where it comes from."""


class Manifest(Struct, frozen=True, kw_only=True):
    """What a bundle says of itself."""

    schema: int = SCHEMA
    version: str
    """``<date>-<8 hexadecimal digits>``: the digits are derived from all that decides a score."""
    languages: list[str]
    """Two-letter codes of the languages that the model reads."""
    labels: dict[str, list[str]]
    """By head, in the order of the logits."""
    temperatures: dict[str, float]
    """By head: what logits are divided by, so that probabilities are calibrated."""
    max_tokens: int
    files: dict[str, str]
    """Name to sha256 of each file that scoring depends on."""
    encoder: str
    licences: dict[str, str]
    parent: str = ""
    """The version that served when this one was made: what it is to replace."""
    recipe: dict[str, Any] = {}
    """The configuration of the fine-tune."""
    data: list[DataSet] = []
    metrics: dict[str, Any] = {}
    reference: dict[str, Reference] = {}
    """By head, the model's answers on the news it was measured on: what drift is measured against."""


def sha256_of(file: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def version_of(
    day: date, files: dict[str, str], labels: dict[str, list[str]], temperatures: dict[str, float], max_tokens: int
) -> str:
    """The version of a bundle: its day, and a fingerprint of everything that decides a score."""
    content = json.dumps([files, labels, temperatures, max_tokens], sort_keys=True).encode()
    return f"{day.isoformat()}-{hashlib.sha256(content).hexdigest()[:8]}"


def load_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle.

    Raises:
        BundleError: no such folder, no manifest, one that cannot be read, or of a newer schema.
    """
    file = folder / MANIFEST
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder; expected a bundle; 'squall model finetune' makes one")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}; a bundle made by 'squall model finetune' holds one") from error
    try:
        schema = msgspec.json.decode(content, type=_Schema).schema
        if schema != SCHEMA:
            raise BundleError(f"{file}: schema {schema}, but this program reads schema {SCHEMA}: upgrade Squall")
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{file}: not a manifest: {error}; {_RESTORE}") from error


class _Schema(Struct):
    schema: int


def verify(folder: Path) -> Manifest:
    """The manifest of a bundle, once every file is what it says.

    Raises:
        BundleError: as in :func:`load_manifest`; a file is missing or changed; the version does not fit.
    """
    manifest = load_manifest(folder)
    for name, expected in manifest.files.items():
        _verify_file(folder, name, expected)
    where = folder / MANIFEST
    stated = _VERSION.fullmatch(manifest.version)
    if stated is None:
        raise BundleError(f"{where}: version {manifest.version!r}, expected a day and 8 hexadecimal digits; {_RESTORE}")
    version = version_of(
        date.fromisoformat(stated[1]), manifest.files, manifest.labels, manifest.temperatures, manifest.max_tokens
    )
    if version != manifest.version:
        raise BundleError(
            f"{where}: its content is that of version {version}, but it says {manifest.version}; {_RESTORE}"
        )
    return manifest


def _verify_file(folder: Path, name: str, expected: str) -> None:
    if Path(name).name != name:
        raise BundleError(f"{folder / MANIFEST}: file name {name!r}, expected one inside the bundle; {_RESTORE}")
    file = folder / name
    if not file.is_file():
        raise BundleError(f"{file}: no such file, but {MANIFEST} lists it; {_RESTORE}")
    found = sha256_of(file)
    if found != expected:
        raise BundleError(
            f"{file}: sha256 is {found}, expected {expected}; the file is damaged or was replaced: {_RESTORE}"
        )


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A folder to fill beside the named one; it takes that name when all of it is on the disk, and else is removed."""
    partial = folder.with_name(folder.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
        for file in partial.iterdir():
            sync(file)
        partial.rename(folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest as readable JSON, in one step: a reader sees the old one or the new one."""
    write_whole(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
