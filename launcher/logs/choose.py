"""Which lines are wanted. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from launcher.logs.lines import LogLine
from trainer.protocol.progress import MARK


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What to show of a log; None is no restriction.

    Attributes:
        ranks: Global ranks.
        nodes: Indices of nodes, for their own lines and those of their ranks.
        attempt: Start of all ranks, from 1.
        pattern: Sought in the text.
        tail: So many lines at the end of what is there already.
    """

    ranks: frozenset[int] | None = None
    nodes: frozenset[int] | None = None
    attempt: int | None = None
    pattern: re.Pattern[str] | None = None
    tail: int | None = None

    def takes(self, line: LogLine) -> bool:
        """Say whether a line is wanted. Progress lines are for `status` and never are."""
        if line.text.startswith(MARK):
            return False
        tag = line.tag
        if self.ranks is not None and (tag is None or tag.rank not in self.ranks):
            return False
        if self.nodes is not None and line.node not in self.nodes:
            return False
        if self.attempt is not None and (tag is None or tag.attempt != self.attempt):
            return False
        return self.pattern is None or self.pattern.search(line.text.decode("utf-8", "replace")) is not None


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
