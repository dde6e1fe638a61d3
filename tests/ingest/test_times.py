"""Publication times in every form that feeds use."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.times import parse_time

NINE = datetime(2025, 3, 3, 9, 15, tzinfo=UTC)

times = st.datetimes(min_value=datetime(1971, 1, 2), max_value=datetime(9000, 1, 1)).map(
    lambda time: time.replace(microsecond=0)
)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    "text",
    [
        "2025-03-03T09:15:00Z",
        "2025-03-03T09:15Z",
        "2025-03-03T09:15:00",
        "2025-03-03 09:15:00",
        "2025-03-03T10:15:00+01:00",
        "2025-03-03T04:15:00-0500",
        "2025-03-03T09:15:00.000000000Z",
        "2025-03-03 09:15:00 UTC",
        "2025-03-03T09:15:00 GMT",
        "20250303T091500Z",
        "  2025-03-03T09:15:00Z\n",
        "Mon, 03 Mar 2025 09:15:00 GMT",
        "Mon, 03 Mar 2025 09:15 GMT",
        "Mon, 3 Mar 2025 09:15:00 +0000",
        "3 Mar 2025 04:15:00 EST",
        "Mon, 03 Mar 2025 02:15:00 -0700",
        "Monday, 03-Mar-25 09:15:00 UTC",
        "mon, 03 mar 2025 09:15:00 z",
        "1740993300",
        "1740993300.0",
        "1740993300000",
        "1740993300000000",
        1740993300,
        1740993300.0,
        1740993300000,
        1740993300000000,
    ],
)
def test_every_form_of_a_time_is_read(text: str | float) -> None:
    assert parse_time(text) == NINE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-03-03", datetime(2025, 3, 3, tzinfo=UTC)),
        ("20250303", datetime(2025, 3, 3, tzinfo=UTC)),
        ("2025-03", datetime(2025, 3, 1, tzinfo=UTC)),
        ("Mon, 03 Mar 2025", None),
        ("1741010100000", datetime(2025, 3, 3, 13, 55, tzinfo=UTC)),  # milliseconds that look like a day of 1741
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_date_is_its_midnight_and_a_number_never_a_date(text: str, expected: datetime | None) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "yesterday",
        "0001-01-01T00:00:00",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-05:00",
        "99999-01-01T00:00:00Z",
        "Mon, 01 Jan 99999 00:00:00 GMT",
        "2025-13-45",
        "32 Mar 2025 09:15:00 GMT",
        "03/04/2025 09:15",
        "0",
        "1" * 40,
        0,
        -1,
        1e300,
        10**400,
        "1" + "0" * 400,
        "2025-03-03" + " " * 1_000_000 + "x",  # minutes, for a pattern that looks for a zone behind each space
        {"year": 2023},
        [2023],
        float("nan"),
        float("inf"),
        True,
        "\ud800",
        "٢٠٢٥-٠٣-٠٣",
    ],
)
def test_what_is_no_time_is_none(text: object) -> None:
    assert parse_time(text) is None


@given(times, zones)
def test_iso_times_in_any_zone_come_back_as_the_same_moment_in_utc(time: datetime, zone: timezone) -> None:
    stated = time.replace(tzinfo=zone)
    read = parse_time(stated.isoformat())
    assert read == stated
    assert read is not None
    assert read.tzinfo is UTC


@given(times.filter(lambda time: time.year < 2069), zones)
def test_rfc_822_times_come_back_as_the_same_moment(time: datetime, zone: timezone) -> None:
    stated = time.replace(tzinfo=zone)
    assert parse_time(format_datetime(stated)) == stated


@given(st.datetimes(datetime(2001, 9, 10), datetime(2100, 1, 1)), st.sampled_from([1, 1_000, 1_000_000]))
def test_epoch_numbers_of_any_unit_come_back_as_the_same_second(time: datetime, unit: int) -> None:
    second = int(time.replace(tzinfo=UTC).timestamp())
    expected = datetime.fromtimestamp(second, UTC)
    assert parse_time(second * unit) == expected
    assert parse_time(str(second * unit)) == expected


@given(st.text(max_size=40) | st.floats() | st.integers())
def test_nothing_crashes_and_every_time_is_aware(value: str | float) -> None:
    time = parse_time(value)
    assert time is None or (time.tzinfo is UTC and time.year >= 1971)
