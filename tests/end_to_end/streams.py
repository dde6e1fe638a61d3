"""The streams that end-to-end tests replay: a month of real news, and the demo's headlines."""

import json
import os
from pathlib import Path

from squall.demo import STREAM
from tests.services.ports import missing


def february() -> Path:
    """A month of real news, 3,000 articles; skips (in CI fails) where it is not."""
    data = os.environ.get("SQUALL_DATA")
    file = Path(data or "/nonexistent") / "stream" / "rss_2023-02.jsonl"
    if not file.is_file():
        missing("no stream/rss_2023-02.jsonl: set SQUALL_DATA to the folder of the data sets")
    return file


def rows(file: Path) -> list[dict[str, str]]:
    """The file's records."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


__all__ = ["STREAM", "february", "rows"]
