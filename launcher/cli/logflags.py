"""The flags that choose lines of a log: texts -> values, and mistakes -> sentences."""

from __future__ import annotations

import re
import time

import click

from launcher.logs.log_filter import parse_numbers, parse_since

ALL = -1
"""Stands for every attempt."""


def read_numbers(text: str) -> frozenset[int]:
    """Read `0,3-5`."""
    try:
        return parse_numbers(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def read_since(text: str) -> int:
    """Read `5m` or a time as nanoseconds of Unix time."""
    try:
        return parse_since(text, now_s=time.time())
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def read_attempt(text: str) -> int:
    """Read a number from 1, or `all`."""
    if text == "all":
        return ALL
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise click.BadParameter(f"expected all or a number from 1, got {text!r}")
    return int(text)


def read_pattern(text: str) -> re.Pattern[str]:
    """Read a regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise click.BadParameter(
            f"expected a regular expression, got {text!r}: {error}; "
            "put a backslash before signs that stand for themselves"
        ) from error
