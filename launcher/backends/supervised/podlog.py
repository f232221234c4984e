"""A container's output -> its log in the kubelet's form, `RFC3339Nano stdout F text`.

Long lines are cut into parts of 16 KiB that are marked `P`, as containerd does (pkg/cri/io/logger.go).
"""

from __future__ import annotations

import os
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
        lines = log.read().split(b"\n")
    return parse_instant(lines[-2].partition(b" ")[0]) or 0 if len(lines) > 1 else 0


def _parts(line: bytes, stamp: bytes, *, whole: bool) -> bytes:
    parts = [line[at : at + MAX_PART] for at in range(0, len(line), MAX_PART)] or [b""]
    marks = [b"P"] * (len(parts) - 1) + [b"F" if whole else b"P"]
    lines = (stamp + b" stdout " + mark + b" " + part for mark, part in zip(marks, parts, strict=True))
    return b"".join(line + b"\n" for line in lines)
