from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.times import (
    STAMP_BYTES,
    format_duration,
    format_milliseconds,
    format_stamp,
    format_unix_time,
    parse_duration,
    parse_instant,
    parse_unix_time,
)


@given(st.datetimes(datetime.datetime(1971, 1, 1), datetime.datetime(9000, 1, 1)))
def test_instants_are_what_datetime_makes_of_them(moment: datetime.datetime) -> None:
    moment = moment.replace(tzinfo=datetime.timezone.utc)
    micros = (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(
        microseconds=1
    )
    stamp = format_stamp(micros * 1000 + 7)
    assert len(stamp) == STAMP_BYTES
    assert parse_instant(stamp) == micros * 1000 + 7
    assert parse_instant(moment.isoformat().encode()) == micros * 1000
    assert parse_unix_time(format_unix_time(micros // 10**6)) == micros // 10**6  # a float has not all digits
    assert format_milliseconds(micros * 1000)[:23] == moment.isoformat(timespec="milliseconds")[:23]


@pytest.mark.parametrize(
    "text",
    ["", "2026-01-31", "2026-01-31T08:00:00", "2026-13-01T00:00:00Z", "2026-01-31T24:00:00Z", "né"],
)  # fmt: skip
def test_what_is_no_instant_is_none(text: str) -> None:
    assert parse_unix_time(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1.5h", 5400), ("7d", 604800), ("7", None), ("7w", None), ("-1s", None),
     ("1 h", None), ("", None), ("١s", None)],
)  # fmt: skip
def test_durations_have_a_unit(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


def test_durations_are_said_in_two_units() -> None:
    said = [format_duration(seconds) for seconds in (0.2, 89, 600, 7300)]
    assert said == ["1 s", "89 s", "10 min", "2 h 2 min"]
