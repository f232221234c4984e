"""Logs that node processes have written into a job's output folder: fetched, where nothing else has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launcher.errors import LaunchError, NotFoundError
from launcher.jobs.checkpoints import open_output
from launcher.jobs.notes import Note, Notes
from launcher.jobs.resolve import ResolvedJob
from launcher.logs.log_filter import LogFilter
from launcher.logs.saved import SavedFile
from launcher.volumes import transfer
from launcher.volumes.place import Folder, Place, VolumeError
from trainer.protocol.log_files import LOGS, LogFileName, parse_name, short_run
from trainer.protocol.runfile import FOLDER

FETCHED = "saved-logs"
"""Folder in the run folder of what was fetched."""
_TRIES = 4
_TAIL_FILES = 2
"""Of each node where only the last lines are wanted; a file that was just begun has none yet."""


def fetch_saved(
    job: ResolvedJob, *, output_dir: str, log_filter: LogFilter, is_gone: bool, notes: Notes,
    here: Path | None = None,
) -> list[SavedFile]:  # fmt: skip
    """Return what was saved of a job's log, fetched to this machine; what cannot be had is said.

    Args:
        job: Which.
        output_dir: Its output folder, as the pods name it.
        log_filter: What is wanted: of files that hold none of it, none is fetched.
        is_gone: No pod is left to be asked.
        notes: Told where lines come from.
        here: The output folder, where it is one of this machine and the backend does not know it any more.
    """
    run_id = job.record.run_id
    where = f"{output_dir.rstrip('/')}/{FOLDER}/{LOGS}"
    try:
        if here is not None:
            files = _fetch(Folder(here), job.run_folder / FETCHED, run_id=run_id, log_filter=log_filter)
        else:
            with open_output(job) as place:
                files = _fetch(place, job.run_folder / FETCHED, run_id=run_id, log_filter=log_filter)
    except NotFoundError:
        return []  # no output folder: nothing was ever kept
    except (LaunchError, OSError) as error:
        notes(Note(f"{job.name}: what its nodes kept of their log in {where} cannot be read: {error}"))
        return []
    if files:
        what = "its pods are gone; these lines are" if is_gone else "what pods no longer have of its log is"
        notes(Note(f"{job.name}: {what} from {where}"))
    return files


def _fetch(place: Place, to: Path, *, run_id: str, log_filter: LogFilter) -> list[SavedFile]:
    # A run that has taken the folder since has put this one's files aside.
    for state in (FOLDER, f"{FOLDER}-{short_run(run_id)}"):
        under = f"{state}/{LOGS}"
        paths = [line["path"] for line in place.lines("walk", {"under": under})]
        names = [parse_name(path.rpartition("/")[2]) for path in paths]
        found = sorted(name for name in names if name is not None and name.is_of(run_id))
        if found:
            return _pull(place, under, choose_files(found, log_filter), to)
    return []


def choose_files(names: Sequence[LogFileName], log_filter: LogFilter) -> list[LogFileName]:
    """Return the files that may hold what is wanted.

    Args:
        names: In order.
        log_filter: Ranks are not looked at, since only tags tell of which node they are.
    """
    found: list[LogFileName] = []
    is_tail = log_filter.tail is not None and log_filter.ranks is None and log_filter.pattern is None
    for node in sorted({name.node for name in names}):
        if log_filter.nodes is not None and node not in log_filter.nodes:
            continue
        own = sorted((name for name in names if name.node == node), key=lambda name: name.first_ns)
        ends = [*(name.first_ns for name in own[1:]), None]
        own = [
            name for name, end in zip(own, ends, strict=True)
            if end is None or end > log_filter.since_ns
        ]  # fmt: skip
        found += own[-_TAIL_FILES:] if is_tail and log_filter.attempt is None else own
    return found


def _pull(place: Place, under: str, names: Sequence[LogFileName], to: Path) -> list[SavedFile]:
    left = list(names)
    for tries in reversed(range(_TRIES)):
        request = {"files": [f"{under}/{name}" for name in left], "hashes": True}
        there = {line["path"]: line for line in place.lines("stat", request) if "sha256" in line}
        left = [name for name in left if f"{under}/{name}" in there]  # the oldest goes when one begins
        files = [
            transfer.File(path=str(name), size=line["size"], sha256=line["sha256"])
            for name in left
            if (line := there[f"{under}/{name}"])
        ]
        try:
            transfer.pull(place, files, within=under, to=to)
            break
        except VolumeError:  # it grows, of a node that is still at work
            if not tries:
                raise
    return [SavedFile(name=name, path=to / str(name)) for name in left]
