"""``squall replay`` and ``squall sources check`` as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

from bus.embedded import EmbeddedLog
from tests.ingest.conftest import FEEDS, Website, answer, articles_on

ROOT = Path(__file__).parents[2]


def squall(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder."""
    return subprocess.run(
        [sys.executable, "-c", "from squall.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_replay_prints_one_line_of_figures(tmp_path: Path) -> None:
    records = [{"source": "wire", "title": str(day), "date": f"2025-03-0{day}"} for day in range(1, 6)]
    lines = [json.dumps(record) for record in records]
    (tmp_path / "news.jsonl").write_text("\n".join([*lines, lines[0], "{broken"]))
    done = squall(tmp_path, "replay", "news.jsonl", "--from", "2025-03-02", "--to", "2025-03-05")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("7 read, 3 published, 0 duplicates, 1 refused, 3 outside --from and --to; ")
    assert "news.jsonl:7: refused: not a news record: " in done.stderr
    with EmbeddedLog(tmp_path / "var" / "log.db") as log:
        assert len(articles_on(log)) == 3


def test_replay_names_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = squall(tmp_path, "replay", "missing.jsonl")
    assert (done.returncode, done.stderr) == (1, "squall: missing.jsonl: cannot be read: No such file or directory\n")


def test_replay_refuses_an_impossible_speed_or_time(tmp_path: Path) -> None:
    for option, value, expected in (
        ("--speed", "0", "expected a number above 0, or max"),
        ("--from", "someday", "expected a time such as"),
    ):
        done = squall(tmp_path, "replay", "news.jsonl", option, value)
        assert done.returncode == 2
        assert expected in " ".join(done.stderr.replace("│", " ").split())


def test_sources_check_names_the_line_of_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "sources.yml").write_text("sources:\n  - name: wire\n    url: nowhere\n")
    done = squall(tmp_path, "sources", "check")
    assert done.returncode == 1
    assert done.stderr == (
        f"squall: {tmp_path / 'sources.yml'}:3: url: expected an address that starts with http:// or https://"
        " and holds no password, got 'nowhere'\n"
    )


def test_sources_check_with_fetch_says_what_each_source_answers(tmp_path: Path) -> None:
    site = Website()
    site.pages["/feed"] = answer((FEEDS / "rss.xml").read_bytes())
    (tmp_path / "sources.yml").write_text(
        f"sources:\n  - {{name: wire, url: '{site.url}/feed', allow_private: true}}\n"
        f"  - {{name: gone, url: '{site.url}/gone', allow_private: true}}\n"
    )
    assert squall(tmp_path, "sources", "check").stdout == f"{tmp_path / 'sources.yml'}: 2 sources, no mistakes\n"
    done = squall(tmp_path, "sources", "check", "--fetch")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1:] == [
        "wire: 2 items",
        f"gone: http_error: {site.url}/gone: HTTP 404",
        "1 could not be read",
    ]
    assert not (tmp_path / "var").exists()
    site.close()
