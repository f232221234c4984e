"""`ftlaunch cancel`."""

from __future__ import annotations

import click

from launcher.cli.options import job_argument
from launcher.cli.printing import echo
from launcher.cli.studies import as_study, cancel_study
from launcher.jobs import lifecycle
from launcher.jobs.resolve import find_job


@click.command("cancel")
@job_argument
def command(job: str | None) -> None:
    """Save a checkpoint and stop a job, or all of a study's; it does not restart by itself."""
    if (study := as_study(job)) is not None:
        cancel_study(study)
        return
    found = find_job(job)
    cancelled = lifecycle.cancel(found)
    if cancelled.had_ended:
        status = cancelled.status
        reason = f": {status.reason}" if status.reason else ""
        echo(f"{found.name}: has ended already: {status.state.value}{reason}", err=True)
        return
    echo(f"{found.name}: told to save and stop; `ftlaunch wait` tells when it has", err=True)
