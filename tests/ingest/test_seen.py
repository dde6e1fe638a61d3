"""What has been published is remembered from the log itself."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.embedded import EmbeddedLog
from bus.log import Log, Record
from bus.topics import ARTICLES, DAY, news_topics
from ingest import seen as seen_module
from ingest.seen import IdSet, Seen, number_of

NOW = 1_750_000_000.0

numbers = st.integers(0, 2**64 - 1)


def write(log: Log, *keys: str) -> None:
    log.publish([Record(ARTICLES, key, b"{}") for key in keys])


def test_ids_written_by_anybody_are_seen_after_the_next_look(log: Log, tmp_path: Path) -> None:
    write(log, "00000000000000aa")
    seen = Seen(log)
    seen.catch_up(time.time())
    with EmbeddedLog(tmp_path / "log.db") as other:
        write(other, "00000000000000bb", "not hexadecimal")
    assert seen.contains(["00000000000000aa", "00000000000000bb"]) == [True, False]
    seen.catch_up(time.time())
    assert seen.contains(["00000000000000bb", "not hexadecimal", "another"]) == [True, True, False]
    assert len(seen) == 3


def test_own_records_are_noted_without_reading_them_back(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(log)
    seen.catch_up(time.time())
    keys = [f"{i:016x}" for i in range(100)]
    write(log, *keys)
    seen.published(keys, time.time())
    monkeypatch.setattr(log, "read", lambda *_: pytest.fail("read back"))
    seen.catch_up(time.time())
    assert seen.contains([*keys, "f" * 16]) == [True] * 100 + [False]


def test_when_others_wrote_meanwhile_everything_new_is_read(log: Log) -> None:
    seen = Seen(log)
    seen.catch_up(time.time())
    write(log, "00000000000000aa")
    write(log, "00000000000000bb")
    seen.published(["00000000000000aa"], time.time())
    assert seen.contains(["00000000000000aa", "00000000000000bb"]) == [False, False]
    seen.catch_up(time.time())
    assert seen.contains(["00000000000000aa", "00000000000000bb"]) == [True, True]


def test_a_topic_that_was_deleted_and_created_again_is_forgotten(log: Log) -> None:
    seen = Seen(log)
    write(log, "00000000000000aa")
    seen.catch_up(time.time())
    log.delete_topic(ARTICLES)
    log.create_topics(news_topics())
    seen.catch_up(time.time())
    assert seen.contains(["00000000000000aa"]) == [False]


def test_ids_are_forgotten_when_their_day_is_older_than_the_log_keeps() -> None:
    ids = IdSet(days=7)
    for age in range(10):
        ids.add([age], NOW - age * DAY)
    ids.forget(NOW)
    assert ids.contains(list(range(10))) == [True] * 8 + [False] * 2


def test_many_ids_take_8_bytes_each(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = IdSet(days=7)
    rng = np.random.default_rng(1)
    wanted = [int(number) for number in rng.integers(0, 2**64, 300_000, np.uint64)]
    for start in range(0, len(wanted), 10_000):
        ids.add(wanted[start : start + 10_000], NOW)
    (held,) = ids._sorted.values()
    assert held.nbytes == 8 * len(held) >= 8 * (300_000 - seen_module.MERGE)
    assert all(ids.contains(wanted[::1_000]))


@given(st.lists(st.tuples(numbers, st.integers(0, 3))), st.lists(numbers, max_size=20))
def test_the_set_agrees_with_a_python_set(added: list[tuple[int, int]], others: list[int]) -> None:
    ids = IdSet(days=7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen_module, "MERGE", 3)
        for number, day in added:
            ids.add([number], NOW + day * DAY)
    known = {number for number, _ in added}
    asked = [*known, *others]
    assert ids.contains(asked) == [number in known for number in asked]


def test_an_id_is_its_own_number_and_any_other_key_gets_one() -> None:
    assert number_of("00000000000000ff") == 255
    assert 0 <= number_of("a key that is longer than sixteen") < 2**64
    assert number_of("sixteen letters!") != number_of("sixteen letters?")
