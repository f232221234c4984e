"""What commands about a job share: which one is meant, and the backend that has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from launcher.backends.base import Backend
from launcher.backends.devices import list_gpus
from launcher.errors import CliExit
from launcher.plan.handle import BackendKind, Handle, JobApi
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
        handle.backend, store=store, namespace=handle.namespace, context=record.context, api=record.api
    )
    return Found(record=record, backend=backend, store=store)


def open_backend(
    kind: BackendKind,
    *,
    store: RunStore,
    namespace: str | None = None,
    context: str | None = None,
    runtime: str | None = None,
    gpu_ids: tuple[str, ...] | None = None,
    api: JobApi = "kubeflow",
) -> Backend:
    """Make the backend of a kind; the Kubernetes client is imported only for its own.

    `gpu_ids` are the GPUs of this machine that its jobs may use, None for any; `api` is the kind of job.

    Raises:
        UsageError: The container runtime that is named does not exist.
        UnreachableError: The cluster cannot be talked to.
    """
    gpus = list_gpus if gpu_ids is None else lambda: gpu_ids
    if kind == "local":
        from launcher.backends.local import LocalBackend

        return LocalBackend(store.folder, gpus=gpus)
    if kind == "kubernetes":
        from launcher.backends.kubernetes import KubernetesBackend

        del api  # there is one kind
        return KubernetesBackend.connect(context=context, namespace=namespace or None)
    from launcher.backends.docker import DockerBackend
    from launcher.backends.docker.engine import find_engine

    return DockerBackend(store.folder, engine=find_engine(runtime) if runtime else None, gpus=gpus)


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
