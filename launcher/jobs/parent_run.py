"""The run that a new job goes on from, as it is recorded on this machine: `--continue JOB`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.errors import NotFoundError, UsageError
from launcher.jobs.resolve import find_job
from launcher.names import is_run_id
from launcher.render.manifest import Manifest, ManifestError, parse_manifest
from trainer.protocol.codec import FormatError
from trainer.protocol.environment import NODE_FILE
from trainer.protocol.nodefile import parse_node_file

if TYPE_CHECKING:
    from launcher.plan.parent_run import ParentRun


def find_parent_run(text: str) -> ParentRun:
    """Return the run that a job's name, its handle or a run id means; it must not run any more.

    A run id is taken as it is: the job may have been submitted from another machine. The trainer checks that
    the output folder is that run's, and that nobody writes to it.

    Raises:
        NotFoundError: No such job was submitted from here.
        UsageError: It still runs.
    """
    from launcher.plan.parent_run import ParentRun  # here: pydantic comes with it

    if is_run_id(text):
        return ParentRun(asked=text, run_id=text, sub_path=None)
    job = find_job(text)
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
        output_dir = parse_node_file(manifest.config_map["data"][NODE_FILE]).output_dir
    except (OSError, ManifestError, FormatError, KeyError):
        return ParentRun(asked=text, run_id=job.record.run_id, sub_path=None)
    return ParentRun(
        asked=text,
        run_id=job.record.run_id,
        output_dir=output_dir,
        sub_path=_find_folder(manifest, output_dir),
        folder_name=job.name,
    )


def _find_folder(manifest: Manifest, output_dir: str) -> str:
    from launcher.plan.paths import find_covering  # as above

    container = next(
        item for item in manifest.pod_spec["containers"] if item["name"] == manifest.kind.container
    )
    mounts = container.get("volumeMounts") or []
    index = find_covering(output_dir, [str(mount["mountPath"]) for mount in mounts])
    return "" if index is None else str(mounts[index].get("subPath", ""))
