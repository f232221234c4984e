"""The store: a folder a checkpoint, which is either whole or not there.

`e003-s001200.tmp` is filled, every file and the folder synced, `manifest.json` with sizes and hashes written
last, then the folder is renamed and its parent synced. A pointer file names the latest and the best one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.checkpoints.durable import Fill, hash_file, replace_text, sync_folder, write_file
from trainer.protocol.fields import FormatError, decode_object, need
from trainer.protocol.layout import MANIFEST, CheckpointName, OutputLayout, parse_checkpoint_name

SCHEMA = 1


class TornCheckpointError(Exception):
    """A checkpoint folder is not what its manifest says."""


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


class CheckpointStore:
    """Checkpoints of one output folder."""

    def __init__(self, layout: OutputLayout) -> None:
        self._layout = layout

    def save(self, name: CheckpointName, files: Mapping[str, Fill], *, run_id: str) -> Checkpoint:
        """Write a checkpoint and point to it as the latest.

        Args:
            name: Its place in the run; one of this name that is whole already is kept as it is.
            files: File name -> what writes its content.
            run_id: Of the run that writes.

        Raises:
            OSError: The folder cannot be written.
        """
        checkpoint = self._whole(name) or self._write(name, files, run_id)
        replace_text(self._layout.pointer, f"{name}\n")
        return checkpoint

    def mark_best(self, checkpoint: Checkpoint) -> None:
        """Point to a checkpoint as the one with the best evaluation."""
        replace_text(self._layout.best_pointer, f"{checkpoint.name}\n")

    def latest(self) -> Checkpoint | None:
        """Return the checkpoint that the pointer names, or the furthest whole one where that is not whole."""
        pointed = self._pointed(self._layout.pointer)
        candidates = [pointed] if pointed is not None else []
        candidates += [name for name in self._names() if name != pointed]
        return next((found for name in candidates if (found := self._whole(name)) is not None), None)

    def best(self) -> Checkpoint | None:
        """Return the checkpoint with the best evaluation, or None."""
        pointed = self._pointed(self._layout.best_pointer)
        return self._whole(pointed) if pointed is not None else None

    def verify(self, name: CheckpointName) -> Checkpoint:
        """Check a checkpoint's files against its manifest.

        Raises:
            TornCheckpointError: They differ, or there is no manifest.
            OSError: A file cannot be read.
        """
        folder = self._layout.checkpoint_dir(name)
        what = str(folder / MANIFEST)
        try:
            document = decode_object((folder / MANIFEST).read_bytes(), what=what)
            files = document.get("files")
            if need(document, "schema", int, what=what) != SCHEMA or not isinstance(files, dict):
                raise TornCheckpointError(f"{what}: expected schema {SCHEMA} and a table of files")
            for file_name, expected in files.items():
                size, digest = hash_file(folder / Path(file_name).name)
                if expected != {"size": size, "sha256": digest}:
                    raise TornCheckpointError(f"{folder / file_name}: expected {expected}, got {size} bytes")
            run_id = need(document, "run_id", str, what=what)
        except (FileNotFoundError, NotADirectoryError, FormatError) as error:
            raise TornCheckpointError(f"{folder}: expected a whole checkpoint: {error}") from error
        return Checkpoint(name=name, folder=folder, run_id=run_id)

    def prune(self, *, keep: int = 2) -> list[CheckpointName]:
        """Delete all but the `keep` furthest checkpoints, the latest and the best; return what went.

        Only folders that carry our manifest are touched. A folder is renamed before it is emptied, so that a
        crash leaves no half of a checkpoint under a checkpoint's name.
        """
        names = self._names()
        kept = {*names[:keep], self._pointed(self._layout.pointer), self._pointed(self._layout.best_pointer)}
        gone = [
            name
            for name in names
            if name not in kept and (self._layout.checkpoint_dir(name) / MANIFEST).is_file()
        ]
        for name in gone:
            doomed = self._layout.checkpoints_dir / f"{name}.tmp"
            shutil.rmtree(doomed, ignore_errors=True)
            self._layout.checkpoint_dir(name).rename(doomed)
            shutil.rmtree(doomed)
        return gone

    def _write(self, name: CheckpointName, files: Mapping[str, Fill], run_id: str) -> Checkpoint:
        folder = self._layout.checkpoint_dir(name)
        partial = folder.with_name(folder.name + ".tmp")
        for stale in (partial, folder):  # `folder` only where it is torn: a whole one was returned before
            if stale.exists():
                shutil.rmtree(stale)
        partial.mkdir(parents=True)
        table: dict[str, dict[str, object]] = {}
        for file_name, fill in files.items():
            size, digest = write_file(partial / file_name, fill)
            table[file_name] = {"size": size, "sha256": digest}
        document = {"schema": SCHEMA, "run_id": run_id, "name": str(name), "files": table}
        write_file(partial / MANIFEST, lambda file: _dump(file, document))
        sync_folder(partial)
        partial.rename(folder)
        sync_folder(folder.parent)
        return Checkpoint(name=name, folder=folder, run_id=run_id)

    def _whole(self, name: CheckpointName) -> Checkpoint | None:
        try:
            return self.verify(name)
        except TornCheckpointError:
            return None

    def _names(self) -> list[CheckpointName]:
        return sorted(self._walk(), key=lambda name: (name.step, name.epoch), reverse=True)

    def _walk(self) -> Iterator[CheckpointName]:
        if self._layout.checkpoints_dir.is_dir():
            for entry in self._layout.checkpoints_dir.iterdir():
                name = parse_checkpoint_name(entry.name)
                if name is not None and entry.is_dir():
                    yield name

    def _pointed(self, pointer: Path) -> CheckpointName | None:
        try:
            return parse_checkpoint_name(pointer.read_text(encoding="utf-8").strip())
        except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
            return None


def _dump(file: object, document: object) -> None:
    file.write(json.dumps(document, indent=2).encode())  # type: ignore[attr-defined]  # a BinaryIO
