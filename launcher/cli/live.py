"""A job's live view on a terminal: `submit --follow`, `wait`, `status --watch`. Leaving it leaves the job."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from contextlib import suppress

from launcher.backends.states import JobState, JobStatus
from launcher.cli.frame import compose, now_picture
from launcher.cli.graph import takes_blocks
from launcher.cli.printing import Screen, echo
from launcher.cli.signals import ended_like_ctrl_c
from launcher.cli.summary import print_end
from launcher.cli.table import cut
from launcher.errors import CliExit, LaunchError
from launcher.jobs.lifecycle import estimate_start
from launcher.jobs.log_tail import LogTail
from launcher.jobs.notes import Note
from launcher.jobs.resolve import ResolvedJob
from launcher.jobs.wait import exit_code, wait_for_end
from trainer.protocol.printable import printable

_REDRAW_S = 0.5
_ESTIMATE_EVERY_S = 15.0
_LAST_LINES = 10


class LiveView:
    """Draws a job anew twice a second, by what its status and its log have said last."""

    def __init__(self, job: ResolvedJob) -> None:
        self._job = job
        self._tail = LogTail(job)
        self._screen = Screen(sys.stdout)
        self._blocks = takes_blocks(sys.stdout)
        self._status: JobStatus | None = None
        self._start: tuple[str, ...] = ()
        self._note = ""
        self._estimated_s = float("-inf")
        self._is_over = threading.Event()
        self._painter = threading.Thread(target=self._paint, name="ftlaunch-view", daemon=True)

    def tell(self, status: JobStatus) -> None:
        """Take a status; of a job in a queue, ask when it starts, now and then."""
        self._status = status
        now_s = time.monotonic()
        if status.state is not JobState.QUEUED:
            self._start = ()
        elif now_s - self._estimated_s >= _ESTIMATE_EVERY_S:
            self._estimated_s = now_s
            self._start = self._estimate(status)

    def say(self, note: Note) -> None:
        """Take what is said of the waiting, such as that a cluster does not answer."""
        self._note = note.text

    @property
    def last_lines(self) -> list[str]:
        """The end of the log."""
        with self._tail.lock:
            return list(self._tail.log.lines)[-_LAST_LINES:]

    def _estimate(self, status: JobStatus) -> tuple[str, ...]:
        from launcher.why.queue_model import describe_estimate

        with suppress(LaunchError):
            found = estimate_start(self._job, status)
            return () if found is None else (describe_estimate(found),)
        return ()

    def __enter__(self) -> LiveView:
        self._tail.start()
        self._screen.enter()
        self._painter.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._is_over.set()
        self._painter.join(timeout=2 * _REDRAW_S)
        self._screen.leave()
        if error is None:
            self._tail.finish()
        else:
            self._tail.close()

    def _paint(self) -> None:
        while not self._is_over.is_set():
            if (status := self._status) is not None:
                columns, rows = shutil.get_terminal_size()
                with self._tail.lock:
                    picture = now_picture(
                        status, self._tail.log, note=self._note or self._tail.note, start=self._start
                    )
                    lines = compose(picture, columns=columns, rows=rows, blocks=self._blocks)
                with suppress(OSError, ValueError):  # the terminal is gone; the wait ends by itself
                    self._screen.draw(lines)
            self._is_over.wait(_REDRAW_S)


def follow_live(
    job: ResolvedJob, *, timeout_s: float | None = None, also: JobState | None = None, propagate: bool = False
) -> int:
    """Show a job until it has ended, or stands as `also` says; say how it ended, and return its exit code.

    Args:
        job: Which.
        timeout_s: Give up after so long; None waits for ever.
        also: A state that ends the view too.
        propagate: Return the trainer's own exit code.

    Raises:
        WaitTimeoutError: It did not end within `timeout_s`.
    """
    view = LiveView(job)
    try:
        with ended_like_ctrl_c(), view:
            status = wait_for_end(job, timeout_s=timeout_s, also=also, on_status=view.tell, notes=view.say)
    except KeyboardInterrupt:
        echo(f"{job.name} goes on; `ftlaunch status --watch {job.name}` to come back", err=True)
        return CliExit.INTERRUPTED
    if status.state in (JobState.FAILED, JobState.LOST):
        columns = shutil.get_terminal_size().columns
        echo("\n".join(cut(printable(line), columns=columns) for line in view.last_lines), err=True)
    print_end(job, status)
    if status.state is also:
        return CliExit.OK
    return exit_code(status, propagate=propagate)
