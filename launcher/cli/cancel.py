"""`ftlaunch cancel`."""

from __future__ import annotations

import click

from launcher.backends.states import JobState
from launcher.cli.jobs import find_job, job_argument
from launcher.cli.printing import echo


@click.command("cancel")
@job_argument
def command(job: str | None) -> None:
    """Have a job save and stop, and not come back."""
    found = find_job(job)
    status = found.backend.status(found.handle)
    if status.state is JobState.LOST:  # what it left behind can still be stopped
        found.backend.cancel(found.handle)
        status = found.backend.status(found.handle)
    elif not status.state.is_terminal:
        found.backend.cancel(found.handle)
    if status.state.is_terminal:
        reason = f": {status.reason}" if status.reason else ""
        echo(f"{found.handle.job}: has ended already: {status.state.value}{reason}", err=True)
        return
    echo(f"{found.handle.job}: told to save and stop; `ftlaunch wait` tells when it has", err=True)
