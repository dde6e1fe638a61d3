"""When a source is looked at again."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.crawler.pacing import LONGEST_BACKOFF, LONGEST_RETRY_AFTER, next_look, retry_after_seconds

NOW = datetime(2025, 3, 3, 12, tzinfo=UTC)

intervals = st.floats(1, 7 * 86_400)
spreads = st.floats(-1, 1)


@given(intervals, st.integers(0, 1_000), st.floats(0, 1e9), spreads)
def test_a_look_is_never_far_before_the_interval_nor_unboundedly_late(
    interval: float, failures: int, retry_after: float, spread: float
) -> None:
    wait = next_look(interval, failures, retry_after, spread)
    assert 0.9 * interval <= wait * (1 + 1e-9)
    assert wait <= max(1.1 * max(interval, LONGEST_BACKOFF), LONGEST_RETRY_AFTER) * (1 + 1e-9)


def test_failures_double_the_wait_up_to_half_an_hour() -> None:
    waits = [next_look(300, failures, 0, 0) for failures in range(5)]
    assert waits == [300, 600, 1_200, 1_800, 1_800]


def test_a_source_that_is_looked_at_daily_is_not_looked_at_more_often_when_it_fails() -> None:
    assert next_look(86_400, 5, 0, 0) == 86_400


def test_what_the_server_asks_for_counts_when_it_is_longer() -> None:
    assert next_look(300, 1, 1_000, 0) == 1_000
    assert next_look(300, 1, 10, 0) == 600
    assert next_look(300, 1, 1e6, 0) == LONGEST_RETRY_AFTER


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 5 ", 5),
        ("Mon, 03 Mar 2025 12:01:00 GMT", 60),
        ("Mon, 03 Mar 2025 11:00:00 GMT", 0),
        ("Mon, 03 Mar 2025 12:01:00", 0),
        ("soon", 0),
        ("", 0),
        ("-5", 0),
        ("²", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float) -> None:
    assert retry_after_seconds(header, NOW) == seconds
