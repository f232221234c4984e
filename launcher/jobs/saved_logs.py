"""Logs that node processes have written into a job's output folder: fetched, where nothing else has them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from launcher.errors import LaunchError, NotFoundError
from launcher.jobs.checkpoints import open_output
from launcher.jobs.notes import Note, Notes
from launcher.jobs.resolve import ResolvedJob
from launcher.logs.gaps import Filling, LogGap, choose_filling, describe_missing
from launcher.logs.log_filter import LogFilter
from launcher.logs.saved import SavedFile
from launcher.times import STAMP_BYTES, parse_instant
from launcher.volumes import transfer
from launcher.volumes.place import Folder, Place, VolumeError
from trainer.protocol.log_files import FILES, LOGS, LogFileName, parse_name, short_run
from trainer.protocol.runfile import FOLDER

FETCHED = "saved-logs"
"""Folder in the run folder of what was fetched."""
_TRIES = 4
_FRESH_S, _BEHIND_S = 5.0, 1.0
_ANSWER_WITHIN_S = 60.0
_SKEW_NS = 50_000_000
"""A node process stamps a line so much earlier than the container's runtime does, at most; in less no node
can have written as much as is rotated away."""
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
    under, found = _find(place, run_id)
    return _pull(place, under, choose_files(found, log_filter), to) if found else []


def _find(place: Place, run_id: str) -> tuple[str, list[LogFileName]]:
    """Return the folder of a run's files in a place, and the files; none where there are none."""
    # A run that has taken the folder since has put this one's files aside.
    for state in (FOLDER, f"{FOLDER}-{short_run(run_id)}"):
        under = f"{state}/{LOGS}"
        paths = [line["path"] for line in place.lines("walk", {"under": under})]
        names = [parse_name(path.rpartition("/")[2]) for path in paths]
        found = sorted(name for name in names if name is not None and name.is_of(run_id))
        if found:
            return under, found
    return "", []


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


class KeptLogs:
    """Fills in what pods' logs have lost from a job's output folder. A `GapFiller`.

    One look at the folder serves all pods whose logs begin late, and a file is fetched only where its name
    tells that it has earlier lines.
    """

    def __init__(
        self, job: ResolvedJob, *, output_dir: str, notes: Notes, sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic, within_s: float = _ANSWER_WITHIN_S,
    ) -> None:  # fmt: skip
        """Reach nothing yet.

        Args:
            job: Which.
            output_dir: Its output folder, as the pods name it.
            notes: Told once where lines come from, and why they cannot be had; from another thread.
            sleep: Waits some seconds, while the node process writes what is newest.
            clock: Gives seconds that only grow.
            within_s: For how long the folder is waited for; after that it is not asked again.
        """
        self._within_s, self._is_silent = within_s, False
        self._job, self._notes, self._sleep, self._clock = job, notes, sleep, clock
        self.where = f"{output_dir.rstrip('/')}/{FOLDER}/{LOGS}"
        self._found: tuple[float, tuple[str, list[LogFileName]]] | None = None
        self._said: set[str] = set()
        self._lock = threading.Lock()

    async def fill(self, gap: LogGap) -> Filling:
        """See `GapFiller`. A thread that hangs ends with the process."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Filling] = loop.create_future()

        def finish(filling: Filling) -> None:
            if not done.done():
                done.set_result(filling)

        def work() -> None:
            filling = self.fill_now(gap)
            with contextlib.suppress(RuntimeError):  # the reading has ended meanwhile
                loop.call_soon_threadsafe(finish, filling)

        if self._is_silent:
            return Filling()
        threading.Thread(target=work, daemon=True, name="kept logs").start()
        try:
            return await asyncio.wait_for(done, self._within_s)
        except asyncio.TimeoutError:
            self._is_silent = True
            self._say(
                f"{self._job.name}: lines that pods no longer have of its log are in {self.where}, which did "
                f"not answer within {self._within_s:g} s; they are missing"
            )
            return Filling()

    def fill_now(self, gap: LogGap) -> Filling:
        """Do the same in this thread."""
        with self._lock:
            try:
                filling, has_any = self._fill(gap)
            except NotFoundError:  # no output folder: nothing was ever kept
                return Filling()
            except (LaunchError, OSError) as error:
                self._say(
                    f"{self._job.name}: lines that pods no longer have of its log are in {self.where}, which "
                    f"cannot be read: {error}"
                )
                return Filling()
            if filling.lines:
                self._say(f"{self._job.name}: what pods no longer have of its log is from {self.where}")
            missing = describe_missing(gap, filling) if has_any else ""
            if not missing:
                return filling
            problem = (
                f"lines {missing} are missing: its node had rotated them away, and {self.where} lacks them"
            )
            return replace(filling, problem=problem)

    def _fill(self, gap: LogGap) -> tuple[Filling, bool]:
        known = None if gap.after else self._found
        if known is not None and self._clock() - known[0] < _FRESH_S and _is_whole(known[1][1], gap):
            return _WHOLE, True
        for tries in reversed(range(_TRIES)):
            with open_output(self._job) as place:
                self._found = (self._clock(), _find(place, self._job.record.run_id))
                under, names = self._found[1]
                own = choose_life(names, gap)
                if _is_whole(names, gap):
                    return _WHOLE, True
                files = _pull(place, under, own, self._job.run_folder / FETCHED) if own else []
            kept = [line for file in files for line in file.lines()]
            filling = choose_filling(kept, gap, is_from_start=_is_from_start(names, own))
            is_behind = not kept or (bool(gap.before) and kept[-1] < gap.before[0])
            if filling.knows_end or not own or not is_behind or not tries:
                return filling, bool(kept)
            self._sleep(_BEHIND_S)
        raise AssertionError("the last try returns")

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._notes(Note(text))


_WHOLE = Filling(knows_start=True, knows_end=True)


def choose_life(names: Sequence[LogFileName], gap: LogGap) -> list[LogFileName]:
    """Return the files of a gap's container that may have its lines, in order.

    A container's life is the first that begins after it: a cluster tells starts in whole seconds.
    """
    of_node = [name for name in names if name.node == gap.container.node]
    life_ns = min((name.life_ns for name in of_node if name.life_ns >= gap.began_ns), default=None)
    own = sorted((name for name in of_node if name.life_ns == life_ns), key=lambda name: name.first_ns)
    if gap.before and (until_ns := parse_instant(gap.before[0][:STAMP_BYTES])) is not None:
        own = [name for name in own if name.first_ns <= until_ns]
    if gap.after and (from_ns := parse_instant(gap.after[0][:STAMP_BYTES])) is not None:
        earlier = [name for name in own if name.first_ns <= from_ns - _SKEW_NS]
        own = own[max(0, len(earlier) - 1) :]
    return own


def _is_whole(names: Sequence[LogFileName], gap: LogGap) -> bool:
    """Say whether nothing of before a log's first line was kept, by the files' names."""
    stamp_ns = parse_instant(gap.before[0][:STAMP_BYTES]) if gap.before and not gap.after else None
    own = choose_life(names, replace(gap, before=()))
    return stamp_ns is not None and bool(own) and own[0].first_ns >= stamp_ns - _SKEW_NS


def _is_from_start(names: Sequence[LogFileName], own: Sequence[LogFileName]) -> bool:
    """Say whether the first of a life's files is the first that was written: the oldest of many goes."""
    if not own or own[0].begins_life:
        return bool(own)
    of_node = [name for name in names if name.node == own[0].node]
    return len(of_node) < FILES or min(of_node, key=lambda name: name.first_ns) != own[0]
