"""`ftlaunch resume`."""

from __future__ import annotations

import click

from launcher.backends.states import JobState
from launcher.cli.options import job_argument
from launcher.cli.printing import echo
from launcher.cli.studies import as_study, go_on_with_study
from launcher.jobs import lifecycle
from launcher.jobs.resolve import find_job
from launcher.jobs.resumption import describe_start, find_changed


@click.command("resume")
@job_argument
def command(job: str | None) -> int | None:
    """Restart a cancelled, suspended or lost job from its last checkpoint, or go on with a study."""
    if (study := as_study(job)) is not None:
        return go_on_with_study(study)
    found = find_job(job)
    before = lifecycle.status(found)
    start, changed = describe_start(found, before), find_changed(found)
    status = lifecycle.resume(found)
    goes_on = status.reason if status.state is JobState.QUEUED else "goes on"
    where = f" {start}" if start else ""
    echo(f"{found.name}: {goes_on}{where}; `ftlaunch logs -f {found.name}` shows it", err=True)
    for text in changed:
        echo(f"note: {text}", err=True)
    return None
