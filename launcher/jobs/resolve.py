"""Which job is meant by a name, a handle or nothing, and which run a new job goes on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.backends.base import Backend
from launcher.backends.factory import open_backend
from launcher.backends.states import JobState
from launcher.errors import NotFoundError, UsageError
from launcher.names import is_run_id
from launcher.plan.handle import Handle
from launcher.runs.paths import project_of, runs_dir
from launcher.runs.record import RunRecord
from launcher.runs.store import RunStore

if TYPE_CHECKING:  # YAML and pydantic: most use cases do without
    from launcher.backends.states import JobStatus
    from launcher.plan.parent_run import ParentRun
    from launcher.render.manifest import Manifest


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


def find_parent_run(text: str) -> ParentRun:
    """Return the run that a job's name, its handle or a run id means; it must not run any more.

    A run id is taken as it is: the job may have been submitted from another machine. The trainer checks that
    the output folder is that run's, and that nobody writes to it.

    Raises:
        NotFoundError: No such job was submitted from here.
        UsageError: It still runs.
    """
    from launcher.plan.parent_run import ParentRun
    from launcher.render.manifest import ManifestError, parse_manifest
    from trainer.protocol.codec import FormatError
    from trainer.protocol.environment import NODE_FILE
    from trainer.protocol.nodefile import parse_node_file

    if is_run_id(text):
        return ParentRun(asked=text, run_id=text, sub_path=None)
    job = find_job(text)
    status = None
    try:
        status = job.backend.status(job.handle)
    except NotFoundError:  # the job is gone; its output may well be there
        pass
    else:
        if not status.state.is_terminal:
            raise UsageError(
                where=f"--continue {text}",
                expected="a job that has ended",
                got=f"one that is {status.state.value}",
                fix=f"`ftlaunch cancel {job.name}` first",
            )
    try:
        manifest = parse_manifest(job.store.read_manifest(job.name))
        node_file = parse_node_file(manifest.config_map["data"][NODE_FILE])
        output_dir = node_file.output_dir
    except (OSError, ManifestError, FormatError, KeyError):
        return ParentRun(asked=text, run_id=job.record.run_id, sub_path=None)
    return ParentRun(
        asked=text,
        run_id=job.record.run_id,
        output_dir=output_dir,
        sub_path=_find_folder(manifest, output_dir),
        folder_name=job.name,
        code_sha256=node_file.code_sha256,
        faulty_nodes=_find_faulty(job, status, procs=node_file.procs_per_node),
    )


def _find_faulty(job: ResolvedJob, status: JobStatus | None, *, procs: int) -> tuple[str, ...]:
    """Return the names of the nodes where a job ended of a broken GPU; a cluster alone has several."""
    end = status.termination if status is not None else None
    if status is None or status.state is not JobState.FAILED or end is None or job.backend.cluster is None:
        return ()
    from launcher.why.explanation import explain_job

    if explain_job(job.backend, job.handle).verdicts[0].code != "gpu-fault":
        return ()
    spoke = next((pod.node for pod in status.pods if pod.termination is end), 0)
    node = end.rank // procs if end.rank is not None else spoke
    return tuple(pod.host for pod in status.pods if pod.node == node and pod.host)


def _find_folder(manifest: Manifest, output_dir: str) -> str:
    from launcher.plan.paths import find_covering

    container = next(
        item for item in manifest.pod_spec["containers"] if item["name"] == manifest.kind.container
    )
    mounts = container.get("volumeMounts") or []
    index = find_covering(output_dir, [str(mount["mountPath"]) for mount in mounts])
    return "" if index is None else str(mounts[index].get("subPath", ""))
