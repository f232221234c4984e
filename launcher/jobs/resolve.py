"""Which job is meant by a name, a handle or nothing, and the backend that has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launcher.backends.base import Backend
from launcher.backends.factory import open_backend
from launcher.plan.handle import Handle
from launcher.runs.paths import project_of, runs_dir
from launcher.runs.record import RunRecord
from launcher.runs.store import RunStore


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedJob:
    """A job of this machine's runs. All other use cases take one.

    Attributes:
        record: What was submitted, from where.
        backend: What reaches it.
        store: Where its run folder lies.
    """

    record: RunRecord
    backend: Backend
    store: RunStore

    @property
    def handle(self) -> Handle:
        """Where it runs, and its name."""
        return self.record.handle

    @property
    def name(self) -> str:
        """The job's name."""
        return self.record.handle.job

    @property
    def run_folder(self) -> Path:
        """Folder of its config, manifest and logs on this machine."""
        return self.store.run_folder(self.name)


def find_job(text: str | None = None, *, store: RunStore | None = None) -> ResolvedJob:
    """Return the job that is meant. Sends nothing.

    Args:
        text: A name or a handle; None for the last job that was submitted from the current project.
        store: Of run folders; None for this user's.

    Raises:
        NotFoundError: There is none.
        UnreachableError: Its cluster is not configured here any more.
    """
    store = store or RunStore(runs_dir())
    return open_job(store.find(text, project=project_of(Path.cwd())), store=store)


def open_job(record: RunRecord, *, store: RunStore) -> ResolvedJob:
    """Return the job of a record."""
    handle = record.handle
    backend = open_backend(
        handle.backend,
        runs_folder=store.folder,
        namespace=handle.namespace,
        context=record.context,
        api=record.api,
    )
    return ResolvedJob(record=record, backend=backend, store=store)
