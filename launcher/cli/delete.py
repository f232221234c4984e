"""`ftlaunch delete`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from launcher.cli.options import complete_job
from launcher.cli.printing import echo
from launcher.cli.studies import as_study, delete_study
from launcher.errors import LaunchError, NotFoundError, UsageError
from launcher.jobs import lifecycle
from launcher.jobs.resolve import ResolvedJob, find_job

if TYPE_CHECKING:
    from launcher.sweep.study import Study


@click.command("delete")
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=complete_job)
@click.option("--force", is_flag=True,
    help="Delete running jobs too, without saving, and pods on nodes that do not answer.",
)  # fmt: skip
@click.option("--yes", "-y", "sure", is_flag=True, help="Do not ask for confirmation where no job is named.")
def command(jobs: tuple[str, ...], force: bool, sure: bool) -> None:
    """Delete jobs, or studies with their jobs, and the records; checkpoints and other output stay."""
    found = _find(tuple(dict.fromkeys(jobs)) or (None,), force=force)
    for one in found:
        if isinstance(one, ResolvedJob):
            is_named = bool(jobs) or sure
            lifecycle.delete(one, force=force, confirm=None if is_named else partial(_make_sure, one))
            echo(f"{one.name}: deleted", err=True)
        else:
            delete_study(one, force=force)


def _find(names: Sequence[str | None], *, force: bool) -> list[ResolvedJob | Study]:
    """Return the jobs and studies of some names.

    Raises:
        LaunchError: Of several, all that are not there, or still run without `force`, before any is deleted;
            it has the class of the first.
    """
    found: list[ResolvedJob | Study] = []
    errors: list[LaunchError] = []
    for name in names:
        try:
            one = as_study(name) or find_job(name)
            if isinstance(one, ResolvedJob) and len(names) > 1 and not force:
                lifecycle.check_has_ended(one)
            found.append(one)
        except (NotFoundError, UsageError) as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise type(errors[0])(problems=[error.issue for error in errors])
    return found


def _make_sure(found: ResolvedJob) -> None:
    """Ask a person whether the last job is meant."""
    if not sys.stdin.isatty():
        raise UsageError(where=found.name, expected="its name, or -y, to delete it without being asked")
    click.confirm(f"delete {found.handle}?", abort=True, err=True)
