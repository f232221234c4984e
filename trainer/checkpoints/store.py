"""The store: a folder a checkpoint, which is either whole or not there.

`e003-s001200.tmp` is filled, every file and the folder synced, `manifest.json` with sizes and hashes written
last, then the folder is renamed and its parent synced. A pointer file names the latest and the best one.

Why each step, given that the process or the machine may go at any moment:

* A rename is atomic, so no reader sees a folder that is being filled. It is not ordered after the writes
  before it, so that after a power cut a name could lead to files of zeros: hence a sync of each file.
* The folder's own entries are data too (fsync(2)): hence a sync of the folder before the rename, and of its
  parent after, without which the rename may be lost while the pointer that names it is not.
* The pointer may name what was lost or damaged nevertheless, by a disk or a person: reading goes on to the
  furthest checkpoint whose hashes are right, and says what it passed over.
* A checkpoint that is deleted gets its `.tmp` name back first, so that half of it is never taken for one.

Not one archive a checkpoint: people and PaddleClas read the files by their names. Not links to a shared
file of unchanged arrays: nothing is unchanged after a step.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from trainer.checkpoints.durable import Fill, hash_file, replace_text, write_file
from trainer.protocol.codec import FormatError, decode, encode
from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit
from trainer.protocol.layout import (
    MANIFEST,
    MANIFEST_SCHEMA,
    CheckpointName,
    Keep,
    Manifest,
    OutputLayout,
    SavedFile,
    explain_kept,
    parse_checkpoint_name,
)
from trainer.protocol.safe_files import (
    UnsafePathError,
    make_folders,
    read_file,
    remove,
    rename,
    sync_folder,
)

_MAX_POINTER, _MAX_MANIFEST = 200, 1 << 20  # bytes


class TornCheckpointError(TrainerError):
    """A checkpoint folder is not what its manifest says."""

    exit_code = Exit.CHECKPOINT


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A whole checkpoint.

    Attributes:
        name: Epochs and steps completed.
        folder: Where its files lie.
        run_id: Run that wrote it.
    """

    name: CheckpointName
    folder: Path
    run_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What a search for a checkpoint found.

    Attributes:
        checkpoint: The first whole one; None where there is none.
        damaged: Why each that should have been taken before it cannot be: place and reason.
    """

    checkpoint: Checkpoint | None
    damaged: tuple[str, ...] = ()


class CheckpointStore:
    """Checkpoints of one output folder. Below it no link is followed: see `trainer.protocol.safe_files`."""

    def __init__(self, layout: OutputLayout) -> None:
        self._layout = layout

    def save(
        self, name: CheckpointName, files: Mapping[str, Fill], *, run_id: str, about: Manifest | None = None
    ) -> Checkpoint:
        """Write a checkpoint and point to it as the latest.

        Args:
            name: Its place in the run; one of this name that is whole already is kept as it is.
            files: File name -> what writes its content.
            run_id: Of the run that writes.
            about: What its manifest says besides; names and files are filled in here.

        Raises:
            OSError: The folder cannot be written.
        """
        about = replace(about or Manifest(run_id="", files={}), run_id=run_id, name=str(name))
        checkpoint = self._whole(name) or self._write(name, files, about)
        replace_text(self._layout.pointer, f"{name}\n", root=self._layout.output_dir)
        return checkpoint

    def mark_best(self, checkpoint: Checkpoint) -> None:
        """Point to a checkpoint as the one with the best evaluation."""
        replace_text(self._layout.best_pointer, f"{checkpoint.name}\n", root=self._layout.output_dir)

    def find_latest(self) -> Search:
        """Find the checkpoint that the pointer names, or the furthest whole one where that is not whole."""
        pointed = self._pointed(self._layout.pointer)
        candidates = [pointed] if pointed is not None else []
        return self._search([*candidates, *(name for name in self._names() if name != pointed)])

    def find_best(self) -> Search:
        """Find the checkpoint with the best evaluation."""
        pointed = self._pointed(self._layout.best_pointer)
        return self._search([pointed] if pointed is not None else [])

    def latest(self) -> Checkpoint | None:
        """Return what `find_latest` finds, whatever it passed over."""
        return self.find_latest().checkpoint

    def best(self) -> Checkpoint | None:
        """Return what `find_best` finds."""
        return self.find_best().checkpoint

    def verify(self, name: CheckpointName) -> Checkpoint:
        """Check a checkpoint's files against its manifest.

        Raises:
            TornCheckpointError: They differ, or there is no manifest.
            OSError: A file cannot be read.
        """
        folder = self._layout.checkpoint_dir(name)
        try:
            root = self._layout.output_dir
            manifest = self._read_manifest(folder)
            for file_name, saved in manifest.files.items():
                size, digest = hash_file(folder / Path(file_name).name, root=root)
                if saved != SavedFile(size=size, sha256=digest):
                    raise TornCheckpointError(
                        where=folder / file_name,
                        expected="the content that was saved"
                        if size == saved.size
                        else f"{saved.size} bytes",
                        got=f"another of {size} bytes" if size == saved.size else f"{size}",
                        fix="it is cut short or was changed",
                    )
        except (FileNotFoundError, NotADirectoryError, FormatError, UnsafePathError) as error:
            raise TornCheckpointError(f"expected a whole checkpoint: {error}", where=folder) from error
        return Checkpoint(name=name, folder=folder, run_id=manifest.run_id)

    def manifests(self) -> dict[CheckpointName, Manifest]:
        """Return what each checkpoint says of itself, the furthest first.

        Folders without a manifest are none; one whose manifest is damaged says nothing.
        """
        found: dict[CheckpointName, Manifest] = {}
        for name in self._names():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, UnsafePathError):
                try:
                    found[name] = self._read_manifest(self._layout.checkpoint_dir(name))
                except FormatError:
                    found[name] = Manifest(run_id="", files={})
        return found

    def prune(self, keep: Keep = Keep()) -> list[CheckpointName]:  # noqa: B008 - it is frozen
        """Delete all that neither a pointer names nor `keep` asks for; return what went.

        Only folders that carry our manifest are touched. A folder is renamed before it is emptied, so that a
        crash leaves no half of a checkpoint under a checkpoint's name.
        """
        latest, best = self._pointed(self._layout.pointer), self._pointed(self._layout.best_pointer)
        why = explain_kept(self.manifests(), keep, latest=latest, best=best)
        gone = [name for name, reasons in why.items() if not reasons]
        for name in gone:
            doomed, root = self._layout.checkpoints_dir / f"{name}.tmp", self._layout.output_dir
            remove(doomed, root=root)
            rename(self._layout.checkpoint_dir(name), doomed, root=root)
            sync_folder(doomed.parent, root=root)  # else its files may be gone before its name is
            remove(doomed, root=root)
        return gone

    def _read_manifest(self, folder: Path) -> Manifest:
        data = read_file(folder / MANIFEST, max_bytes=_MAX_MANIFEST, root=self._layout.output_dir)
        return decode(Manifest, data, where=str(folder / MANIFEST), schema=MANIFEST_SCHEMA)

    def _write(self, name: CheckpointName, files: Mapping[str, Fill], about: Manifest) -> Checkpoint:
        folder, root = self._layout.checkpoint_dir(name), self._layout.output_dir
        partial = folder.with_name(folder.name + ".tmp")
        # What an earlier process left half-written takes room, and would end up in the manifest's folder
        # without being in it. `folder` only where it is torn: a whole one was returned before.
        for stale in (*self._partials(), folder):
            remove(stale, root=root)
        make_folders(partial, root=root)
        try:
            return self._fill(partial, folder, files, about, name=name)
        except OSError:
            with contextlib.suppress(OSError):
                remove(partial, root=root)  # on a full disk others have to write, too
            raise

    def _fill(
        self, partial: Path, folder: Path, files: Mapping[str, Fill], about: Manifest, *, name: CheckpointName
    ) -> Checkpoint:
        root = self._layout.output_dir
        table: dict[str, SavedFile] = {}
        for file_name, fill in files.items():
            size, digest = write_file(partial / file_name, fill, root=root)
            table[file_name] = SavedFile(size=size, sha256=digest)
        text = json.dumps(encode(replace(about, files=table), schema=MANIFEST_SCHEMA), indent=2).encode()
        write_file(partial / MANIFEST, lambda file: _put(file, text), root=root)
        sync_folder(partial, root=root)
        rename(partial, folder, root=root)
        sync_folder(folder.parent, root=root)
        return Checkpoint(name=name, folder=folder, run_id=about.run_id)

    def _partials(self) -> list[Path]:
        if not self._layout.checkpoints_dir.is_dir():
            return []
        found = self._layout.checkpoints_dir.glob("*.tmp")
        return [path for path in found if parse_checkpoint_name(path.name.removesuffix(".tmp")) is not None]

    def _whole(self, name: CheckpointName) -> Checkpoint | None:
        try:
            return self.verify(name)
        except TornCheckpointError:
            return None

    def _search(self, names: Sequence[CheckpointName]) -> Search:
        damaged: list[str] = []
        for name in names:
            try:
                return Search(checkpoint=self.verify(name), damaged=tuple(damaged))
            except TornCheckpointError as error:
                damaged.append(str(error))
        return Search(checkpoint=None, damaged=tuple(damaged))

    def _names(self) -> list[CheckpointName]:
        # By steps first: a run that goes on with another list has epochs of another length.
        return sorted(self._walk(), key=lambda name: (name.step, name.epoch), reverse=True)

    def _walk(self) -> Iterator[CheckpointName]:
        if self._layout.checkpoints_dir.is_dir():
            for entry in self._layout.checkpoints_dir.iterdir():
                name = parse_checkpoint_name(entry.name)
                if name is not None and (entry.is_dir() or entry.is_symlink()):
                    yield name

    def _pointed(self, pointer: Path) -> CheckpointName | None:
        try:
            data = read_file(pointer, max_bytes=_MAX_POINTER, root=self._layout.output_dir)
            return parse_checkpoint_name(data.decode().strip())
        except (FileNotFoundError, NotADirectoryError, UnsafePathError, UnicodeDecodeError):
            return None


def _put(file: BinaryIO, data: bytes) -> None:
    file.write(data)
