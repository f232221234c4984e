"""A job's log read in a thread of its own, beside whoever waits for the job."""

from __future__ import annotations

import threading
from collections.abc import Callable

from launcher.errors import LaunchError
from launcher.jobs.logs import LogOptions, read_logs
from launcher.jobs.notes import Note
from launcher.jobs.resolve import ResolvedJob
from launcher.jobs.training_log import TrainingLog
from launcher.logs.log_format import LogFormat

_END_S = 2.0


class _ClosedError(Exception):
    """Whoever wanted the lines has left."""


def _nothing() -> None:
    """Tell nobody."""


class LogTail:
    """Follows node 0's log, which is where a training speaks. Its lines are read under `lock`.

    Attributes:
        log: What was read so far.
        note: The last thing that was said beside the log, such as what the job waits for; empty for nothing.
        lock: Held while `log` and `note` are changed.
    """

    def __init__(self, job: ResolvedJob, *, on_change: Callable[[], None] = _nothing) -> None:
        """`on_change` is called in the thread that reads, after lines or a note were taken."""
        self.log, self.note = TrainingLog(), ""
        self.lock = threading.Lock()
        self._job, self._on_change = job, on_change
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ftlaunch-log-tail", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self, *, wait_s: float = _END_S) -> None:
        """End the reading, without waiting longer for a cluster that does not answer."""
        self._is_closed.set()
        self._thread.join(timeout=wait_s)

    def finish(self) -> None:
        """Have what a job that has ended has written read to its end, as far as that takes a moment only."""
        self._thread.join(timeout=_END_S)
        self.close()

    def _work(self) -> None:
        options = LogOptions(
            form=LogFormat(prefix=False), all_attempts=True, first_node_only=True, with_saved=False
        )
        try:
            read_logs(self._job, options, write=self._take, follow=True, notes=self._say)
        except _ClosedError:
            return
        except LaunchError as error:
            self._say(Note(str(error)))

    def _take(self, lines: list[bytes]) -> None:
        if self._is_closed.is_set():
            raise _ClosedError
        if lines:
            with self.lock:
                self.log.add(line.decode("utf-8", "replace") for line in lines)
            self._on_change()

    def _say(self, note: Note) -> None:
        with self.lock:
            self.note = note.text
        self._on_change()
