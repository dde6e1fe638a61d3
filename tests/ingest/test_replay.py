"""Replaying files: fields, order, pace, bad lines."""

import itertools
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bus.errors import ConfigError, LogFull
from bus.log import Log
from ingest.replay import ReplayReport, replay
from tests.ingest.conftest import articles_on, dead_on
from tests.ingest.test_publisher import Failing

START = datetime(2025, 3, 3, 9, tzinfo=UTC)


def lines(*records: Any) -> bytes:
    return b"".join((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in records)


def record(title: str, seconds: float = 0.0, **fields: Any) -> dict[str, Any]:
    published = (START + timedelta(seconds=seconds)).isoformat()
    return {"source": "wire", "title": title, "published_at": published, **fields}


def titles(log: Log) -> list[str]:
    """In the order of their event time, since keys spread over partitions."""
    return [article.title for article in sorted(articles_on(log), key=lambda article: article.published_at)]


def write(path: Path, *records: Any) -> Path:
    path.write_bytes(lines(*records))
    return path


def counts(report: ReplayReport) -> tuple[int, int, int, int]:
    return report.read, report.published, report.duplicates, report.refused


def test_fields_have_the_names_that_people_use(log: Log, tmp_path: Path) -> None:
    file = write(
        tmp_path / "news.jsonl",
        record("One", summary="s", url="https://a.example/1?utm_source=x", language="en-US", body="b", extra=[1]),
        {"publisher": "p", "headline": "Two", "description": "d", "link": "https://a.example/2", "date": 1740992500},
        {"source": "q", "title": "", "headline": "Three", "abstract": "a", "text": "t", "timestamp": "2025-03-03"},
    )
    assert counts(replay(log, [file])) == (3, 3, 0, 0)
    by_title = {article.title: article for article in articles_on(log)}
    assert by_title["One"].url == "https://a.example/1"
    assert (by_title["One"].summary, by_title["One"].body, by_title["One"].language) == ("s", "b", "en-US")
    assert (by_title["Two"].source, by_title["Two"].summary) == ("p", "d")
    assert by_title["Two"].published_at == datetime.fromtimestamp(1740992500, UTC)
    assert (by_title["Three"].summary, by_title["Three"].body) == ("a", "t")


def test_csv_has_a_header_and_the_same_fields(log: Log, tmp_path: Path) -> None:
    file = tmp_path / "news.csv"
    file.write_bytes(
        b"\xef\xbb\xbfSource,Title,published_at,url,note\r\n"
        b'wire,"Two lines,\nwith a comma",2025-03-03T09:00:00Z,https://a.example/1,x\r\n'
        b"\r\n"
        b"wire,Latin \xe9t\xe9,1740992500,,\r\n"
        b"wire,too few\r\n"
        b",No source,2025-03-03,,\r\n"
    )
    assert counts(replay(log, [file])) == (4, 2, 0, 2)
    assert titles(log) == ["Two lines, with a comma", "Latin \ufffdt\ufffd"]
    assert [(letter.origin, letter.error) for letter in dead_on(log)] == [
        (f"{file}:6", "2 columns where the header has 5"),
        (f"{file}:7", "the source must have 1 to 200 characters, got ''"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "{}:1: expected a header with a column 'title', got nothing"),
        ("a.csv", b"text,label\nx,0\n", "{}:1: expected a header with a column 'title', got text, label"),
        ("a.jsonl", None, "{}: cannot be read: No such file or directory"),
        ("a.csv", None, "{}: cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_replayed_says_why(
    log: Log, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        replay(log, [path])
    assert str(error.value) == message.format(path)


BAD = {
    b'{"source": "wire", "title": "cut': "not a news record: Input data was truncated",
    b"[1, 2]": "not a news record: Expected `object`, got `array`",
    b"no JSON at all": "not a news record: JSON is malformed: invalid character (byte 4)",
    b'{"source": "wire", "title": 7}': "not a news record: Expected `str | null`, got `int` - at `$.title`",
    b'{"source": "wire"}': "the title is empty",
    b'{"title": "No source"}': "the source must have 1 to 200 characters, got ''",
    b'{"source": "wire", "title": "' + b"x" * 100_000 + b'"}': (
        "the title has 100000 characters: no headline has more than 2000"
    ),
    b'{"source": "wire", "title": "Bad \xff byte"}': "not a news record: ",
    b"[" * 100_000: "not a news record: ",
}


def test_a_bad_line_is_a_dead_letter_and_the_rest_goes_on(log: Log, tmp_path: Path) -> None:
    bad = list(BAD)
    good = [record(f"good {i}", i) for i in range(len(bad) + 1)]
    mixed = [good[0]] + [each for pair in zip(bad, good[1:], strict=True) for each in pair]
    file = write(tmp_path / "news.jsonl", *mixed)
    report = replay(log, [file])
    assert counts(report) == (len(mixed), len(good), 0, len(bad))
    assert titles(log) == [each["title"] for each in good]
    for number, (letter, value) in enumerate(zip(dead_on(log), bad, strict=True)):
        assert letter.origin == f"{file}:{2 * number + 2}"
        assert letter.stage == "ingest"
        assert letter.error.startswith(BAD[value])
        assert value.startswith(letter.value)


def test_lone_surrogates_are_removed(log: Log, tmp_path: Path) -> None:
    file = write(
        tmp_path / "news.jsonl", b'{"source": "wire", "title": "half \\ud83d an emoji", "published_at": "2025-03-03"}'
    )
    assert counts(replay(log, [file])) == (1, 1, 0, 0)
    assert titles(log) == ["half an emoji"]


def test_an_endless_line_is_refused_and_skipped(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.replay.MAX_LINE", 1_000)
    file = write(tmp_path / "news.jsonl", record("before"), b"x" * 5_000, record("after", 1))
    assert counts(replay(log, [file])) == (3, 2, 0, 1)
    assert [(letter.origin, letter.error) for letter in dead_on(log)] == [
        (f"{file}:2", "a line of more than 1000 bytes")
    ]


def test_files_are_merged_by_time_and_repeats_published_once(log: Log, tmp_path: Path) -> None:
    seen: list[str] = []

    class Watched(Failing):
        def publish(self, records: Any) -> None:
            seen.extend(json.loads(each.value)["title"] for each in records)
            super().publish(records)

    one = write(
        tmp_path / "one.jsonl", record("a", 0), record("c", 2), record("undated", 0, published_at=None), record("f", 5)
    )
    two = write(tmp_path / "two.jsonl", record("b", 1), record("d", 3), record("a", 4))
    assert counts(replay(Watched(log, []), [one, two])) == (7, 6, 1, 0)  # type: ignore[arg-type]
    assert seen == ["a", "b", "c", "undated", "d", "f"]
    assert counts(replay(log, [one])) == (4, 0, 4, 0)


def test_since_and_until_cut_a_half_open_piece_out(log: Log, tmp_path: Path) -> None:
    file = write(tmp_path / "news.jsonl", *(record(str(i), i) for i in range(10)))
    report = replay(log, [file], since=START + timedelta(seconds=3), until=START + timedelta(seconds=6))
    assert titles(log) == ["3", "4", "5"]
    assert (report.read, report.skipped) == (10, 7)
    assert "7 outside --from and --to" in str(report)


def test_shift_moves_every_date_and_the_future_is_clamped(log: Log, tmp_path: Path) -> None:
    file = write(tmp_path / "news.jsonl", record("a", 0), record("b", 60), record("undated", published_at=""))
    shift = datetime.now(UTC) - START - timedelta(seconds=30)
    replay(log, [file], shift=shift)
    a, b, undated = (next(each for each in articles_on(log) if each.title == title) for title in ("a", "b", "undated"))
    assert a.published_at == START + shift
    assert b.published_at == b.fetched_at
    assert undated.published_at == undated.fetched_at


def test_speed_keeps_the_gaps(log: Log, tmp_path: Path) -> None:
    file = write(tmp_path / "news.jsonl", *(record(str(i), 10 * i) for i in range(4)))
    report = replay(log, [file], speed=50)
    assert 0.6 <= report.seconds < 2
    stamps = sorted(entry.timestamp for entry in log.read_all("news.articles"))
    assert all(0.15 < later - earlier < 0.6 for earlier, later in itertools.pairwise(stamps))


def test_history_is_flat_out_and_the_rest_paced(log: Log, tmp_path: Path) -> None:
    history = [record(f"old {i}", -86_400 + i) for i in range(500)]
    file = write(tmp_path / "news.jsonl", *history, record("first", 10), record("second", 20))
    report = replay(log, [file], speed=50, paced_from=START)
    assert 0.4 <= report.seconds < 2
    by_title = {json.loads(entry.value)["title"]: entry.timestamp for entry in log.read_all("news.articles")}
    assert by_title["first"] - by_title["old 499"] > 0.15
    assert by_title["second"] - by_title["first"] > 0.15


def test_a_stopped_replay_ends_soon_and_publishes_what_it_has_read(log: Log, tmp_path: Path) -> None:
    file = write(tmp_path / "news.jsonl", record("a"), record("b", 3_000))
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    start = time.monotonic()
    report = replay(log, [file], speed=1, stop=stop)
    assert time.monotonic() - start < 2
    assert counts(report) == (1, 1, 0, 0)


def test_a_full_log_is_waited_for_and_nothing_is_lost(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.publisher.FIRST_WAIT", 0.01)
    file = write(tmp_path / "news.jsonl", *(record(str(i), i) for i in range(2_500)))
    full = Failing(log, [LogFull("disk full")] * 3)
    assert counts(replay(full, [file])) == (2_500, 2_500, 0, 0)  # type: ignore[arg-type]
    assert len(articles_on(log)) == 2_500


@pytest.mark.parametrize(("length", "refused"), [(1_000, 0), (1_001, 1), (1_002, 1)])
def test_a_line_may_be_as_long_as_the_limit_and_the_next_is_read_in_any_case(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, refused: int
) -> None:
    monkeypatch.setattr("ingest.replay.MAX_LINE", 1_000)
    long = json.dumps(record("long")).encode().ljust(length)
    file = write(tmp_path / "long.jsonl", record("before"), long, record("after"))
    assert counts(replay(log, [file])) == (3, 3 - refused, 0, refused)
    assert {"before", "after"} <= set(titles(log))


def test_a_date_that_no_clock_can_hold_costs_no_other_its_record(log: Log, tmp_path: Path) -> None:
    file = tmp_path / "dates.jsonl"
    dates = ["1" + "0" * 400, "1e400", '{"year": 2023}', "[2023]", "true"]
    file.write_text("".join(f'{{"title": "{i}", "source": "s", "published_at": {d}}}\n' for i, d in enumerate(dates)))
    report = replay(log, [file])
    assert (report.published, report.refused) == (5, 0)
    assert all(article.published_at == article.fetched_at for article in articles_on(log))


@pytest.mark.parametrize("days", [1, -20_000, -4_000_000])
def test_a_date_that_a_shift_leaves_in_the_future_or_moves_off_the_calendar_is_the_fetch_time(
    log: Log, tmp_path: Path, days: int
) -> None:
    file = write(tmp_path / "news.jsonl", record("late", published_at="9999-12-31"), record("good"))
    assert counts(replay(log, [file], shift=timedelta(days=days))) == (2, 2, 0, 0)
    (late,) = (article for article in articles_on(log) if article.title == "late")
    assert late.published_at == late.fetched_at


def test_a_refused_csv_row_is_kept_as_it_stands_in_the_file(log: Log, tmp_path: Path) -> None:
    rows = [b'wire,"a ""quoted""\r\ntitle",too,many', b"wire,caf\xe9", b"wire,null\x00"]
    file = tmp_path / "news.csv"
    file.write_bytes(b"\xef\xbb\xbfsource,title,date\r\n" + b"\r\n".join(rows))
    assert counts(replay(log, [file])) == (3, 0, 0, 3)
    assert [letter.value for letter in dead_on(log)] == rows
