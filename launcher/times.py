"""Instants and durations as text: RFC 3339 as Kubernetes, container engines and our own logs write it. Pure.

And the two lengths of time that several rooms must agree on.

Instants are read by an own pattern because `datetime.fromisoformat` of Python 3.10 knows neither `Z` nor
nanoseconds, which both are what the kubelet writes, and because it raises for what somebody else wrote.
"""

from __future__ import annotations

import calendar
import datetime
import re

from trainer.protocol.durations import DURATION, format_duration, parse_duration

__all__ = [
    "DURATION", "INSTANT", "SETTLE_S", "STALE_S", "STAMP_BYTES", "format_duration", "format_milliseconds",
    "format_stamp", "format_unix_time", "parse_duration", "parse_instant", "parse_unix_time",
]  # fmt: skip

SETTLE_S = 30.0
"""An API server that has just come back knows neither roles nor custom resources for a moment."""
STALE_S = 3600.0
"""After so long nobody goes on with a submit that was interrupted, and what it has left is removed."""
STAMP_BYTES = 30
"""Length of what `format_stamp` writes."""
INSTANT = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:Z|([+-])(\d\d):(\d\d))"
)
"""Year to second are groups 1 to 6, a fraction is 7, and a zone other than Z 8 to 10."""


def parse_instant(text: bytes) -> int | None:
    """Read an RFC 3339 time of any zone as nanoseconds of Unix time; None where it is none."""
    match = INSTANT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    if not (1 < year < 9999 and 1 <= month <= 12 and 1 <= day <= 31):
        return None
    if hour > 23 or minute > 59 or second > 60:
        return None
    seconds = calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0))
    if match[8]:
        offset = int(match[9]) * 3600 + int(match[10]) * 60
        seconds -= offset if match[8] == b"+" else -offset
    return seconds * 1_000_000_000 + int((match[7] or b"0").ljust(9, b"0"))


def parse_unix_time(text: str) -> float | None:
    """Read an RFC 3339 time as Unix time in seconds; None where it is none."""
    instant_ns = parse_instant(text.encode("utf-8", "replace"))
    if instant_ns is None:
        return None
    seconds, nanoseconds = divmod(instant_ns, 1_000_000_000)  # as one number they are beyond a float's digits
    return seconds + nanoseconds / 1e9


def format_stamp(instant_ns: int) -> bytes:
    """Write nanoseconds of Unix time as RFC 3339 in UTC with nine digits: `STAMP_BYTES` bytes."""
    seconds, nanoseconds = divmod(instant_ns, 1_000_000_000)
    return f"{_to_second(seconds)}.{nanoseconds:09d}Z".encode()


def format_milliseconds(instant_ns: int) -> str:
    """Write nanoseconds of Unix time as RFC 3339 in UTC with three digits."""
    return f"{_to_second(instant_ns // 1_000_000_000)}.{instant_ns // 1_000_000 % 1000:03d}Z"


def format_unix_time(unix_s: float) -> str:
    """Write Unix time as RFC 3339 in UTC, such as `2026-01-31T08:00:00Z`."""
    return f"{_to_second(int(unix_s // 1))}Z"


def _to_second(seconds: int) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc):%Y-%m-%dT%H:%M:%S}"
