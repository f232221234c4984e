"""Sends what a job has measured to trackers: of a job that has ended, or so far of one that goes on.

By the processes that the job's own first pod would start (`trainer.trackers`), from here. What is not on this
machine is fetched before, as `report` fetches it: through the job's first pod, else through a pod that mounts
its volumes. Rows are kept in the run folder, so that the next time only new ones come. How far each target
got lies beside the output where that is here, so that the job and this go on from one place; else in the run
folder, where the job's own place is taken over where that is further.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from launcher.backends.states import JobState
from launcher.errors import LaunchError, NotFoundError, UsageError
from launcher.jobs.metrics import METRICS, load_job_file, output_here
from launcher.jobs.notes import Note, Notes, Progress, ignore, no_progress
from launcher.jobs.outcome import read_outcome
from launcher.processes import kill_tree
from launcher.runs.gitstate import describe_git
from launcher.volumes.place import Place, VolumeError
from trainer.protocol.codec import FormatError, decode, encode
from trainer.protocol.environment import CODE, NODE_FILE, PATH_MAP, WORKSPACE
from trainer.protocol.file_locks import try_hold
from trainer.protocol.nodefile import parse_node_file
from trainer.protocol.pathmap import PathMap
from trainer.protocol.python_command import python_command
from trainer.protocol.reportfile import PAGE
from trainer.protocol.runfile import FOLDER as PROTOCOL
from trainer.protocol.safe_files import make_folders, open_append, read_file, replace_file
from trainer.protocol.tracking import (
    BUILT_IN,
    CREDENTIALS,
    DESCRIPTION,
    FILE_TRACKERS,
    FOLDER,
    MAX_LINE,
    MODULE,
    Ending,
    Request,
    State,
    Target,
    Told,
)
from trainer.protocol.untrusted import parse_object

if TYPE_CHECKING:
    from launcher.jobs.resolve import ResolvedJob

PATIENCE_S = 600.0
_FOR_EVER_S = 1e6
_LIVES = 3
_MAX_CURSOR = 1 << 20
_PIECE = 1 << 16
_MAX_RUN_FILE = 1 << 20
_STATES: Mapping[str, State] = {
    JobState.SUCCEEDED.value: "finished", JobState.FAILED.value: "failed", JobState.LOST.value: "failed",
    JobState.CANCELLED.value: "stopped",
}  # fmt: skip


class TrackError(LaunchError):
    """Rows could not be sent, or not all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracked:
    """What came of one target.

    Attributes:
        target: Which.
        place: Where people see the run; empty where that is not known.
        rows: That were sent now.
        left: That are there and were not sent.
        problem: Why not; empty where all were.
    """

    target: Target
    place: str = ""
    rows: int = 0
    left: int = 0
    problem: str = ""


def own_targets(job: ResolvedJob) -> tuple[Target, ...]:
    """Return where a job sends its rows by itself (`Launch.track`)."""
    from launcher.render.manifest import parse_manifest  # with it comes YAML

    manifest = parse_manifest(job.store.read_manifest(job.name))
    track = parse_node_file(manifest.config_map["data"][NODE_FILE]).track
    return track.targets if track is not None else ()


def choose_targets(
    job: ResolvedJob, trackers: Sequence[str] = (), settings: Mapping[str, str] | None = None
) -> tuple[Target, ...]:
    """Return where rows are to go.

    Args:
        job: Whose.
        trackers: Their names; none for those of the job.
        settings: Of the one tracker. Without any, a tracker has those that the job has for it.

    Raises:
        UsageError: There is none, or settings for several.
    """
    own, given = own_targets(job), dict(settings or {})
    if not trackers:
        if given:
            raise UsageError(where="track", expected="--to beside settings", got="none")
        if not own:
            raise UsageError(
                where=job.name, expected="--to NAME, or a job with Launch.track",
                got=f"neither; use one of {', '.join(BUILT_IN)}",
            )  # fmt: skip
        return own
    names = list(dict.fromkeys(trackers))
    if given and len(names) > 1:
        raise UsageError(where="track", expected="one --to beside settings", got=", ".join(names))
    found: list[Target] = []
    for name in names:
        of_job = [target for target in own if target.tracker == name]
        found += of_job if of_job and not given else [Target(tracker=name, settings=given)]
    return tuple(found)


def track_job(
    job: ResolvedJob, trackers: Sequence[str] = (), settings: Mapping[str, str] | None = None, *,
    patience_s: float = PATIENCE_S, progress: Progress = no_progress, notes: Notes = ignore,
) -> tuple[Tracked, ...]:  # fmt: skip
    """Send what a job has measured to trackers; what is there already is not sent again.

    Args:
        job: Which.
        trackers: Their names; none for those of the job.
        settings: Of the one tracker, see `choose_targets`.
        patience_s: Give a target up after so long without a row that was taken.
        progress: Told of bytes, of what is fetched and of what is sent.
        notes: Told how it goes.

    Raises:
        NotFoundError: The job has measured nothing yet.
        UsageError: There is no target, or the job itself sends there meanwhile.
        VolumeError: Its output cannot be read.
    """
    targets = choose_targets(job, trackers, settings)
    ending, is_over = _ending_of(job)
    if not is_over:
        own = {target.key for target in own_targets(job)}
        busy = [target.title for target in targets if target.key in own]
        if busy:
            raise UsageError(
                where=job.name, expected="another tracker while the job runs",
                got=f"{', '.join(busy)}, to which it sends its rows itself",
            )  # fmt: skip
    output = output_here(job.run_folder)
    state = job.run_folder / FOLDER
    if output is None:
        output = state / "output"
        make_folders(output / PROTOCOL / FOLDER, root=job.run_folder)
        _fetch(job, output, targets, progress=progress)
    else:
        state = output / PROTOCOL / FOLDER
    until = _whole_lines(output / METRICS)
    if not until:
        raise NotFoundError(
            where=job.name, expected="a job that has measured something",
            got="no row in its metrics.jsonl yet", fix=f"`ftlaunch status {job.name}` says how far it is",
        )  # fmt: skip
    return tuple(
        _send(
            Request(
                target=_here(target, job, is_own=output_here(job.run_folder) is not None), job=job.name,
                run_id=job.record.run_id, output_dir=str(output), state_dir=str(state), ending=ending,
                facts=describe_git(_git_of(job)), until=until,
            ),
            patience_s=patience_s, progress=progress, notes=notes,
        )
        for target in targets
    )  # fmt: skip


def _here(target: Target, job: ResolvedJob, *, is_own: bool) -> Target:
    """Return a target as it is reached from here: without the pod's files, and with a folder of this machine.

    Of a job in a pod, trackers of files get a folder beside where the caller stands.
    """
    settings = {name: text for name, text in target.settings.items() if name != CREDENTIALS}
    if target.tracker in FILE_TRACKERS:
        of_job = target in own_targets(job)
        if of_job and is_own and settings.get("uri"):  # as the pod names it
            settings["uri"] = _path_map(job).apply(settings["uri"])
        if of_job and not is_own:
            settings.pop("uri", None)
        if not of_job or not is_own:
            settings["uri"] = str(Path(settings.get("uri") or target.tracker).absolute())
    return replace(target, settings=settings)


def _path_map(job: ResolvedJob) -> PathMap:
    file = load_job_file(job.run_folder)
    return PathMap(
        {WORKSPACE: file.workdir, **file.folders} if file is not None else {}, counts_relative=True
    )


def _ending_of(job: ResolvedJob) -> tuple[Ending, bool]:
    """Return how a job stands for its trackers, and whether it is over."""
    try:
        status = job.backend.status(job.handle)
    except NotFoundError:
        noted = read_outcome(job.run_folder)
        word, reason = (noted.state if noted is not None else ""), ""
    else:
        word = status.state.value
        reason = status.termination.reason if status.termination is not None else status.reason
    state = _STATES.get(word, "running" if word else "finished")
    return Ending(state=state, reason=reason, within_s=_FOR_EVER_S), state != "running"


def _git_of(job: ResolvedJob) -> dict[str, object] | None:
    with contextlib.suppress(OSError, FormatError):
        return dict(
            parse_object(read_file(job.run_folder / "git.json", max_bytes=_MAX_CURSOR), where="git.json")
        )
    return None


# Fetching.


def _fetch(job: ResolvedJob, output: Path, targets: Sequence[Target], *, progress: Progress) -> None:
    """Bring rows, description, report and the job's own cursors here."""
    from launcher.jobs.checkpoints import open_output

    cursors = [f"{PROTOCOL}/{FOLDER}/{target.key}.json" for target in targets]
    small = [f"{PROTOCOL}/run.json", f"{PROTOCOL}/{DESCRIPTION}", *cursors]
    with open_output(job) as place:
        texts = {line["path"]: line.get("text") or "" for line in place.lines("read", {"files": small})}
        _require_run(job, texts.get(small[0], ""))
        if small[1] in texts:
            replace_file(output / small[1], texts[small[1]].encode(), root=output)
        for path in cursors:
            if path in texts:
                _take_over(job.run_folder / FOLDER / Path(path).name, texts[path])
        sizes = {
            line["path"]: line["size"]
            for line in place.lines("stat", {"files": [METRICS, PAGE], "hashes": False})
            if line.get("size") is not None
        }
        have = _size(output / METRICS)
        if have > sizes.get(METRICS, 0):  # not that file any more
            (output / METRICS).unlink()
            have = 0
        offsets = {name: have if name == METRICS else 0 for name in sizes}
        if offsets:
            (output / PAGE).unlink(missing_ok=True)
            try:
                with progress(sum(sizes[name] - offsets[name] for name in offsets)) as tell:
                    _receive(place, offsets, output, tell)
            except (tarfile.TarError, OSError) as error:
                raise VolumeError(
                    where=place.title, expected="the rows of the run", got=str(error)
                ) from error


def _require_run(job: ResolvedJob, text: str) -> None:
    try:
        found = parse_object(text or "{}", where="run.json", max_bytes=_MAX_RUN_FILE).get("run_id")
    except FormatError:
        found = None
    if found not in (None, job.record.run_id):
        raise NotFoundError(
            where=job.name, expected="the output of this run",
            got=f"that of run {found}, which has taken the folder since",
        )  # fmt: skip


def _take_over(path: Path, text: str) -> None:
    """Keep the job's own cursor where it is further than the one that is here."""
    try:
        theirs = parse_object(text, where=path.name, max_bytes=_MAX_CURSOR)
    except FormatError:
        return
    ours: Mapping[str, object] = {}
    with contextlib.suppress(OSError, FormatError):
        ours = parse_object(read_file(path, max_bytes=_MAX_CURSOR), where=path.name)
    at, mine = theirs.get("offset"), ours.get("offset")
    if isinstance(at, int) and (not isinstance(mine, int) or at > mine):
        replace_file(path, text.encode())


def _receive(place: Place, offsets: Mapping[str, int], output: Path, tell: Callable[[int], None]) -> None:
    """Append what is new of files, each from its offset on."""
    files = [[name, offset] for name, offset in offsets.items()]
    with (
        place.ask("send", {"files": files}) as channel,
        tarfile.open(fileobj=channel.stdout, mode="r|") as archive,
    ):
        for member in archive:
            content = archive.extractfile(member) if member.isreg() and member.name in offsets else None
            if content is None:
                raise VolumeError(where=place.title, expected="files that were asked for", got=member.name)
            with open_append(output / member.name, root=output) as file:
                while piece := content.read(_PIECE):
                    file.write(piece)
                    tell(len(piece))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _whole_lines(path: Path) -> int:
    """Return the bytes up to the end of the last whole line."""
    size = _size(path)
    if not size:
        return 0
    with path.open("rb") as file:
        end = size
        while end > 0:
            start = max(0, end - _PIECE)
            file.seek(start)
            at = file.read(end - start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
    return 0


# Sending.


def _send(request: Request, *, patience_s: float, progress: Progress, notes: Notes) -> Tracked:
    folder = Path(request.state_dir)
    make_folders(folder, root=folder.parent)
    held = try_hold(folder / f"{request.target.key}.lock")
    if held is None:
        raise UsageError(
            where=request.target.title, expected="one `ftlaunch track` at a time", got="another one that runs"
        )
    try:
        with progress(request.until or 0) as tell:
            sender = _Sender(request, patience_s=patience_s, tell=tell, notes=notes)
            for _ in range(_LIVES):
                if sender.run():
                    break
        return sender.result()
    finally:
        held.close()


class _Sender:
    """Runs a sending process, and hears it."""

    def __init__(
        self, request: Request, *, patience_s: float, tell: Callable[[int], None], notes: Notes
    ) -> None:
        self._request, self._patience_s, self._tell, self._notes = request, patience_s, tell, notes
        self._done = self._rows = 0
        self._place = self._problem = self._last = ""
        self._left: int | None = None
        self._timer: threading.Timer | None = None

    def run(self) -> bool:
        """Start a process and hear it to its end; returns whether that was in order."""
        environ = {name: text for name, text in os.environ.items() if name not in (CODE, PATH_MAP)}
        process = subprocess.Popen(
            python_command(MODULE), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environ, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        rows, is_through = self._rows, False
        try:
            self._watch(process)
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(encode(self._request)).encode() + b"\n")
                process.stdin.flush()
            for told in _read(process.stdout):
                is_through = self._hear(told, rows) or is_through
                if told.event == "sent":
                    self._watch(process)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            kill_tree(process)
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()
        return is_through or bool(self._problem)

    def result(self) -> Tracked:
        """Return what came of it."""
        left, problem = self._left, self._problem
        if left is None:
            left = _count_lines(
                Path(self._request.output_dir) / METRICS, self._done, self._request.until or 0
            )
            problem = problem or self._last or "its process ended before its time"
        return Tracked(
            target=self._request.target, place=self._place, rows=self._rows, left=left,
            problem=problem if left or self._problem else "",
        )  # fmt: skip

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(self._patience_s, self._give_up, (process,))
        self._timer.daemon = True
        self._timer.start()

    def _give_up(self, process: subprocess.Popen[bytes]) -> None:
        self._problem = self._last or f"no row was taken for {self._patience_s:g} s"
        with contextlib.suppress(OSError):
            process.kill()

    def _hear(self, told: Told, before: int) -> bool:
        title = self._request.target.title
        if told.event == "sent":
            self._tell(max(0, told.done - self._done))
            self._done, self._rows = max(self._done, told.done), before + told.rows
            self._place = told.place or self._place
        elif told.event == "refused":
            self._problem = told.text
        elif told.event == "ended":
            self._left, self._place = told.left, told.place or self._place
            return True
        else:
            self._last = told.text if told.event == "failed" else ""
            self._notes(Note(f"{title}: {told.text}", "note"))
        return False


def _read(stdout: IO[bytes]) -> Iterator[Told]:
    for line in stdout:
        with contextlib.suppress(FormatError):  # of Python itself, before the program has its output
            yield decode(Told, line, where="tracker", max_bytes=MAX_LINE)


def _count_lines(path: Path, start: int, end: int) -> int:
    found = 0
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(start)
        while start < end and (piece := file.read(min(_PIECE, end - start))):
            found += piece.count(b"\n")
            start += len(piece)
    return found
