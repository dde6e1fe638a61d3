"""Versions of bundles for tests: copies of one that differ in a temperature, and with it in their version."""

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from model.bundle import Manifest, load_manifest, version_of, write_manifest


def variant(bundle: Path, folder: Path, temperature: float, metrics: dict[str, Any] | None = None) -> Manifest:
    """Copy a bundle into a new folder as another version."""
    shutil.copytree(bundle, folder)
    old = load_manifest(folder)
    temperatures = old.temperatures | {"topic": temperature}
    version = version_of(date(2026, 11, 24), old.files, old.labels, temperatures, old.max_tokens)
    new = msgspec.structs.replace(old, version=version, temperatures=temperatures)
    if metrics is not None:
        new = msgspec.structs.replace(new, metrics=metrics)
    write_manifest(folder, new)
    return new
