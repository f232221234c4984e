"""`ftlaunch resume`."""

from __future__ import annotations

import click

from launcher.backends.states import JobState
from launcher.cli.jobs import find_job, job_argument
from launcher.cli.printing import echo


@click.command("resume")
@job_argument
def command(job: str | None) -> None:
    """Take a cancelled, suspended or lost job up again, from its last checkpoint."""
    found = find_job(job)
    found.backend.resume(found.handle)
    job = found.handle.job
    status = found.backend.status(found.handle)
    goes_on = status.reason if status.state is JobState.QUEUED else "goes on"
    echo(f"{job}: {goes_on}; `ftlaunch logs -f {job}` shows it", err=True)
