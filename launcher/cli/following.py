"""Waiting for a job, with or without its log."""

from __future__ import annotations

import math
import time

from launcher.backends.poll_timer import Waker, pause_s
from launcher.backends.states import JobState, JobStatus
from launcher.cli.jobs import Found, exit_code
from launcher.cli.patience import Patience
from launcher.cli.printing import echo
from launcher.cli.showlogs import Request, show_logs
from launcher.cli.waitline import WaitLine, echo_end
from launcher.errors import CliExit, LaunchError

_LOOK_S = 0.5


class WaitTimeoutError(LaunchError):
    """The job did not end in time."""


def wait_for_end(
    found: Found, *, timeout_s: float | None, also: JobState | None = None, look_s: float = _LOOK_S
) -> JobStatus:
    """Return the job's status once it has ended, or stands as `also` says.

    Raises:
        WaitTimeoutError: It did not within `timeout_s`; None waits for ever.
        NoAnswerError: The cluster has been silent for too long.
    """
    until_s = None if timeout_s is None else time.monotonic() + timeout_s
    patience = Patience(found.handle.job, until_s=until_s)
    waker: Waker | None = None
    line = WaitLine(found.handle.job)
    while True:
        status = patience.ask(lambda: found.backend.status(found.handle))
        if status.state.is_terminal or status.state is also:
            line.end()
            return status
        line.tell(status)
        if until_s is not None and time.monotonic() >= until_s:
            line.end()
            raise WaitTimeoutError(
                where=found.handle.job,
                expected=(
                    f"{also.value if also else 'its end'} within {timeout_s:g} s, it is "
                    f"{status.state.value}{f': {status.reason}' if status.reason else ''}"
                ),
                fix=f"`ftlaunch why {found.handle.job}` says more",
            )
        waker = waker or found.backend.waker(found.handle)
        most_s = math.inf if until_s is None else until_s - time.monotonic()
        least_s = min(pause_s(look_s, pods=len(status.pods)), max(look_s, most_s))
        waker.wait(least_s, most_s=most_s)


def follow(found: Found, request: Request | None = None) -> int:
    """Show the job's log until it has ended and nothing new comes, and return `wait`'s exit code.

    Ctrl-C ends the showing only.
    """
    job = found.handle.job
    try:
        ended = show_logs(found, request or Request(), follow=True)
    except KeyboardInterrupt:
        echo(f"\n{job} goes on; `ftlaunch logs -f {job}` to come back to its log", err=True)
        return CliExit.INTERRUPTED
    assert ended is not None
    echo_end(ended, found.backend)
    return exit_code(ended)
