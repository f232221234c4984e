"""Writes what the node process writes to its standard output into the output folder, too.

So a log outlives its pods. How, and why not simpler: the event loop, on which the ranks' pipes are read, must
never wait for a volume, since a rank whose pipe is full waits with it. So a line costs it a time stamp and an
append to a queue of at most `_QUEUE_BYTES`; one thread writes. Where the volume is slower than the lines,
hangs or is full, lines are lost here and only here: they are counted, and the count stands in the file where
they are missing and once on standard output.

Nothing is written before the folder is this run's, because node 0 has yet to see whether it may be: what is
said until then waits in the queue.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from trainer.protocol.codec import FormatError
from trainer.protocol.log_files import FILES, LOGS, LogFileName, parse_name, short_run
from trainer.protocol.progress import MARK
from trainer.protocol.runfile import FOLDER, load_run_file
from trainer.protocol.safe_files import create_file, make_folders, remove
from trainer.protocol.tags import Tag, parse_line, tag_line

_QUEUE_BYTES, _PIECE_BYTES = 4 * 2**20, 256 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_GATHER_S, _CLAIM_S, _AGAIN_S, _CLOSE_S = 0.25, 1.0, 15.0, 5.0
_HEAD_BYTES = 64
_LINE_BYTES = 200  # of a line in the queue beside its text: objects, and what is put before it


class LogWriter:
    """The log of one node process, and the thread that writes it.

    Attributes:
        problem: Why lines are not written; empty where all are. Set by the thread.
        is_claimed: The folder is this run's, so that lines are written. Set by the thread.
    """

    def __init__(
        self, *, output_dir: Path, run_id: str, node: int, max_bytes: int,
        clock_ns: Callable[[], int] = time.time_ns, queue_bytes: int = _QUEUE_BYTES,
    ) -> None:  # fmt: skip
        """Write nothing yet.

        Args:
            output_dir: Of the run.
            run_id: Of the run.
            node: Index of this node.
            max_bytes: Of all files of this node together.
            clock_ns: Unix time in nanoseconds.
            queue_bytes: What may wait for the volume.
        """
        self.problem, self.is_claimed = "", False
        self._output_dir, self._run_id, self._node = output_dir, run_id, node
        self._file_bytes = max(1, max_bytes // FILES)
        self._clock_ns, self._room_bytes = clock_ns, queue_bytes
        self._life_ns = self._last_ns = clock_ns()
        self._has_begun = False
        self._queue: deque[tuple[int, bytes]] = deque()
        self._queued_bytes = self._lost = self._lost_ever = 0
        self._lock = threading.Lock()
        self._wake, self._closing, self._is_filling = threading.Event(), threading.Event(), threading.Event()
        self._file: BinaryIO | None = None
        self._file_size, self._is_torn = 0, False
        self._thread = threading.Thread(target=self._work, name="ftlaunch-log", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    @property
    def lost(self) -> int:
        """Lines that are not in the files."""
        return self._lost_ever

    @property
    def queued_bytes(self) -> int:
        """What waits for the volume."""
        return self._queued_bytes

    def add(self, line: bytes) -> None:
        """Take a tagged line with its newline; never waits for the volume."""
        # What `status` reads of a live job; nobody is shown it, and of many ranks it is most of the log.
        if MARK in line[:_HEAD_BYTES] and _is_progress(line):
            return
        size = len(line) + _LINE_BYTES
        with self._lock:
            # Times never go back, so that a reader can halve a file.
            self._last_ns = max(self._last_ns, self._clock_ns())
            if self._queued_bytes + size > self._room_bytes:
                self._lost += 1
                self._lost_ever += 1
                return
            if self._lost:
                self._put(self._say_lost())
            self._put(line)
            if self._queued_bytes > self._room_bytes // 4:
                self._is_filling.set()
        self._wake.set()

    def close(self) -> int:
        """Write what waits, as far as the volume takes it within some seconds; return how much is lost."""
        self._closing.set()
        self._is_filling.set()
        self._wake.set()
        self._thread.join(_CLOSE_S)
        with self._lock:
            return self._lost_ever + len(self._queue) if self.is_claimed else 0

    def _put(self, line: bytes) -> None:
        self._queue.append((self._last_ns, line))
        self._queued_bytes += len(line) + _LINE_BYTES

    def _say_lost(self) -> bytes:
        lost, self._lost = self._lost, 0
        text = f"{lost} lines are missing here: the volume did not take them in time"
        return tag_line(Tag(attempt=0, node=self._node), text.encode()) + b"\n"

    def _work(self) -> None:
        while not self._is_ours():
            if self._closing.is_set():
                return
            self._closing.wait(_CLAIM_S)
        self.is_claimed = True
        while True:
            is_last = self._closing.is_set()
            try:
                self._write_all()
                self.problem = ""
            except OSError as error:
                self.problem = f"{error.filename or self.folder}: {error.strerror or error}"
            if is_last:
                break
            if self.problem:
                self._closing.wait(_AGAIN_S)
            else:
                self._wake.wait()
                # Some lines at once: a write is a round trip to a server. Of many lines, no time is lost.
                self._is_filling.wait(_GATHER_S)
                self._is_filling.clear()
            self._wake.clear()
        self._end_file()

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self._output_dir / FOLDER / LOGS

    def _is_ours(self) -> bool:
        try:
            run = load_run_file(self._output_dir)
        except (FormatError, OSError):
            return False
        return run is not None and run.run_id == self._run_id

    def _write_all(self) -> None:
        while waiting := self._next_lines():
            if self._file is None or self._file_size >= self._file_bytes:
                # A life's first file bears its time, by which a reader knows that nothing came before.
                self._begin_file(waiting[0][0] if self._has_begun else self._life_ns)
            self._write([format_line(stamp_ns, line) for stamp_ns, line in waiting])

    def _write(self, lines: list[bytes]) -> None:
        """Append lines; whole ones leave the queue, and half of one is cut off before anything follows it."""
        assert self._file is not None
        fd, data, written = self._file.fileno(), b"".join(lines), 0
        try:
            if self._is_torn:
                os.ftruncate(fd, self._file_size)
                os.lseek(fd, 0, os.SEEK_END)
                self._is_torn = False
            while written < len(data):
                written += os.write(fd, data[written:])
        except OSError as error:
            if error.errno not in _FULL:  # of a server that was exchanged the file is another one by now
                self._end_file()
            raise
        finally:
            whole, size = 0, 0
            while whole < len(lines) and size + len(lines[whole]) <= written:
                size += len(lines[whole])
                whole += 1
            self._file_size += size
            self._is_torn = written > size
            with self._lock:
                for _ in range(whole):
                    self._queued_bytes -= len(self._queue.popleft()[1]) + _LINE_BYTES

    def _next_lines(self) -> list[tuple[int, bytes]]:
        with self._lock:
            if self._lost and self._queued_bytes < self._room_bytes:
                self._put(self._say_lost())
            found, size = [], 0
            for stamp_ns, line in self._queue:
                found.append((stamp_ns, line))
                size += len(line)
                if size > _PIECE_BYTES:
                    break
        return found

    def _begin_file(self, first_ns: int) -> None:
        self._end_file()
        make_folders(self.folder, root=self._output_dir)
        name = LogFileName(
            run=short_run(self._run_id), node=self._node, life_ns=self._life_ns, first_ns=first_ns
        )
        self._file = create_file(self.folder / str(name), root=self._output_dir)
        self._has_begun = True
        self._file_size, self._is_torn = 0, False
        # Of other runs too, of which there may be many in a folder.
        found = (parse_name(entry.name) for entry in self.folder.iterdir())
        own = sorted(
            (one for one in found if one is not None and one.node == self._node),
            key=lambda one: one.first_ns,
        )
        for old in own[:-FILES]:
            remove(self.folder / str(old), root=self._output_dir)

    def _end_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()


def _is_progress(line: bytes) -> bool:
    read = parse_line(line)
    return read.text.startswith(MARK) and (read.tag is None or read.tag.rank is None)


def format_line(stamp_ns: int, line: bytes) -> bytes:
    """Write a line, with its newline, as a kubelet keeps it: `RFC3339Nano stdout F text`."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return f"{_to_second(seconds)}.{nanoseconds:09d}Z stdout F ".encode() + line


@lru_cache(maxsize=4)
def _to_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}"
