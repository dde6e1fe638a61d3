"""The command line as a user meets it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bus.embedded import EmbeddedLog
from bus.log import Record
from bus.messages import DeadLetter, encode, utcnow
from bus.topics import ARTICLES, DEAD, news_topics
from squall.cli import app

ROOT = Path(__file__).parents[2]


def squall(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SQUALL_")}
    return subprocess.run(
        [sys.executable, "-m", "squall", *arguments],
        cwd=folder,
        env=clean | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_init_writes_three_commented_files_that_are_valid(tmp_path: Path) -> None:
    done = squall(tmp_path, "init", "desk")
    assert done.returncode == 0, done.stderr
    desk = tmp_path / "desk"
    assert sorted(path.name for path in desk.iterdir()) == ["sources.yml", "squall.toml", "watchlist.yml"]
    assert all("#" in path.read_text() for path in desk.iterdir())
    assert squall(desk, "sources", "check").returncode == 0
    doctor = squall(desk, "doctor")
    assert "ok       watchlist" in doctor.stdout
    assert doctor.returncode == 0, doctor.stdout


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "squall.toml").write_text("mine")
    done = squall(tmp_path, "init", ".")
    assert (done.returncode, (tmp_path / "squall.toml").read_text()) == (1, "mine")
    assert "exists already and was left alone" in done.stderr
    assert not (tmp_path / "sources.yml").exists()


def test_doctor_says_what_is_missing_and_what_is_broken(tmp_path: Path) -> None:
    (tmp_path / "watchlist.yml").write_text("entities:\n  - nam: Shell\n")
    done = squall(tmp_path, "doctor", SQUALL_MODEL="no/such/model")
    assert done.returncode == 1
    lines = {line[9:21].strip(): line for line in done.stdout.splitlines()}
    assert lines["watchlist"].startswith("BROKEN")
    assert "watchlist.yml:2: unknown field 'nam'" in lines["watchlist"]
    assert lines["model"].startswith("BROKEN")
    assert "no/such/model" in lines["model"]
    assert lines["slack"].startswith("missing")
    assert lines["log"].startswith("ok")
    assert lines["worker"].startswith("quiet")


def test_a_corrupt_log_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "log.db").write_bytes(b"not a database at all" * 400)
    done = squall(tmp_path, "worker")
    assert done.returncode == 1
    assert re.fullmatch(r"squall: .*log\.db: file is not a database; restore it .*\n", done.stderr)


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    done = squall(tmp_path, "worker", SQUALL_MODEL="nowhere", SQUALL_METRICS_PORT="0")
    assert done.returncode == 1
    assert "nowhere" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_one_line_that_names_the_setting(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = squall(tmp_path, "up", SQUALL_PAGE_PORT=str(taken.getsockname()[1]), SQUALL_METRICS_PORT="0")
    assert done.returncode == 1
    assert "page_port: 127.0.0.1:" in done.stderr.splitlines()[-1]


def test_an_unknown_setting_is_one_line(tmp_path: Path) -> None:
    done = squall(tmp_path, "--set", "colour=red", "doctor")
    assert (done.returncode, done.stdout) == (1, "")
    assert "colour" in done.stderr


def test_dead_letters_are_listed_shown_requeued_and_dropped(tmp_path: Path) -> None:
    with EmbeddedLog(tmp_path / "var" / "log.db") as log:
        log.create_topics(news_topics())
        letter = DeadLetter(
            stage="worker", error="not an Article", value=b"{x", at=utcnow(), topic=ARTICLES, partition=1, offset=7
        )
        log.publish([Record(DEAD, "key", encode(letter))])
        listed = squall(tmp_path, "dead", "list").stdout
        assert "worker   news.articles[1]@7: not an Article" in listed
        assert "{x" in squall(tmp_path, "dead", "show", "0").stdout
        mended = tmp_path / "mended.json"
        mended.write_bytes(b"{mended}")
        assert squall(tmp_path, "dead", "requeue", "0", "--value", str(mended)).returncode == 0
        assert [(entry.key, entry.value) for entry in log.read_all(ARTICLES)] == [("key", b"{mended}")]
        assert squall(tmp_path, "dead", "list").stdout == "0 dead letters\n", "what was requeued is settled"
        assert "requeued  " in squall(tmp_path, "dead", "list", "--all").stdout
        assert "no dead letter 5" in squall(tmp_path, "dead", "show", "5").stderr
        missing = squall(tmp_path, "dead", "requeue", "0", "--value", "none.json")
        assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
        log.publish([Record(DEAD, "bad", b"{"), Record(DEAD, "cut", encode(msgspec.structs.replace(letter, length=9)))])
        listed = squall(tmp_path, "dead", "list").stdout
        assert "2  unreadable: " in listed
        assert "2 dead letters" in listed
        assert "unreadable" in squall(tmp_path, "dead", "show", "2").stdout
        cut = squall(tmp_path, "dead", "requeue", "3")
        assert "dead letter 3 holds the first 2 of 9 bytes" in cut.stderr
        assert "dead letter 2: unreadable" in squall(tmp_path, "dead", "requeue", "2").stderr
        assert "off the list" in squall(tmp_path, "dead", "drop", "2").stdout
        assert "1 dead letters" in squall(tmp_path, "dead", "list").stdout
        assert "no dead letter 1" in squall(tmp_path, "dead", "drop", "1").stderr, "a note is no letter"


def test_an_unknown_log_level_is_one_line(tmp_path: Path) -> None:
    done = squall(tmp_path, "topics", SQUALL_LOG_LEVEL="verbose")
    assert (done.returncode, done.stderr) == (
        1,
        "squall: SQUALL_LOG_LEVEL: expected DEBUG, INFO, WARNING or ERROR, got 'VERBOSE'\n",
    )


def test_topics_are_shown_with_their_lag(tmp_path: Path) -> None:
    with EmbeddedLog(tmp_path / "var" / "log.db") as log:
        log.create_topics(news_topics())
        log.publish([Record(ARTICLES, "key", b"{}")])
    assert re.search(r"news\.articles +4 partitions +1 written +worker lags 1", squall(tmp_path, "topics").stdout)


def test_topics_are_compared_with_the_settings_and_changed_only_on_demand(tmp_path: Path) -> None:
    with EmbeddedLog(tmp_path / "var" / "log.db") as log:
        log.create_topics(news_topics(partitions=2))
    wanted = ("--set", "retention_days=3", "--set", "partitions=2")
    for _ in range(2):
        shown = squall(tmp_path, *wanted, "topics", "apply")
        assert "news.articles   retention: 604800 s -> 259200 s" in shown.stdout
        assert "3 changes; --yes makes them" in shown.stdout
    assert "3 changes made" in squall(tmp_path, *wanted, "topics", "apply", "--yes").stdout
    assert "as the settings want them" in squall(tmp_path, *wanted, "topics", "apply").stdout

    refused = squall(tmp_path, "--set", "retention_days=3", "topics", "apply", "--yes")
    assert refused.returncode == 1
    assert "news.trends     partitions: 2 -> 4  (not possible: the state of each series" in refused.stdout


def commands() -> list[str]:
    """Every command of the command line, groups with their commands."""
    from typer.main import get_command

    top = get_command(app)
    found: list[str] = []
    for name, command in top.commands.items():  # type: ignore[attr-defined]
        found += [f"{name} {inner}" for inner in getattr(command, "commands", {})] or [name]
    return found


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_the_docs(command: str) -> None:
    assert f"squall {command}" in (ROOT / "docs" / "commands.md").read_text()
