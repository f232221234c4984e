"""Answers a request for a log from a file of this machine in the kubelet's form, by offset. A `LogResponse`.

A followed answer looks ten times a second whether the file has grown, since the standard library has nothing
that tells. Where an answer begins is found in the file itself, by halving it, so that going on after the last
line that was seen costs some twenty reads, however long the log is, and nothing has to be remembered between
answers. So times in the file must never go back.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from launcher.errors import LaunchError
from launcher.logs.lines import LineReader
from launcher.logs.source import End, FailureKind, LogRequest, Receiver
from launcher.times import STAMP_BYTES, format_stamp

POLL_S = 0.1
_PIECE_BYTES = 64 * 1024
_CLOSE_BYTES = 64 * 1024
"""So near to where an answer is to begin the search for it ends: as much is read at once anyhow."""


class FileResponse:
    """A file on its way, as an API server sends a log: `RFC3339Nano text` lines. A `LogResponse`."""

    def __init__(
        self, path: Path, request: LogRequest, receiver: Receiver, *, is_over: Callable[[], bool]
    ) -> None:
        """`is_over` says whether the file grows no more."""
        self._path, self._request, self._receiver = path, request, receiver
        self._is_over = is_over
        self._reader = LineReader()
        self._file: IO[bytes] | None = None
        self._is_closed = self._is_paused = False
        self._loop = asyncio.get_running_loop()
        self._turn: asyncio.Handle = self._loop.call_soon(self._begin)

    def pause(self) -> None:
        """See `LogResponse`."""
        self._is_paused = True
        if self._file is not None:
            self._turn.cancel()

    def resume(self) -> None:
        """See `LogResponse`."""
        if self._is_paused:
            self._is_paused = False
            if self._file is not None and not self._is_closed:
                self._turn = self._loop.call_soon(self._go_on)

    def close(self) -> None:
        """See `LogResponse`."""
        self._is_closed = True
        self._turn.cancel()
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        self._receiver.begin()
        try:
            file = self._path.open("rb", buffering=0)
            size = file.seek(0, os.SEEK_END)
            begin = 0
            if self._request.since_s is not None:
                begin = find_time(file, size, format_stamp(max(0, self._request.since_s) * 1_000_000_000))
            if self._request.tail_lines is not None:
                begin = max(begin, find_tail(file, size, self._request.tail_lines))
            file.seek(begin)
        except FileNotFoundError:
            self._end(End())
            return
        except OSError as error:
            self._fail(error)
            return
        self._file = file
        if self._is_closed:
            file.close()
        elif not self._is_paused:
            self._go_on()

    def _go_on(self) -> None:
        assert self._file is not None
        # asked before the file is read, so that nothing that was written before the end is missed
        is_over = not self._request.follow or self._is_over()
        try:
            data = self._file.read(_PIECE_BYTES)
            whole = data[: data.rfind(b"\n") + 1]
            self._file.seek(len(whole) - len(data), os.SEEK_CUR)
        except OSError as error:
            self._fail(error)
            return
        if whole:
            lines = self._reader.take(whole)
            if lines:
                self._receiver.take(b"\n".join(lines) + b"\n")
            if not self._is_closed and not self._is_paused:
                self._turn = self._loop.call_soon(self._go_on)  # others get their turn
        elif is_over:  # what is left was torn when a disk was full
            self._end(End())
        else:
            self._turn = self._loop.call_later(POLL_S, self._go_on)

    def _fail(self, error: OSError) -> None:
        found = LaunchError(where=self._path, expected="a log that can be read", got=error.strerror)
        self._end(End(failure=FailureKind.NEVER, error=found))

    def _end(self, end: End) -> None:
        if not self._is_closed:
            self.close()
            self._receiver.end(end)


def find_time(file: IO[bytes], size: int, stamp: bytes) -> int:
    """Return where a line begins, before which no line is of `stamp` or later; at most 64 KiB too early.

    Args:
        file: A log in the kubelet's form, whose times never go back.
        size: Of the file; what is appended meanwhile is not looked at.
        stamp: A time of `STAMP_BYTES`.
    """
    low, high = 0, size
    while high - low > _CLOSE_BYTES:
        middle = (low + high) // 2
        at = _find_line(file, middle)
        if at >= high or file.read(STAMP_BYTES) >= stamp:
            high = middle
        else:
            low = at
    return low


def _find_line(file: IO[bytes], near: int) -> int:
    """Return where the first whole line after an offset begins, and stop there; parts are of one line."""
    file.seek(near)
    data = b""
    while piece := file.read(_CLOSE_BYTES):
        data += piece
        at = data.find(b"\n") + 1
        while at and (end := data.find(b"\n", at)) >= 0:
            is_full = _ends_a_line(data[at:end])
            at = end + 1
            if is_full:
                return file.seek(near + at)
    return file.seek(0, os.SEEK_END)


def find_tail(file: IO[bytes], size: int, count: int) -> int:
    """Return where the last `count` lines of a log in the kubelet's form begin."""
    begin, data = size, b""
    while begin:
        step = min(begin, _PIECE_BYTES)
        begin -= step
        file.seek(begin)
        data = file.read(step) + data
        at, left = data.rfind(b"\n") + 1, count
        while at:
            # whether the line before `at` is whole; the first one of the data may lack its beginning
            start = data.rfind(b"\n", 0, at - 1) + 1
            if not start and begin:
                break
            if _ends_a_line(data[start : at - 1]):
                if not left:
                    return begin + at
                left -= 1
            at = start
    return 0


def _ends_a_line(line: bytes) -> bool:
    """Whether a part in the kubelet's form is the last one of its line."""
    return line.split(b" ", 3)[2:3] == [b"F"]
