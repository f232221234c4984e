"""Which lines are wanted. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from launcher.logs.lines import LogLine
from launcher.times import parse_duration, parse_instant
from trainer.protocol.progress import MARK


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFilter:
    """What to show of a log; None is no restriction.

    Attributes:
        ranks: Global ranks.
        nodes: Indices of nodes, for their own lines and those of their ranks.
        attempt: Start of all ranks, from 1; lines without a tag belong to none.
        from_attempt: This start and later ones, with lines that belong to none.
        since_ns: Unix time of the first.
        pattern: Sought in the text.
        tail: So many lines at the end of what is there already.
    """

    ranks: frozenset[int] | None = None
    nodes: frozenset[int] | None = None
    attempt: int | None = None
    from_attempt: int = 0
    since_ns: int = 0
    pattern: re.Pattern[str] | None = None
    tail: int | None = None

    def takes(self, line: LogLine) -> bool:
        """Say whether a line is wanted. Nodes' progress lines are for `status` and never are."""
        if line.text.startswith(MARK) and (line.tag is None or line.tag.rank is None):
            return False
        if line.instant_ns < self.since_ns or not self._takes_writer(line):
            return False
        return self.pattern is None or self.pattern.search(line.text.decode("utf-8", "replace")) is not None

    def _takes_writer(self, line: LogLine) -> bool:
        tag = line.tag
        if self.ranks is not None and (tag is None or tag.rank not in self.ranks):
            return False
        if self.nodes is not None and line.node not in self.nodes:
            return False
        if self.attempt is not None and (tag is None or tag.attempt != self.attempt):
            return False
        return tag is None or tag.attempt == 0 or tag.attempt >= self.from_attempt


def parse_numbers(text: str) -> frozenset[int]:
    """Read `0,3-5` as {0, 3, 4, 5}.

    Raises:
        ValueError: It is of another form.
    """
    return frozenset(_expand(text.split(",")))


def _expand(parts: Iterable[str]) -> Iterable[int]:
    for part in parts:
        match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part.strip(), re.ASCII)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"expected numbers such as 0,3-5, got {part!r}")
        yield from range(int(match[1]), int(match[2] or match[1]) + 1)


def parse_since(text: str, *, now_s: float) -> int:
    """Read `5m`, `90s`, `2h`, `1d` (before now) or an RFC 3339 time as nanoseconds of Unix time.

    Raises:
        ValueError: It is of another form.
    """
    before_s = parse_duration(text)
    if before_s is not None:
        return int(max(0.0, now_s - before_s) * 1e9)
    instant_ns = parse_instant(text.encode("utf-8", "replace"))
    if instant_ns is None:
        raise ValueError(
            f"expected a duration such as 5m or a time such as 2026-01-31T08:00:00Z, got {text!r}"
        )
    return instant_ns
