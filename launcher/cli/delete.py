"""`ftlaunch delete`."""

from __future__ import annotations

import contextlib

import click

from launcher.cli.jobs import find_job, job_argument
from launcher.errors import NotFoundError, UsageError


@click.command("delete")
@job_argument
@click.option("--force", is_flag=True, help="Also a job that still runs, without saving.")
def command(job: str | None, force: bool) -> None:
    """Remove a job and its record; checkpoints and whatever else it wrote stay."""
    found = find_job(job)
    with contextlib.suppress(NotFoundError):  # gone already: its record goes too
        status = found.backend.status(found.handle)
        if not status.state.is_terminal and not force:
            raise UsageError(
                f"{found.handle.job}: expected a job that has ended, got one that is {status.state.value}; "
                "cancel it first, or pass --force"
            )
        found.backend.delete(found.handle)
    found.store.remove(found.handle.job)
    click.echo(f"{found.handle.job}: deleted", err=True)
