"""Carries a rank's output from its pipe to the console, line by line.

By the event loop and not a thread a rank: whole lines then go out one after the other without a lock, and
the last ones of a rank are out before its end is reported. A rank that writes faster than the log is taken
waits, as it would for a terminal.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from trainer.protocol.tags import MAX_LINE_BYTES

_CHUNK_BYTES = 256 * 1024
_KEEP_BYTES = MAX_LINE_BYTES + 1  # one more than is shown, so that the cut is seen

OnLine = Callable[[bytes, int], None]


class LineSplitter:
    """Cuts a stream into lines at newlines; of an endless one it keeps the beginning and counts the rest."""

    def __init__(self, take: OnLine) -> None:
        """Hand each line, without its newline, to `take` with the number of bytes that were not kept."""
        self._take = take
        self._head = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._keep(piece)
            self._emit()
        self._keep(rest)

    def flush(self) -> None:
        """Hand on what follows the last newline, if anything does."""
        if self._head:
            self._emit()

    def _keep(self, piece: bytes) -> None:
        room = _KEEP_BYTES - len(self._head)
        self._head += piece[:room]
        self._dropped += max(0, len(piece) - room)

    def _emit(self) -> None:
        head, dropped = bytes(self._head), self._dropped
        self._head.clear()
        self._dropped = 0
        self._take(head, dropped)


class Pump:
    """Reads one pipe while the event loop runs."""

    def __init__(self, fd: int, take: OnLine) -> None:
        """Start to read; the pump owns `fd` and closes it at the end of the stream."""
        self._fd = fd
        self._lines = LineSplitter(take)
        self._loop = asyncio.get_running_loop()
        self.ended = False
        os.set_blocking(
            fd, False
        )  # `close` reads what is there, while a rank's orphans may hold the other end
        self._loop.add_reader(fd, self._on_readable)

    def close(self) -> None:
        """Take what the pipe holds now, flush the last line and close, whoever else holds the other end."""
        while not self.ended and self._read_once():
            pass
        self._finish()

    def _on_readable(self) -> None:
        self._read_once()

    def _read_once(self) -> bool:
        try:
            data = os.read(self._fd, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._finish()
            return False
        self._lines.feed(data)
        return True

    def _finish(self) -> None:
        if self.ended:
            return
        self.ended = True
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._lines.flush()
