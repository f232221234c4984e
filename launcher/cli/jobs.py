"""What commands about a job share: which one is meant, and the backend that has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from launcher.backends.base import Backend
from launcher.backends.factory import open_backend
from launcher.errors import CliExit
from launcher.plan.handle import Handle
from launcher.runs.paths import project_of, runs_dir
from launcher.runs.record import RunRecord
from launcher.runs.store import RunStore

if TYPE_CHECKING:
    from launcher.backends.states import JobStatus

F = TypeVar("F", bound=Callable[..., Any])


def _complete_job(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    del ctx, param
    return sorted(name for name in RunStore(runs_dir()).names() if name.startswith(incomplete))


job_argument = click.argument("job", required=False, shell_complete=_complete_job)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A job that a command means."""

    record: RunRecord
    backend: Backend
    store: RunStore

    @property
    def handle(self) -> Handle:
        """Its handle."""
        return self.record.handle


def find_job(text: str | None) -> Found:
    """Return the job that a name, a handle or nothing means.

    Raises:
        NotFoundError: There is none.
    """
    store = RunStore(runs_dir())
    record = store.find(text, project=project_of(Path.cwd()))
    handle = record.handle
    backend = open_backend(
        handle.backend,
        runs_folder=store.folder,
        namespace=handle.namespace,
        context=record.context,
        api=record.api,
    )
    return Found(record=record, backend=backend, store=store)


def exit_code(status: JobStatus, *, propagate: bool = False) -> int:
    """Return what `wait` exits with for a job that has ended.

    Args:
        status: Of the job.
        propagate: The trainer's own code instead, where it left one.
    """
    from launcher.backends.states import JobState  # a submit does without

    if status.state is JobState.SUCCEEDED:
        return CliExit.OK
    own = status.termination.exit if status.termination is not None else None
    if propagate and own:
        return own
    return CliExit.CANCELLED if status.state is JobState.CANCELLED else CliExit.JOB_FAILED
