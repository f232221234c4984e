"""`ftlaunch delete`."""

from __future__ import annotations

import contextlib
import sys

import click

from launcher.cli.jobs import Found, find_job, job_argument
from launcher.cli.printing import echo
from launcher.errors import NotFoundError, UsageError


@click.command("delete")
@job_argument
@click.option("--force", is_flag=True,
    help="Also a job that still runs, without saving, and pods of a node that does not answer.",
)  # fmt: skip
@click.option("--yes", "-y", "sure", is_flag=True, help="Do not ask, where no job is named.")
def command(job: str | None, force: bool, sure: bool) -> None:
    """Remove a job and its record; checkpoints and whatever else it wrote stay."""
    found = find_job(job)
    with contextlib.suppress(NotFoundError):  # gone already: its record goes too
        status = found.backend.status(found.handle)
        if not status.state.is_terminal and not force:
            raise UsageError(
                where=found.handle.job,
                expected="a job that has ended",
                got=f"one that is {status.state.value}",
                fix="cancel it first, or pass --force",
            )
        _make_sure(found, is_named=job is not None or sure)
        found.backend.delete(found.handle, force=force)
    found.store.remove(found.handle.job)
    echo(f"{found.handle.job}: deleted", err=True)


def _make_sure(found: Found, *, is_named: bool) -> None:
    """Ask a person whether the last job is meant."""
    if is_named:
        return
    if not sys.stdin.isatty():
        raise UsageError(where=found.handle.job, expected="its name, or -y, to delete it without being asked")
    click.confirm(f"delete {found.handle}?", abort=True, err=True)
