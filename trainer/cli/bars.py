"""A bar on the last line of a terminal, which steps aside for the lines that a command writes meanwhile.

Not click's, which cannot step aside: training writes log lines while its bar stands there. Not a library's:
it is one line, rewritten, and would cost every start of a rank its import. It goes to standard error, has no
colour, so that NO_COLOR has nothing to switch off, and is there only where standard error is a terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from trainer.progress import NO_PROGRESS, Progress

MAX_COLUMNS = 100
_FEWEST_CELLS = 10
_PAUSE_S = 0.1
"""Between two drawings: a terminal over a slow line keeps up with ten a second."""
_SHOWN_AFTER_S = 0.3
"""What is done sooner has no bar."""
_ERASE = "\r\x1b[K"


class TerminalBar(Progress):
    """Draws a bar, a count and the time that is left."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._label, self._total, self._done = "", 0, 0
        self._began_s = self._drawn_s = clock()
        self._is_drawn = False

    def begin(self, label: str, total: int) -> None:
        """Show a bar of `total` parts from now on."""
        self.clear()
        self._label, self._total, self._done = label, total, 0
        self._began_s = self._clock()
        self._drawn_s = self._began_s + _SHOWN_AFTER_S - _PAUSE_S

    def advance(self, count: int = 1) -> None:
        """Draw it anew, unless that was done a moment ago."""
        self._done = min(self._total, self._done + count)
        now_s = self._clock()
        if self._done >= self._total:
            self.clear()
        elif now_s - self._drawn_s >= _PAUSE_S:
            self._drawn_s, self._is_drawn = now_s, True
            columns = shutil.get_terminal_size().columns
            self._stream.write(_ERASE + self._text(now_s - self._began_s, columns))
            self._stream.flush()

    def clear(self) -> None:
        """Leave the line empty."""
        if self._is_drawn:
            self._is_drawn = False
            self._stream.write(_ERASE)
            self._stream.flush()

    def _text(self, passed_s: float, columns: int) -> str:
        left_s = passed_s * (self._total - self._done) / max(1, self._done)
        hours, rest = divmod(round(left_s), 3600)
        tail = f" {self._done}/{self._total}, {hours}:{rest // 60:02d}:{rest % 60:02d} left"
        room = min(columns, MAX_COLUMNS) - 1  # the last column would wrap the line on some terminals
        cells = room - len(self._label) - len(tail) - 3
        if cells < _FEWEST_CELLS:
            return f"{self._label}{tail}"[:room]
        full = cells * self._done // self._total
        return f"{self._label} [{'#' * full}{'-' * (cells - full)}]{tail}"


@contextmanager
def progress(*, wanted: bool = True) -> Iterator[Progress]:
    """Make a bar on this process's terminal, or what shows nothing, and leave no bar behind.

    Args:
        wanted: False on ranks beside the first, and where answers go to the same terminal.
    """
    if not wanted or not can_draw(sys.stderr):
        yield NO_PROGRESS
        return
    bar = TerminalBar(sys.stderr)
    try:
        yield bar
    finally:
        bar.clear()


def can_draw(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal whose line can be written again."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "")
