"""`ftlaunch delete`."""

from __future__ import annotations

import sys

import click

from launcher.cli.options import job_argument
from launcher.cli.printing import echo
from launcher.cli.studies import as_study, delete_study
from launcher.errors import UsageError
from launcher.jobs import lifecycle
from launcher.jobs.resolve import ResolvedJob, find_job


@click.command("delete")
@job_argument
@click.option("--force", is_flag=True,
    help="Delete a running job too, without saving, and pods on nodes that do not answer.",
)  # fmt: skip
@click.option("--yes", "-y", "sure", is_flag=True, help="Do not ask for confirmation where no job is named.")
def command(job: str | None, force: bool, sure: bool) -> None:
    """Delete a job, or a study with its jobs, and the record; checkpoints and other output stay."""
    if (study := as_study(job)) is not None:
        delete_study(study, force=force)
        return
    found = find_job(job)
    is_named = job is not None or sure
    lifecycle.delete(found, force=force, confirm=None if is_named else lambda: _make_sure(found))
    echo(f"{found.name}: deleted", err=True)


def _make_sure(found: ResolvedJob) -> None:
    """Ask a person whether the last job is meant."""
    if not sys.stdin.isatty():
        raise UsageError(where=found.name, expected="its name, or -y, to delete it without being asked")
    click.confirm(f"delete {found.handle}?", abort=True, err=True)
