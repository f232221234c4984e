"""The flags that choose lines of a log: texts -> values, and mistakes -> sentences."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

import click

from launcher.cli.jobs import Found
from launcher.errors import Issue, LaunchError, UsageError
from launcher.logs.log_filter import parse_numbers, parse_since
from trainer.protocol.codec import FormatError
from trainer.protocol.nodefile import NodeFile, parse_node_file

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


def check_writers(found: Found, *, ranks: Iterable[int], nodes: Iterable[int]) -> None:
    """Refuse ranks and nodes that the job does not have, where its manifest says how many it has.

    Raises:
        UsageError: Names all of them.
    """
    node_file = _read_node_file(found) if ranks or nodes else None
    if node_file is None:
        return
    size = f"{node_file.nodes} node{'s' * (node_file.nodes > 1)} × {node_file.procs_per_node}"
    problems: list[Issue] = []
    for flag, given, count in (("rank", ranks, node_file.world_size), ("node", nodes, node_file.nodes)):
        wrong = sorted(number for number in given if number >= count)
        if wrong:
            shown = ", ".join(map(str, wrong[:5])) + (" …" if len(wrong) > 5 else "")
            expected = f"{flag}s from 0 to {count - 1}" if count > 1 else f"{flag} 0, the only one"
            problems.append(Issue(where=f"--{flag}", expected=f"{expected} ({size})", got=shown))
    if problems:
        raise UsageError(problems=problems)


def _read_node_file(found: Found) -> NodeFile | None:
    from launcher.render.manifest import parse_manifest  # YAML

    try:
        text = found.store.read_manifest(found.handle.job)
        return parse_node_file(parse_manifest(text).config_map["data"]["node.json"])
    except (LaunchError, FormatError, OSError, KeyError, TypeError):  # of another release, or cut short
        return None
