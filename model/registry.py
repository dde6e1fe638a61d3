"""The registry: a folder of immutable versions, and one small file that says which of them is live.

- ``versions/<version>/``: bundles as :mod:`model.bundle` describes them; never changed once they have their name;
- ``live.json``: a :class:`Live`. It is replaced in one step, so a reader sees the old one or the new one, and it is
  written only after the version that it names is whole and on the disk.
"""

import shutil
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from bus.errors import BundleError
from bus.files import PARTIAL, write_whole
from bus.messages import utcnow
from model.bundle import Manifest, load_manifest, verify, whole

VERSIONS = "versions"
LIVE = "live.json"


class Live(Struct, frozen=True):
    """Which version serves, and which served before."""

    version: str
    at: datetime
    """When it was promoted."""
    earlier: tuple[str, ...] = ()
    """The versions that were live before, the last one last: what a rollback returns to."""


def live(folder: Path) -> Live | None:
    """The live version of a registry; None before the first promotion.

    Raises:
        BundleError: the file that names it cannot be read.
    """
    file = folder / LIVE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Live)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise BundleError(f"{file}: {error}; 'squall model promote' or 'rollback' writes it again") from error


def served(folder: Path, bundle: Path) -> Path:
    """The folder of the version that serves: the registry's live one, or ``bundle`` where none was promoted.

    Raises:
        BundleError: the registry's file cannot be read, or names a version that it does not have.
    """
    now = live(folder)
    if now is None:
        return bundle
    return version_folder(folder, now.version)


def versions(folder: Path) -> list[Manifest]:
    """The manifests of all whole versions, oldest first. Those that cannot be read are left out."""
    found = []
    for each in sorted((folder / VERSIONS).glob("*")):
        if not each.name.endswith(PARTIAL):
            try:
                found.append(load_manifest(each))
            except BundleError:
                continue
    return found


def add(folder: Path, bundle: Path) -> Manifest:
    """Copy a bundle into the registry as a version; one that is there already stays as it is.

    Raises:
        BundleError: the bundle is damaged, or the disk is full; the registry is as it was.
    """
    manifest = verify(bundle)
    target = folder / VERSIONS / manifest.version
    if target.is_dir():
        return verify(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole(target) as partial:
            partial.mkdir()
            for file in bundle.iterdir():
                shutil.copyfile(file, partial / file.name)
            verify(partial)
    except OSError as error:
        raise BundleError(f"{target}: cannot be written ({error.strerror}); the registry is as it was") from error
    return manifest


def go_live(folder: Path, version: str) -> Live:
    """Make a version of the registry the live one.

    Raises:
        BundleError: there is no such version, it is damaged, or the disk is full; the live version is as it was.
    """
    verify(version_folder(folder, version))
    before = live(folder)
    earlier = () if before is None else (*before.earlier, before.version)
    return _write(folder, Live(version, utcnow(), tuple(v for v in earlier if v != version)))


def roll_back(folder: Path) -> Live:
    """Make the version live that was before the present one.

    Raises:
        BundleError: there was none, or it is damaged; the live version is as it was.
    """
    before = live(folder)
    if before is None or not before.earlier:
        raise BundleError(f"{folder}: no earlier version to go back to; 'squall model list' shows what is there")
    version = before.earlier[-1]
    verify(version_folder(folder, version))
    return _write(folder, Live(version, utcnow(), before.earlier[:-1]))


def version_folder(folder: Path, version: str) -> Path:
    """The folder of one version. Raises BundleError when the registry holds none of that name."""
    found = folder / VERSIONS / version
    if found not in (folder / VERSIONS).glob("*"):
        raise BundleError(f"{folder}: holds no version {version!r}; 'squall model list' shows those that it holds")
    return found


def _write(folder: Path, now: Live) -> Live:
    try:
        write_whole(folder / LIVE, msgspec.json.encode(now))
    except OSError as error:
        raise BundleError(f"{folder / LIVE}: cannot be written ({error.strerror}); it is as it was") from error
    return now
