"""Corrections by readers as CSV: what the next fine-tune reads."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from alerts.archive.reader import Correction
from bus.errors import SquallError

COLUMNS = ("article", "head", "old", "new", "at", "title", "summary", "source", "model_version")


def as_csv(labels: Iterable[Correction]) -> Iterator[str]:
    """Corrections as lines of CSV, after a header; times in ISO 8601, UTC."""
    yield _line(COLUMNS)
    for label in labels:
        yield _line([label.at.isoformat() if column == "at" else getattr(label, column) for column in COLUMNS])


def write_csv(labels: Iterable[Correction], file: Path) -> int:
    """Write corrections to a file; returns how many. Raises SquallError when it cannot be written."""
    lines = list(as_csv(labels))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise SquallError(f"{file}: {error.strerror}; choose another file") from error
    return len(lines) - 1


def _line(cells: Iterable[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()
