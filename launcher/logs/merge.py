"""Several pods' lines -> one stream by time, each pod's own order kept whatever its clock says."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from launcher.logs.lines import LogLine

HOLD_NS = 300_000_000
"""How long a line waits for earlier ones of other pods."""


class Merger:
    """Takes each pod's lines in their order and gives all pods' lines back, each exactly once."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, LogLine]] = []
        self._last_ns: dict[int, int] = {}
        self._count = 0
        self.newest_ns = 0
        """Latest instant of all lines that were taken."""

    def add(self, lines: Iterable[LogLine]) -> None:
        """Take lines; those of one node must come in the order in which they were written."""
        for line in lines:
            # A clock that was set back must not turn a pod's own order around.
            instant_ns = max(line.instant_ns, self._last_ns.get(line.node, line.instant_ns))
            self._last_ns[line.node] = instant_ns
            self.newest_ns = max(self.newest_ns, instant_ns)
            heapq.heappush(self._heap, (instant_ns, self._count, line))
            self._count += 1

    def take(self, *, until_ns: int | None) -> list[LogLine]:
        """Return the lines up to an instant in their order; None returns all that are left."""
        out = []
        while self._heap and (until_ns is None or self._heap[0][0] <= until_ns):
            out.append(heapq.heappop(self._heap)[2])
        return out
