"""Lengths of time as people write them in a config, and read them."""

from __future__ import annotations

import re

DURATION = r"([0-9]+(?:\.[0-9]+)?)(s|m|h|d)"
"""A pattern for the whole text."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> float | None:
    """Read `90s`, `10m`, `1.5h` or `7d` as seconds; None where it is of another form."""
    match = re.fullmatch(DURATION, text)
    return None if match is None else float(match[1]) * _SECONDS[match[2]]


def format_duration(seconds: float) -> str:
    """Write a duration for people in its two largest units: `40 s`, `12 min`, `3 h 5 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
