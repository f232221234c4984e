"""Runs that each have a folder of their own beside each other, and the link `latest` to the newest of them.

    output/
      flowers-a3f9k/      a run, or a job, by its name
      flowers-q7w2m/
      latest -> flowers-q7w2m

`Launch.volumes[].sub_path` says so by `{job}`; see docs/config.md.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from trainer.protocol.codec import FormatError
from trainer.protocol.runfile import FOLDER, load_run_file

JOB_MARK = "{job}"
"""What stands for the job's name in a `sub_path`."""
LATEST = "latest"


def split_sub_path(sub_path: str) -> tuple[str, str, str]:
    """Return what stands before the part of a `sub_path` with the job's name, that part, and the rest."""
    parts = sub_path.split("/")
    at = next(index for index, part in enumerate(parts) if JOB_MARK in part)
    return "/".join(parts[:at]), parts[at], "/".join(parts[at + 1 :])


def find_last_run(folder: Path, sub_path: str) -> Path:
    """Return the folder of the newest run; that which `latest` would lead to where there is no run yet.

    Args:
        folder: That stands for the volume.
        sub_path: Of the volume, with `{job}` in it.
    """
    before, _, rest = split_sub_path(sub_path)
    return (newest_below(folder / before) or folder / before / LATEST) / rest


def newest_below(folder: Path) -> Path | None:
    """Return the folder of the newest run directly below a folder; None where there is none.

    That is what `latest` leads to; where that leads nowhere, because the run was deleted, the newest by the
    time at which its state was last written.
    """
    with contextlib.suppress(OSError):
        named = str((folder / LATEST).readlink())
        if Path(named).name == named and (folder / named).is_dir():
            return folder / named
    found: list[tuple[float, Path]] = []
    with contextlib.suppress(OSError):
        for entry in folder.iterdir():
            if entry.name.startswith(".") or entry.is_symlink() or not entry.is_dir():
                continue
            state = entry / FOLDER / "run.json"
            with contextlib.suppress(OSError):
                found.append(((state if state.exists() else entry).stat().st_mtime, entry))
    return max(found)[1] if found else None


def newest_run(output_dir: Path) -> Path:
    """Return the folder of the newest run in an output folder: itself, or one that a later job got in it.

    A job that finds its output folder filled by another run gets a folder of its name there.
    """
    below = newest_below(output_dir)
    own = _begun_s(output_dir)
    if below is None or (own is not None and own >= (_begun_s(below) or 0.0)):
        return output_dir
    return below


def runs_beside(run: Path) -> list[Path]:
    """Return the folders of the other runs that stand beside a run or directly below it, the newest first."""
    found: list[tuple[float, Path]] = []
    for folder in (run, run.parent):
        with contextlib.suppress(OSError):
            for entry in folder.iterdir():
                begun_s = None if entry.is_symlink() or entry == run else _begun_s(entry)
                if begun_s is not None:
                    found.append((begun_s, entry))
    return [entry for _, entry in sorted(found, reverse=True)]


def _begun_s(folder: Path) -> float | None:
    try:
        run = load_run_file(folder)
    except (FormatError, OSError):
        return None
    return run.first_start_s if run is not None else None


def point_latest(run: Path, sub_path: str = JOB_MARK) -> str | None:
    """Have `latest` lead to the folder of a run.

    Args:
        run: Folder of the run; the last parts of it are those of `sub_path`.
        sub_path: With `{job}` in it, as in the config; its part with the mark is what `latest` stands beside.

    Returns:
        None, or why there is no such link, for a person: something else has that name, or the file system
        knows no links. Nothing depends on it.
    """
    _, _, rest = split_sub_path(sub_path)
    for _ in Path(rest).parts:
        run = run.parent
    link = run.parent / LATEST
    partial = run.parent / f".{LATEST}-{run.name}"
    try:
        if link.exists() and not link.is_symlink():
            return (
                f"{link}: expected a link to the newest run, got something of yours, which is left as it is"
            )
        partial.unlink(missing_ok=True)
        partial.symlink_to(run.name)
        partial.replace(link)  # a link that stands there is replaced itself, never what it leads to
    except OSError as error:
        return f"{link}: no link to the newest run: {error.strerror or error}"
    return None
