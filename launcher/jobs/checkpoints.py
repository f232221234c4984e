"""The checkpoints of a job: listed, fetched and verified where they lie, while it runs and afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import NotFoundError, UsageError
from launcher.jobs.notes import Progress, no_progress
from launcher.jobs.resolve import ResolvedJob
from launcher.render.manifest import parse_manifest
from launcher.volumes import checkpoints, transfer
from launcher.volumes.checkpoints import CheckpointInfo, choose_checkpoint, list_checkpoints
from launcher.volumes.place import Place, VolumeError
from trainer.protocol.environment import NODE_FILE
from trainer.protocol.layout import MANIFEST
from trainer.protocol.nodefile import parse_node_file
from trainer.protocol.safe_files import replace_file


def find_checkpoints(job: ResolvedJob) -> list[CheckpointInfo]:
    """Return the checkpoints, the furthest first. Sizes are compared with each manifest, hashes are not."""
    with open_output(job) as place:
        return list_checkpoints(place)


def verify_checkpoints(job: ResolvedJob, name: str | None = None) -> list[CheckpointInfo]:
    """Read every file and compare it with its manifest.

    Args:
        job: Which.
        name: Of one checkpoint, `latest` or `best`; None for all.

    Returns:
        Each with its fault, which is empty where every hash is right.
    """
    with open_output(job) as place:
        return checkpoints.verify_checkpoints(place, name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulled:
    """A checkpoint that is here now.

    Attributes:
        folder: Where its files are.
        files: How many it has.
        fetched: How many of them had to come.
    """

    folder: Path
    files: int
    fetched: int


def pull_checkpoint(
    job: ResolvedJob, name: str = "latest", *, to: Path | None = None, progress: Progress = no_progress
) -> Pulled:
    """Fetch a checkpoint's files; what is here already with the right hash does not come again.

    Args:
        job: Which.
        name: Of the checkpoint, `latest` or `best`.
        to: Folder for its files; None for `JOB-CHECKPOINT` in the current one.
        progress: Told of bytes as they come.

    Raises:
        NotFoundError: There is none, or it is damaged.
        UsageError: Files of the caller's own are in the way.
    """
    with open_output(job) as place:
        item = choose_checkpoint(list_checkpoints(place), name)
        while True:
            if item.fault:
                raise NotFoundError(
                    where=item.name, expected="a whole checkpoint", got=f"a fault: {item.fault}"
                )
            folder = to or Path(f"{job.name}-{item.name}")
            _spare(folder, item)
            try:
                with progress(item.size_bytes) as tell:
                    came = transfer.pull(place, item.files, within=item.within, to=folder, progress=tell)
                break
            except (VolumeError, NotFoundError):
                now = choose_checkpoint(list_checkpoints(place), name)
                if now.name == item.name:
                    raise
                item = now  # the job goes on: it has saved another one, and deleted this one
    replace_file(folder / MANIFEST, item.manifest.encode("utf-8"))
    return Pulled(folder=folder, files=len(item.files), fetched=len(came))


@contextmanager
def open_output(job: ResolvedJob) -> Iterator[Place]:
    """Reach the folder that a job writes to, while the context lasts.

    On Kubernetes through its first pod while that runs, else through a pod that mounts its volumes meanwhile.
    """
    manifest = parse_manifest(job.store.read_manifest(job.name))
    output_dir = parse_node_file(manifest.config_map["data"][NODE_FILE]).output_dir
    with job.backend.open_folder(job.handle, output_dir, manifest=manifest) as place:
        yield place


def _spare(folder: Path, item: CheckpointInfo) -> None:
    """Have files of the user's own stay: only a folder that holds a checkpoint already gets another one.

    Raises:
        UsageError: A file of the same name, with other content, is there.
    """
    if (folder / MANIFEST).is_file():
        return
    own = [
        file.path
        for file in item.files
        if (folder / file.path).exists() and not transfer.is_there(folder, file)
    ]
    if own:
        raise UsageError(
            where=folder,
            expected="no files of your own under the names of the checkpoint's",
            got=", ".join(own),
            fix="name another folder with --to",
        )
