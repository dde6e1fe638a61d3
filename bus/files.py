"""Files that are there as a whole or not at all, also after a power cut."""

import os
from pathlib import Path

PARTIAL = ".partial"
"""Ending of what is still being written; a crash leaves it behind."""


def write_whole(file: Path, content: bytes) -> None:
    """Write a file in one step: a reader sees the old content or the new one, and when this returns it is on the disk.

    Raises:
        OSError: it cannot be written; the file is as it was, and nothing is left beside it.
    """
    partial = file.with_name(file.name + PARTIAL)
    try:
        partial.write_bytes(content)
        sync(partial)
        partial.replace(file)
        sync(file.parent)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Wait until a file, or a folder's names, are on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
