"""Reads a job's logs as they grow and prints what is wanted of them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

import click

from launcher.backends.base import LogRef
from launcher.cli.jobs import Found
from launcher.logs.choose import Wanted
from launcher.logs.lines import LineReader, LogLine
from launcher.logs.merge import HOLD_NS, Merger
from launcher.logs.present import Form, present


@dataclass(slots=True)
class LogView:
    """What was shown of a job's logs so far."""

    found: Found
    wanted: Wanted = field(default_factory=Wanted)
    form: Form = field(default_factory=Form)
    _merger: Merger = field(default_factory=Merger)
    _offsets: dict[LogRef, int] = field(default_factory=dict)
    _readers: dict[LogRef, LineReader] = field(default_factory=dict)
    _arrivals: deque[tuple[int, int]] = field(default_factory=deque)
    _held_until_ns: int = 0
    _began: bool = False

    def show_new(self) -> bool:
        """Read what is new, print what need not wait for other pods, and say whether anything was new."""
        news = self._read()
        lines = self._merger.take(until_ns=self._ripe_ns())
        if not self._began and (lines or news):
            self._began = True
            lines += self._merger.take(until_ns=None) if self.wanted.tail is not None else []
            self._print(lines, tail=self.wanted.tail)
        else:
            self._print(lines)
        return news

    def _ripe_ns(self) -> int:
        """Return the instant up to which lines have waited long enough.

        Counted from when they arrived here: a node's clock may be minutes ahead of ours.
        """
        now_ns = time.monotonic_ns()
        self._arrivals.append((now_ns, self._merger.newest_ns))
        while self._arrivals and self._arrivals[0][0] <= now_ns - HOLD_NS:
            self._held_until_ns = self._arrivals.popleft()[1]
        return self._held_until_ns

    def close(self) -> None:
        """Read once more and print all that is left."""
        self._read()
        lines = self._merger.take(until_ns=None)
        self._print(lines, tail=None if self._began else self.wanted.tail)

    def _read(self) -> bool:
        backend, handle = self.found.backend, self.found.handle
        news = False
        for ref in backend.list_logs(handle):  # by node and incarnation, so a pod's lines stay in order
            offset = self._offsets.get(ref, 0)
            data = backend.read_log(handle, ref, offset=offset)
            if data:
                news = True
                self._offsets[ref] = offset + len(data)
                reader = self._readers.setdefault(ref, LineReader(node=ref.node))
                self._merger.add(reader.take(data))
        return news

    def _print(self, lines: list[LogLine], *, tail: int | None = None) -> None:
        wanted = [line for line in lines if self.wanted.takes(line)]
        for line in wanted if tail is None else wanted[max(0, len(wanted) - tail) :]:
            click.echo(present(line, self.form), color=self.form.colour)
