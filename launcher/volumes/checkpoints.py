"""Checkpoints of a run, read from outside: what there is, whether it is whole, where its files lie.

The layout is the trainer's (`trainer.protocol.layout`). What a manifest lists is all that is trusted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher.errors import NotFoundError
from launcher.volumes.place import Place, VolumeError
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
_LOOKS = 3


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


def list_checkpoints(place: Place) -> list[CheckpointInfo]:
    """Return the checkpoints below an output folder, the furthest first; sizes are compared, hashes are not.

    Raises:
        NotFoundError: There is no such folder.
        VolumeError: The place refuses.
    """
    seen = _look(place)
    for _ in range(_LOOKS - 1):
        if not seen.lost and not any(item.fault for item in seen.found):
            break
        # A job that saves meanwhile deletes as well: what stays so is a fault.
        before, seen = seen, _look(place)
        if seen == before:
            break
    return seen.found


def verify_checkpoints(place: Place, text: str | None = None) -> list[CheckpointInfo]:
    """Return checkpoints whose files were read, every one, and compared with their manifests.

    Args:
        place: The output folder.
        text: Which one, as for `choose_checkpoint`; None for all.

    Raises:
        NotFoundError: There is no such folder, or no such checkpoint.
        VolumeError: The place refuses, or the job deletes each before it is read.
    """

    def look() -> list[CheckpointInfo]:
        found = list_checkpoints(place)
        return found if text is None else [choose_checkpoint(found, text)]

    faults: dict[CheckpointName, str] = {}
    asked = look()
    for _ in range(_LOOKS):
        for item in asked:
            if item.name not in faults:
                faults[item.name] = item.fault or _hash(place, item)
        if not any(faults[item.name] for item in asked):
            break
        # Reading takes its time: what the job has deleted meanwhile is not damaged.
        asked = look()
        if all(item.name in faults for item in asked):
            break
    read = [replace(item, fault=faults[item.name]) for item in asked if item.name in faults]
    if asked and not read:
        raise VolumeError(
            where=place.title, expected="a checkpoint that stays while it is read",
            got="a job that saves and deletes faster", fix="keep more of them: Global.keep_latest",
        )  # fmt: skip
    return read


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look has found.

    Attributes:
        found: The checkpoints, the furthest first; sizes are compared.
        lost: What a pointer names and is not among those that are whole.
    """

    found: list[CheckpointInfo]
    lost: tuple[CheckpointName, ...]


def _look(place: Place) -> _Seen:
    there: dict[CheckpointName, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    pointers = {}
    names = tuple(path.as_posix() for path in (_LAYOUT.pointer, _LAYOUT.best_pointer))
    texts = [MANIFEST, *(path.rpartition("/")[2] for path in names)]
    for answer in place.lines("walk", {"under": FOLDER, "texts": texts}):
        below = answer["path"].removeprefix(f"{FOLDER}/")
        folder, _, file = below.partition("/")
        name = parse_checkpoint_name(folder)
        if name is not None and file:
            there[name][file] = answer
        elif answer["path"] in names:
            pointers[answer["path"]] = parse_checkpoint_name((answer.get("text") or "").strip())
    latest, best = (pointers.get(path) for path in names)
    found, manifests = [], {}
    for name in sorted(there, key=lambda name: (name.step, name.epoch), reverse=True):
        text = there[name].get(MANIFEST, {}).get("text")
        item, manifest = _read(name, text, latest=latest, best=best)
        if manifest is not None:
            manifests[name] = manifest
            files = there[name]
            # Of the content nothing is known: it is taken to be right.
            told = [
                {**files.get(file.path, {}), "path": file.path, "sha256": file.sha256} for file in item.files
            ]
            item = replace(item, fault=_compare(told, item.files))
        found.append(item)
    if manifests:
        # The run's latest save says what the run keeps now.
        newest = manifests.get(latest) if latest is not None else None
        keep = (newest or next(iter(manifests.values()))).keep
        why = explain_kept(manifests, keep, latest=latest, best=best)
        found = [replace(item, kept=why.get(item.name, ())) for item in found]
    whole = {item.name for item in found if not item.fault}
    return _Seen(found, tuple(name for name in (latest, best) if name is not None and name not in whole))


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


def _hash(place: Place, item: CheckpointInfo) -> str:
    request = {"files": [file.path for file in item.files], "hashes": True}
    return _compare(place.lines("stat", request, within=item.within), item.files)


def _compare(there: Iterable[Mapping[str, Any]], files: Sequence[File]) -> str:
    """Return the fault that the files of a checkpoint show; empty for none."""
    deltas = find_deltas(iter(there), files)
    return ", ".join(f"{delta.file.path} is not what the manifest says" for delta in deltas)
