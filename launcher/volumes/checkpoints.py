"""Checkpoints of a run, read from outside: what there is, whether it is whole, where its files lie.

The layout is the trainer's (`trainer.protocol.layout`). What a manifest lists is all that is trusted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.errors import NotFoundError
from launcher.volumes.place import Place
from launcher.volumes.transfer import File, find_deltas
from trainer.protocol.codec import FormatError, decode
from trainer.protocol.layout import (
    MANIFEST,
    CheckpointName,
    Manifest,
    OutputLayout,
    explain_kept,
    is_checkpoint_file,
    parse_checkpoint_name,
)
from trainer.protocol.untrusted import shown

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LAYOUT = OutputLayout(Path())
FOLDER = _LAYOUT.checkpoints_dir.as_posix()


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointInfo:
    """A checkpoint.

    Attributes:
        run_id: Run that wrote it; empty where its manifest cannot be read.
        files: Those of its manifest, without the manifest.
        manifest: Its text.
        is_latest: The pointer file names it.
        is_best: The pointer to the best one names it.
        metric: First metric of an evaluation of these weights; None where they were not evaluated.
        kept: Why it is kept: `latest`, `best`, `every`; by nothing where the next save may delete it.
        fault: Why it is not whole, as far as was looked; empty where it is.
    """

    name: CheckpointName
    run_id: str = ""
    files: tuple[File, ...] = ()
    manifest: str = ""
    is_latest: bool = False
    is_best: bool = False
    metric: float | None = None
    kept: tuple[str, ...] = ()
    fault: str = ""

    @property
    def within(self) -> str:
        """Its folder, below the output folder."""
        return f"{FOLDER}/{self.name}"

    @property
    def size_bytes(self) -> int:
        """Of its files."""
        return sum(file.size for file in self.files)


def list_checkpoints(place: Place, *, hashes: bool = False) -> list[CheckpointInfo]:
    """Return the checkpoints below an output folder, the furthest first.

    Args:
        place: The output folder.
        hashes: Read every file and compare; else sizes are compared.

    Raises:
        NotFoundError: There is no such folder.
        VolumeError: The place refuses.
    """
    there: dict[CheckpointName, set[str]] = defaultdict(set)
    plain = set()
    for answer in place.lines("walk", {"under": FOLDER}):
        below = answer["path"].removeprefix(f"{FOLDER}/")
        folder, _, file = below.partition("/")
        name = parse_checkpoint_name(folder)
        if name is not None and file:
            there[name].add(file)
        elif not file:
            plain.add(answer["path"])
    pointers = [path.as_posix() for path in (_LAYOUT.pointer, _LAYOUT.best_pointer)]
    wanted = [path for path in pointers if path in plain]
    wanted += [f"{FOLDER}/{name}/{MANIFEST}" for name, files in there.items() if MANIFEST in files]
    texts = (
        {line["path"]: line.get("text") or "" for line in place.lines("read", {"files": wanted})}
        if wanted
        else {}
    )
    latest, best = (parse_checkpoint_name(texts.get(path, "").strip()) for path in pointers)
    found, manifests = [], {}
    for name in sorted(there, key=lambda name: (name.step, name.epoch), reverse=True):
        item, manifest = _read(name, texts.get(f"{FOLDER}/{name}/{MANIFEST}"), latest=latest, best=best)
        found.append(item)
        if manifest is not None:
            manifests[name] = manifest
    if manifests:
        # The run's latest save says what the run keeps now.
        newest = manifests.get(latest) if latest is not None else None
        keep = (newest or next(iter(manifests.values()))).keep
        why = explain_kept(manifests, keep, latest=latest, best=best)
        found = [replace(item, kept=why.get(item.name, ())) for item in found]
    return [_stat(place, item, hashes=hashes) for item in found]


def choose_checkpoint(found: list[CheckpointInfo], text: str) -> CheckpointInfo:
    """Return the checkpoint that `latest`, `best` or a name such as `e003-s001200` means.

    Raises:
        NotFoundError: There is none.
    """
    if text == "latest":
        chosen = [item for item in found if item.is_latest] or [item for item in found if not item.fault]
    else:
        chosen = [item for item in found if (item.is_best if text == "best" else str(item.name) == text)]
    if not chosen:
        names = ", ".join(str(item.name) for item in found) or "none"
        raise NotFoundError(where=f"checkpoint {text!r}", expected=f"one of {names}")
    return chosen[0]


def _read(
    name: CheckpointName, text: str | None, *, latest: CheckpointName | None, best: CheckpointName | None
) -> tuple[CheckpointInfo, Manifest | None]:
    listed = CheckpointInfo(name=name, is_latest=name == latest, is_best=name == best)
    if text is None:
        return replace(listed, fault="no manifest"), None
    try:
        manifest = decode(Manifest, text, where=MANIFEST)
        files = _files_of(manifest)
    except FormatError as error:
        return replace(listed, fault=str(error)), None
    listed = replace(listed, run_id=manifest.run_id, files=files, manifest=text, metric=manifest.metric)
    return listed, manifest


def _files_of(manifest: Manifest) -> tuple[File, ...]:
    for path, saved in manifest.files.items():
        if not is_checkpoint_file(path):
            # It would come to the folder that somebody works in, under this name.
            raise FormatError(
                where=f"{MANIFEST}: files", expected="names of a checkpoint's files", got=shown(path)
            )
        if not _SHA256.fullmatch(saved.sha256):
            where = f"{MANIFEST}: files.{path}.sha256"
            raise FormatError(where=where, expected="64 digits", got=shown(saved.sha256))
    return tuple(
        File(path=path, size=saved.size, sha256=saved.sha256) for path, saved in manifest.files.items()
    )


def _stat(place: Place, item: CheckpointInfo, *, hashes: bool) -> CheckpointInfo:
    if item.fault:
        return item
    request = {"files": [file.path for file in item.files], "hashes": hashes}
    there = list(place.lines("stat", request, within=item.within))
    if not hashes:
        known = {file.path: file.sha256 for file in item.files}
        there = [{**answer, "sha256": known[answer["path"]]} for answer in there]
    deltas = find_deltas(iter(there), item.files)
    fault = ", ".join(f"{delta.file.path} is not what the manifest says" for delta in deltas)
    return replace(item, fault=fault)
