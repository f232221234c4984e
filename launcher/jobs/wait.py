"""Waiting for a job: for its end, for a state, or for whatever changes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

from launcher.backends.poll_timer import PollTimer, pause_s
from launcher.backends.states import JobState, JobStatus
from launcher.errors import CliExit, LaunchError
from launcher.jobs.notes import Notes, ignore
from launcher.jobs.resolve import ResolvedJob
from launcher.jobs.retry import Retry

_LOOK_S = 0.5
_WATCH_S = 1.0


class WaitTimeoutError(LaunchError):
    """The job did not end in time."""

    exit_code = CliExit.TIMEOUT


def _nothing(status: JobStatus) -> None:
    del status


def wait_for_end(
    job: ResolvedJob,
    *,
    timeout_s: float | None = None,
    also: JobState | None = None,
    look_s: float = _LOOK_S,
    on_status: Callable[[JobStatus], None] = _nothing,
    notes: Notes = ignore,
) -> JobStatus:
    """Return the job's status once it has ended, or stands as `also` says.

    Args:
        job: Which.
        timeout_s: Give up after so long; None waits for ever.
        also: A state that ends the wait too.
        look_s: Least time between two looks; a backend that watches its jobs returns earlier.
        on_status: Told each status before the last one, changed or not.
        notes: Told when the cluster falls silent, and when it answers again.

    Raises:
        WaitTimeoutError: It did not within `timeout_s`.
        NoAnswerError: The cluster has been silent for too long.
    """
    until_s = None if timeout_s is None else time.monotonic() + timeout_s
    retry = Retry(job.name, notes, until_s=until_s)
    poll_timer: PollTimer | None = None
    while True:
        status = retry.ask(lambda: job.backend.status(job.handle))
        if status.state.is_terminal or status.state is also:
            _note(job, status)
            return status
        on_status(status)
        # only after a look, so that even a timeout of no time at all says how the job stands
        if until_s is not None and time.monotonic() >= until_s:
            raise WaitTimeoutError(
                where=job.name,
                expected=(
                    f"{also.value if also else 'its end'} within {timeout_s:g} s, it is "
                    f"{status.state.value}{f': {status.reason}' if status.reason else ''}"
                ),
                fix=f"`ftlaunch why {job.name}` says more",
            )
        # made after the first look: of a job that has ended, nothing has to be watched
        poll_timer = poll_timer or job.backend.poll_timer(job.handle)
        most_s = math.inf if until_s is None else until_s - time.monotonic()
        # a look at a thousand pods costs half a second, so it waits longer, but never past the deadline
        least_s = min(pause_s(look_s, pods=len(status.pods)), max(look_s, most_s))
        poll_timer.wait(least_s, most_s=most_s)


def watch(job: ResolvedJob, *, notes: Notes = ignore) -> Iterator[JobStatus]:
    """Give the job's status now, and again whenever it has changed, until its end.

    Raises:
        NotFoundError: There is no such job.
        NoAnswerError: The cluster has been silent for too long.
    """
    retry = Retry(job.name, notes)
    last, poll_timer = None, None
    while True:
        status = retry.ask(lambda: job.backend.status(job.handle))
        if status != last:
            _note(job, status)
            yield status
        if status.state.is_terminal:
            return
        last = status
        poll_timer = poll_timer or job.backend.poll_timer(job.handle)
        poll_timer.wait(pause_s(_WATCH_S, pods=len(status.pods)), most_s=math.inf)


def _note(job: ResolvedJob, status: JobStatus) -> None:
    """Keep for how long the job has held GPUs, and how good it is: its pods may be gone at the next look."""
    from launcher.jobs.gpu_hours import note_gpu_time
    from launcher.jobs.outcome import note_outcome

    note_gpu_time(job, status)
    if status.state.is_terminal:
        note_outcome(job, status)


def exit_code(status: JobStatus, *, propagate: bool = False) -> int:
    """Return the exit code that stands for how a job has ended.

    Args:
        status: Of the job.
        propagate: The trainer's own code instead, where it left one.
    """
    if status.state is JobState.SUCCEEDED:
        return CliExit.OK
    own = status.termination.exit if status.termination is not None else None
    if propagate and own:
        return own
    return CliExit.CANCELLED if status.state is JobState.CANCELLED else CliExit.JOB_FAILED
