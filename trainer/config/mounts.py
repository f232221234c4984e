"""What stands for the mounts of `Launch` where nothing is mounted: a `trainer` that a person calls by hand.

A config names its files by their paths in a pod. In a pod they are mounted there, and a local job is told by
its backend what stands for them (`FTL_PATH_MAP`). Without either, the folders `local` of the same volumes
stand for them, as they do in a local job, wherever the mount itself is not there.

The section is the launcher's, which checks it; here whatever has another form is passed over. Must not:
change anything.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trainer.config.document import Document
from trainer.config.paths import find_paths
from trainer.config.problems import KeyPath
from trainer.protocol.environment import WORKSPACE
from trainer.protocol.lastrun import JOB_MARK, find_last_run
from trainer.protocol.pathmap import PathMap

_SECTION = "Launch"
_DEFAULT_OUTPUT = "./output/"  # of GlobalSection


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """One mount of `Launch`.

    Attributes:
        key: Where it is written.
        path: In a pod, normalised.
        local: File or folder of this machine, relative to the working directory; None where none is named.
        sub_path: Folder inside it, or empty; `{job}` stands for the name of the run.
    """

    key: KeyPath
    path: str
    local: Path | None
    sub_path: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class MountsHere:
    """What stands for mounts on this machine.

    Attributes:
        path_map: Mount -> folder.
        notes: What a person should know of that, a line each.
        run_folder: Folder of the run that begins on the volume of the output, where that has a folder a run;
            else None.
        sub_path: Of that volume.
    """

    path_map: PathMap = field(default_factory=PathMap)
    notes: tuple[str, ...] = ()
    run_folder: Path | None = None
    sub_path: str = ""


def find_mounts(document: Document, base: Path) -> list[Mount]:
    """Return the mounts of `Launch`: volumes, weights, secrets; `local` counts from `base`."""
    launch = document.values.get(_SECTION)
    if not isinstance(launch, dict):
        return []
    found = []
    for key, item, name in (
        *_items(launch, "volumes", "mount"),
        (("weights",), launch.get("weights"), "path"),
        *_items(launch, "secrets", "mount"),
    ):
        if not isinstance(item, dict) or not isinstance(path := item.get(name), str):
            continue
        local, sub_path = item.get("local"), item.get("sub_path")
        found.append(
            Mount(
                key=(_SECTION, *key),
                path=posixpath.normpath(path),
                local=base / Path(local).expanduser() if isinstance(local, str) and local else None,
                sub_path=sub_path if isinstance(sub_path, str) else "",
            )
        )
    return found


def _items(launch: dict[str, object], key: str, name: str) -> Iterator[tuple[KeyPath, object, str]]:
    listed = launch.get(key)
    for index, item in enumerate(listed if isinstance(listed, list) else ()):
        yield (key, index), item, name


def find_mounts_here(
    document: Document, *, new_run: str | None = None, base: Path | None = None
) -> MountsHere:
    """Find what stands for the mounts of a config on this machine.

    Args:
        document: The config, as it was written and typed.
        new_run: Name of the run that begins, which a volume with a folder a run gets a new folder for; None
            for a command that reads: the newest run's.
        base: What `local` and relative paths of the config count from; None for the working directory.
    """
    used = _used_paths(document)
    prefixes: dict[str, str] = {}
    notes: list[str] = []
    said: list[str] = []
    run_folder, own_sub_path = None, ""
    for mount in find_mounts(document, base or Path()):
        below = [path for path in used if path == mount.path or path.startswith(mount.path + "/")]
        is_weights = mount.key[-1] == "weights"
        there = Path(mount.path).exists()
        if mount.local is None:
            if not there and below and not mount.path.startswith(WORKSPACE + "/"):
                message = f"{mount.path} is not here, and nothing stands for it; add `local: FOLDER`"
                notes.append(str(document.problem(mount.key, message, warning=True)))
            continue
        if there:
            if (below or is_weights) and mount.local.exists() and not mount.local.samefile(mount.path):
                message = f"{mount.path} is on this machine and is used; `local: {mount.local}` is not"
                notes.append(str(document.problem(mount.key, message, warning=True)))
            continue
        folder = _folder(mount, new_run)
        prefixes[mount.path] = str(folder)
        if new_run is not None and JOB_MARK in mount.sub_path:
            run_folder, own_sub_path = folder, mount.sub_path
        if is_weights or any(_differs(used[path], PathMap({mount.path: str(folder)})) for path in below):
            said.append(f"{folder if folder.exists() or new_run else mount.local} for {mount.path}")
    if said:
        notes.insert(0, f"{document.name}: note: on this machine {', '.join(said)} (`local` of Launch)")
    return MountsHere(
        path_map=PathMap(prefixes), notes=tuple(notes), run_folder=run_folder, sub_path=own_sub_path
    )


def _folder(mount: Mount, new_run: str | None) -> Path:
    assert mount.local is not None
    if JOB_MARK not in mount.sub_path:
        return mount.local / mount.sub_path
    if new_run is not None:
        return mount.local / mount.sub_path.replace(JOB_MARK, new_run)
    return find_last_run(mount.local, mount.sub_path)


def _used_paths(document: Document) -> dict[str, str]:
    """Return the paths of a config: as in the pod, and as they are written."""
    run = document.values.get("Global")
    written = dict(find_paths(document.values))
    if isinstance(run, dict):
        written.setdefault(("Global", "output_dir"), _DEFAULT_OUTPUT)
    return {posixpath.normpath(posixpath.join(WORKSPACE, path)): path for path in written.values()}


def _differs(path: str, path_map: PathMap) -> bool:
    return posixpath.normpath(path_map.apply(path)) != posixpath.normpath(path)
