"""Signals of a trainer that runs without a node process: the first asks, a second one kills."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopSignal:
    """The last signal that asked this process to stop; 0 before any."""

    def __init__(self) -> None:
        self.number = 0

    def take(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        del frame
        self.number = number
        signal.signal(number, signal.SIG_DFL)  # whoever asks again does not want to wait


@contextmanager
def watch_signals() -> Iterator[StopSignal]:
    """Collect SIGTERM and SIGINT, so that training can save before it stops."""
    stop = StopSignal()
    before = {number: signal.signal(number, stop.take) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
