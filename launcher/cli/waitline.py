"""What a waiting command says meanwhile: each new state, and how far the job is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from launcher.backends.states import JobState, JobStatus
from launcher.cli.printing import StatusLine, echo, print_note
from launcher.cli.status import describe_progress
from launcher.errors import CliExit
from launcher.jobs.lifecycle import eta_s
from launcher.jobs.resolve import ResolvedJob
from launcher.jobs.wait import wait_for_end
from launcher.times import format_duration

EVERY_S = 30.0
"""How often progress is said where lines stay; a terminal's line is renewed with every answer."""


class WaitLine:
    """Says on stderr how a job gets on.

    A terminal has one line that is written over; elsewhere (a file, CI) there is a line a state, and one of
    progress every `EVERY_S` seconds, so that a log of a day's job stays readable.
    """

    def __init__(self, job: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self._job = job
        self._now = now
        self._state: JobState | None = None
        self._told_s = now()
        self._line = StatusLine() if sys.stderr.isatty() else None

    def tell(self, status: JobStatus) -> None:
        """Say what is new."""
        if status.state.is_terminal:
            return
        text = f"{self._job}: {describe_wait(status)}"
        is_due = status.progress is not None and self._now() - self._told_s >= EVERY_S
        if self._line is not None:
            self._line.write(text)
        elif status.state is not self._state or is_due:
            self._told_s = self._now()
            echo(text, err=True)
        self._state = status.state

    def end(self) -> None:
        """Leave the terminal's line, so that what comes next begins on one of its own."""
        if self._line is not None:
            self._line.clear()


def describe_wait(status: JobStatus) -> str:
    """Write on one line how a job that has not ended gets on."""
    parts = [status.state.value]
    if status.reason:
        parts.append(status.reason)
    if status.progress is not None and status.progress.ranks:
        parts.append(describe_progress(status.progress).strip())
        left = eta_s(status)
        if left:
            parts.append(f"about {format_duration(left)} left")
    return " · ".join(parts)


def wait_aloud(
    job: ResolvedJob, *, timeout_s: float | None = None, also: JobState | None = None
) -> JobStatus:
    """Wait for a job's end, or for the state `also`, and say meanwhile how it gets on.

    Raises:
        WaitTimeoutError: It took longer than `timeout_s`.
    """
    line = WaitLine(job.name)
    try:
        return wait_for_end(job, timeout_s=timeout_s, also=also, on_status=line.tell, notes=print_note)
    finally:
        line.end()


def say_goes_on(job: ResolvedJob) -> CliExit:
    """Say that a job goes on without whoever waited for it, and return the exit code of Ctrl-C."""
    echo(f"\n{job.name} goes on; `ftlaunch wait {job.name}` waits for it again", err=True)
    return CliExit.INTERRUPTED
