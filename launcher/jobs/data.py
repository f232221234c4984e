"""A folder of this machine and a claim of a cluster: files brought to it, and compared with it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.backends.factory import open_backend
from launcher.errors import UsageError
from launcher.jobs.notes import Note, Notes, Progress, ignore, no_progress
from launcher.jobs.settings import current_layers
from launcher.runs.paths import runs_dir
from launcher.volumes import transfer
from launcher.volumes.lists import find_lists, lists_of, require_listed

if TYPE_CHECKING:
    from launcher.volumes.place import Place, Scratch


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimTarget:
    """A folder of a claim, and how it is reached.

    Attributes:
        name: `CLAIM` or `CLAIM:FOLDER`.
        namespace: Of the claim; None for what settings or the context say.
        context: Of the kubeconfig; None for what settings say, else its current one.
        image: Of the pod that mounts the claim, any with Python 3; None for the trainer's.
        user: User id that files are written as.
        group: Group id that files are written as.
    """

    name: str
    namespace: str | None = None
    context: str | None = None
    image: str | None = None
    user: int = 1000
    group: int = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Pushed:
    """What a push did.

    Attributes:
        files: Of the folder.
        sent: How many of them had to go.
        sent_bytes: Of those.
    """

    files: int
    sent: int
    sent_bytes: int


def push_folder(
    folder: Path,
    target: ClaimTarget,
    *,
    config: Path | None = None,
    notes: Notes = ignore,
    progress: Progress = no_progress,
) -> Pushed:
    """Bring all files of a folder to a claim; what is there already with the right hash does not go again.

    Args:
        folder: Of this machine.
        target: Where to.
        config: Says how list files are read; None guesses that.
        notes: Told of the lists.
        progress: Told of bytes as they go.

    Raises:
        UsageError: The folder is empty, or a list names a file that it lacks.
    """
    files = _describe(folder, config, notes)
    with open_claim(target, read_only=False) as place, progress(sum(file.size for file in files)) as tell:
        sent = transfer.push(place, folder, files, progress=tell)
    return Pushed(
        files=len(files), sent=len(sent), sent_bytes=sum(delta.file.size - delta.offset for delta in sent)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """How a claim differs from a folder.

    Attributes:
        files: Of the folder.
        differ: Paths of those that the claim lacks, or has otherwise.
    """

    files: int
    differ: tuple[str, ...]


def compare_folder(
    folder: Path, target: ClaimTarget, *, config: Path | None = None, notes: Notes = ignore
) -> Compared:
    """Compare all files of a folder with a claim by their hashes; see `push_folder`."""
    files = _describe(folder, config, notes)
    with open_claim(target, read_only=True) as place:
        deltas = transfer.compare(place, files)
    return Compared(files=len(files), differ=tuple(delta.file.path for delta in deltas))


def _describe(folder: Path, config: Path | None, notes: Notes) -> list[transfer.File]:
    folder = folder.resolve()
    named = []
    if config is not None:
        from launcher.config.load import load_run_config

        named = lists_of(load_run_config(config, layers=current_layers()).job)
    lists = find_lists(folder, named)
    files = transfer.describe(folder)
    if not files:
        raise UsageError(where=folder, expected="files to bring", got="an empty folder")
    listed = require_listed(folder, lists, {file.path for file in files})
    for text in listed.notes:
        notes(Note(text, "note"))
    if lists:
        notes(Note(f"{listed.lists} lists have {listed.lines} lines, and their images are in {folder}"))
    return files


def open_claim(
    target: ClaimTarget, *, read_only: bool, scratch: Scratch | None = None
) -> AbstractContextManager[Place]:
    """Reach a claim while the context lasts.

    Args:
        target: Which.
        read_only: Mount it so.
        scratch: See `Backend.open_claim`.

    Raises:
        UsageError: The target is no claim's name.
    """
    claim, _, path = target.name.partition(":")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not claim or ".." in parts:
        raise UsageError(where=f"{target.name!r}", expected="CLAIM or CLAIM:FOLDER/IN/IT")
    # as in `claim: NAME` of a config; few claims are named so
    if claim == "claim" and path and "/" not in path:
        raise UsageError(
            where=f"{target.name!r}",
            expected="CLAIM or CLAIM:FOLDER",
            got="the word claim before a name",
            fix=(
                f"write {path!r}, or '{target.name}/' for the folder {path!r} of a claim that is named "
                "'claim'"
            ),
        )
    layers = current_layers()
    image = target.image or layers.text_of("image") or f"ftlaunch-trainer:{metadata.version('ftlaunch')}-cpu"
    backend = open_backend(
        "kubernetes",  # no other has claims
        runs_folder=runs_dir(),
        context=target.context or layers.text_of("context"),
        namespace=target.namespace or layers.text_of("namespace"),
    )
    run_as = {"user": target.user, "group": target.group, "fs_group": target.group}
    return backend.open_claim(
        claim, "/".join(parts), image=image, run_as=run_as, read_only=read_only, scratch=scratch
    )
