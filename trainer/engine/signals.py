"""How a training hears that it is to stop: by a signal, or by whoever called it.

The first signal asks, so that the state is saved before the training ends. Whoever asks again does not want
to wait: then what handled the signal before this training does so again, or, where a program wants that, the
system's default, which ends the process at once, also within a call of Paddle that does not return.

Python runs signal handlers in the main thread only, and lets no other thread install one
(https://docs.python.org/3/library/signal.html): a training in another thread leaves them alone.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """Whether a training is asked to stop, and by which signal."""

    def __init__(self, *, second_kills: bool = False) -> None:
        """`second_kills`: hand the second signal to the system, for a program whose process this is."""
        self.number: int = 0
        """The last signal that asked; 0 before any."""
        self._second_kills = second_kills
        self._before: dict[int, Any] = {}  # as `signal.signal` returns them

    def request(self) -> None:
        """Ask, from any thread, for a stop after the step that is going on; the state is saved."""
        self.number = signal.SIGTERM

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT meanwhile, where this is the main thread; then as before."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._handle)
        try:
            yield
        finally:
            for watched, handler in self._before.items():
                # None: it was not installed from Python, and cannot be from here.
                signal.signal(watched, signal.SIG_DFL if handler is None else handler)
            self._before = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.number = number
        again = signal.SIG_DFL if self._second_kills else self._before.get(number)
        signal.signal(number, signal.SIG_DFL if again is None else again)
