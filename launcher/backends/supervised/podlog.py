"""A container's output, from its pipe into its log in the kubelet's form, `RFC3339Nano stdout F text`.

Long lines are cut into parts of 16 KiB that are marked `P`, as containerd does (pkg/cri/io/logger.go). A
log is all that tells the next supervisor how much of a container's output was taken (`count_output`): so
every write adds whole lines, and times never go backwards.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from pathlib import Path

from launcher.times import format_stamp, parse_instant

MAX_PART = 16 * 1024


class PodLog:
    """An open log; every write adds whole lines, and its times never go backwards."""

    def __init__(self, path: Path, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._clock_ns = clock_ns
        # of an earlier supervisor's lines, too: who reads on finds its place by time
        self._last_ns = _read_last_instant(path)
        self._rest = b""
        self.lost_bytes = 0
        """Of lines that could not be written, as on a full disk."""

    def take(self, data: bytes) -> None:
        """Add output; what does not end a line waits for its end or for 16 KiB."""
        stamp = self._stamp()
        *lines, self._rest = (self._rest + data).split(b"\n")
        out = b"".join(_parts(line, stamp, whole=True) for line in lines)
        keep = len(self._rest) % MAX_PART or min(len(self._rest), MAX_PART)
        if len(self._rest) > MAX_PART:
            out += _parts(self._rest[:-keep], stamp, whole=False)
            self._rest = self._rest[-keep:]
        self._write(out)

    def close(self) -> None:
        """Write what is left and close."""
        if self._rest:
            self._write(_parts(self._rest, self._stamp(), whole=True))
        os.close(self._fd)

    def _stamp(self) -> bytes:
        self._last_ns = max(self._last_ns, self._clock_ns())
        return format_stamp(self._last_ns)

    def _write(self, out: bytes) -> None:
        try:
            while out:
                out = out[os.write(self._fd, out) :]
        except OSError:  # a full disk ends the log, not the job
            self.lost_bytes += len(out)


def count_output(path: Path) -> int:
    """Return how many bytes of a container's output its log holds, and cut off a line that is not whole.

    Raises:
        OSError: It cannot be read or written.
    """
    if not path.exists():
        return 0
    whole_bytes = taken_bytes = 0
    with path.open("r+b") as log:
        for line in log:
            if line.endswith(b"\n"):
                whole_bytes += len(line)
                _, _, mark, text = line.split(b" ", 3)
                taken_bytes += len(text) if mark == b"F" else len(text) - 1
        log.truncate(whole_bytes)
    return taken_bytes


def _read_last_instant(path: Path) -> int:
    """Return the time of a log's last line in nanoseconds of Unix time; 0 where it has none."""
    with path.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 2 * MAX_PART))
        lines = log.read(2 * MAX_PART).split(b"\n")
    return parse_instant(lines[-2].partition(b" ")[0]) or 0 if len(lines) > 1 else 0


def _parts(line: bytes, stamp: bytes, *, whole: bool) -> bytes:
    parts = [line[at : at + MAX_PART] for at in range(0, len(line), MAX_PART)] or [b""]
    marks = [b"P"] * (len(parts) - 1) + [b"F" if whole else b"P"]
    lines = (stamp + b" stdout " + mark + b" " + part for mark, part in zip(marks, parts, strict=True))
    return b"".join(line + b"\n" for line in lines)


_READ_BYTES = 1 << 16


class Output:
    """The reading end of a pipe, and the log that its bytes go to.

    Attributes:
        pipe: Readable where there is something to read, and at its end.
        taken_bytes: Bytes that came out of the container so far, those in the log before included.
    """

    def __init__(self, pipe: int, *, log: Path, known_bytes: int = 0) -> None:
        """`known_bytes` are in the log already, from an earlier reader of the same container."""
        os.set_blocking(pipe, False)
        self.pipe = pipe
        self.taken_bytes = known_bytes
        self._skip_bytes = 0
        self._log = PodLog(log)

    @property
    def lost_bytes(self) -> int:
        """Bytes of the log that could not be written."""
        return self._log.lost_bytes

    def begin_again(self) -> None:
        """Be told that all output comes once more from its beginning; what was taken is passed over."""
        while select.select([self.pipe], [], [], 0)[0] and self.read():
            pass
        self._skip_bytes = self.taken_bytes

    def read(self) -> bool:
        """Move what is there to the log; False at the pipe's end."""
        try:
            data = os.read(self.pipe, _READ_BYTES)
        except BlockingIOError:
            return True
        fresh = data[self._skip_bytes :]
        self._skip_bytes -= len(data) - len(fresh)
        self.taken_bytes += len(fresh)
        self._log.take(fresh)
        return bool(data)

    def drain(self, *, within_s: float) -> None:
        """Move what is left to the log: up to the pipe's end, for at most `within_s`."""
        until_s = time.monotonic() + within_s
        while (left_s := until_s - time.monotonic()) > 0:
            ready, _, _ = select.select([self.pipe], [], [], left_s)
            if not ready or not self.read():
                break

    def close(self) -> None:
        """Close pipe and log."""
        os.close(self.pipe)
        self._log.close()
