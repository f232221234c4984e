"""A job's log: all ranks' lines, merged by time, as they grow or as they were recorded.

Lines go to a function in lists of bytes without newlines, formatted; what is said beside them (what a job
waits for, that it is gone) goes to `notes`.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from launcher.backends.states import JobState, JobStatus, PodState, PodStatus
from launcher.errors import Issue, LaunchError, NotFoundError, UsageError
from launcher.jobs.notes import Note, Notes, ignore
from launcher.jobs.resolve import ResolvedJob
from launcher.jobs.retry import Retry
from launcher.logs.follow import Follower
from launcher.logs.gaps import GapFiller
from launcher.logs.log_filter import LogFilter
from launcher.logs.log_format import Formatter, LogFormat
from launcher.logs.merge import Merger
from launcher.logs.reading import run
from launcher.logs.recording import Recording
from launcher.logs.saved import SavedSource
from launcher.logs.source import FirstNode, Source
from trainer.protocol.codec import FormatError
from trainer.protocol.environment import NODE_FILE
from trainer.protocol.nodefile import NodeFile, parse_node_file

RECORDED = "logs"
"""Folder in the run folder of what was read from a cluster."""
_QUIET_S, _LONGEST_S = 0.7, 5.0

Write = Callable[[list[bytes]], None]
"""Takes lines without their newlines; called without any as a clock, so that a writer can end the reading."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogOptions:
    """Which lines of a log, and in which form.

    Attributes:
        log_filter: Which lines; `from_attempt` is filled in.
        form: How each is written.
        all_attempts: Those of earlier attempts too.
        previous: Of each pod the container before the present one, and nothing else.
        first_node_only: Read no other pod's log than node 0's.
        with_saved: Fetch what nodes kept in the output folder, where no pod has it any more.
    """

    log_filter: LogFilter = field(default_factory=LogFilter)
    form: LogFormat = field(default_factory=LogFormat)
    all_attempts: bool = False
    previous: bool = False
    first_node_only: bool = False
    with_saved: bool = True


_ALL = LogOptions()


def read_logs(
    job: ResolvedJob, options: LogOptions = _ALL, *, write: Write, follow: bool = False, notes: Notes = ignore
) -> JobStatus | None:
    """Hand a job's log to `write`; with `follow` until the job has ended.

    Args:
        job: Which. Of one that is gone, what was recorded of its log is read.
        options: Which lines, and in which form.
        write: Takes them, in the order of their times. What it raises ends the reading.
        follow: Go on as the log grows.
        notes: Told what a job waits for, and why there is no line.

    Returns:
        With `follow`, the job's status after its end.

    Raises:
        UsageError: A rank or node is asked for that the job does not have.
        NotFoundError: There is no such job, and nothing of it was recorded.
    """
    log_filter = options.log_filter
    _require_writers(job, ranks=log_filter.ranks or (), nodes=log_filter.nodes or ())
    recording = Recording(job.run_folder / RECORDED)
    status, gone = _look(job)
    source: Source = job.backend.log_source(job.handle)
    saved = _add_saved(job, options, source, status, recording=recording, notes=notes)
    if gone is not None and saved is None:
        if not recording.containers():
            raise gone
        notes(Note(f"{job.name}: it is gone; this is what was read of its log before"))
    if not options.all_attempts and log_filter.attempt is None:
        current = _current_attempt(status) if status is not None else recording.last_attempt()
        if saved is not None and not current:
            current = saved.last_attempt
        log_filter = replace(log_filter, from_attempt=current)
    lines = _Tail(write, log_filter.tail)
    wanted = replace(options, log_filter=log_filter)
    if status is None and options.previous:
        _read_recorded_previous(recording, wanted, lines)
    else:
        source = saved or source
        if options.first_node_only:
            source = FirstNode(source)
        _stream(
            source, wanted, lines, recording, follow=follow, is_joined=saved is not None,
            filler=_find_filler(job, options, keeps_logs=source.keeps_logs, notes=notes), notes=notes,
        )  # fmt: skip
    # the log has ended; how the job did is another question, which a silent cluster may answer later
    if follow:
        status = Retry(job.name, notes).ask(lambda: job.backend.status(job.handle))
    if not lines.has_written and log_filter.tail != 0:
        notes(Note(f"{job.name}: {_explain_nothing(wanted, status)}"))
    return status if follow else None


class _Tail:
    """Passes lines on; of those that are there at the beginning only the last ones, where that is asked for.

    How many there are is not known before a follow has caught up: it has once nothing came for a moment.

    Attributes:
        has_written: Whether any line was wanted.
    """

    def __init__(self, write: Write, tail: int | None) -> None:
        self._pass_on = write
        self._kept: deque[bytes] | None = None if tail is None else deque(maxlen=tail)
        self._began_s = self._heard_s = time.monotonic()
        self._has_heard = False
        self.has_written = False

    def add(self, lines: list[bytes]) -> None:
        """Take lines. May be called without any, as a clock."""
        if self._kept is None:
            self._write(lines)
            return
        self._pass_on([])
        now_s = time.monotonic()
        if lines:
            self._kept.extend(lines)
            self._heard_s, self._has_heard = now_s, True
        quiet = self._has_heard and now_s - self._heard_s > _QUIET_S
        if quiet or now_s - self._began_s > _LONGEST_S:
            self.close()

    def close(self) -> None:
        """Pass on what was kept back; from now on nothing is."""
        kept, self._kept = list(self._kept or ()), None
        self._write(kept)

    def _write(self, lines: list[bytes]) -> None:
        self.has_written = self.has_written or bool(lines)
        self._pass_on(lines)


def _read_recorded_previous(recording: Recording, options: LogOptions, lines: _Tail) -> None:
    merger = Merger()
    containers = recording.containers()
    for node in sorted({container.node for container in containers}):
        own = [container for container in containers if container.node == node]
        stream = merger.open_stream()
        formatter = Formatter(node=node, log_filter=options.log_filter, form=options.form)
        for read in recording.read(own[-2]) if len(own) > 1 else ():
            merger.add(stream, formatter.format_lines(read), now_s=0.0)
    lines.add(merger.take_all())
    lines.close()


def _explain_nothing(options: LogOptions, status: JobStatus | None) -> str:
    """Say why not one line was shown."""
    wanted = options.log_filter
    if status is not None and not status.state.is_terminal and not any(map(_has_run, status.pods)):
        reason = f": {status.reason}" if status.reason else ""
        return f"no lines yet, it is {status.state.value}{reason}"
    if options.previous:
        return "no lines of earlier containers; --attempt all shows earlier attempts of the present ones"
    if wanted != LogFilter(from_attempt=wanted.from_attempt):
        known = f"; its last attempt is {_current_attempt(status)}" if status and wanted.attempt else ""
        return f"no line is what --rank, --node, --attempt, --since and --grep ask for{known}"
    more = f" of attempt {wanted.from_attempt}; --attempt all shows all" if wanted.from_attempt > 1 else ""
    return f"no lines{more}"


def _has_run(pod: PodStatus) -> bool:
    has_ended = pod.state in (PodState.SUCCEEDED, PodState.FAILED)
    return pod.started_s is not None or pod.restarts > 0 or has_ended


def _look(job: ResolvedJob) -> tuple[JobStatus | None, NotFoundError | None]:
    try:
        return job.backend.status(job.handle), None
    except NotFoundError as error:
        return None, error


def _add_saved(
    job: ResolvedJob, options: LogOptions, source: Source, status: JobStatus | None, *,
    recording: Recording, notes: Notes,
) -> SavedSource | None:  # fmt: skip
    """Return the source with what nodes have kept in the output folder, where that may hold what it lacks."""
    current = _current_attempt(status) if status is not None else 0
    attempt = options.log_filter.attempt
    earlier = current > 1 and (options.all_attempts or (attempt is not None and attempt < current))
    is_at_rest = status is None or status.state.is_terminal or status.state is JobState.SUSPENDED
    if options.previous or not options.with_saved or not (earlier or is_at_rest):
        return None
    if source.keeps_logs and status is not None and not run(_lacks_logs(source)):
        return None
    node_file = read_node_file(job)
    if node_file is None or node_file.keep_logs_bytes is None:
        return None
    from launcher.jobs.metrics import output_here
    from launcher.jobs.saved_logs import fetch_saved  # with it come YAML and tarfile

    started = {pod.node for pod in status.pods if _has_run(pod)} if status is not None else set()
    if not source.keeps_logs and not earlier and len(started) == node_file.nodes:
        return None
    here = output_here(job.run_folder) if source.keeps_logs and status is None else None
    files = fetch_saved(
        job, output_dir=node_file.output_dir, log_filter=options.log_filter, is_gone=not started, here=here,
        notes=notes,
    )  # fmt: skip
    return SavedSource(source, files, recording=recording) if files else None


def _find_filler(
    job: ResolvedJob, options: LogOptions, *, keeps_logs: bool, notes: Notes
) -> GapFiller | None:  # fmt: skip
    """Return what has the lines that pods' logs have lost; None where nothing has, or they lose none."""
    node_file = None if keeps_logs or not options.with_saved else read_node_file(job)
    if node_file is None or node_file.keep_logs_bytes is None:
        return None
    from launcher.jobs.saved_logs import KeptLogs  # with it come YAML and tarfile

    return KeptLogs(job, output_dir=node_file.output_dir, notes=notes)


async def _lacks_logs(source: Source) -> bool:
    pods = (await source.snapshot()).pods
    return any(pod.has_started and pod.container not in dict(pod.began_ns) for pod in pods)


def _current_attempt(status: JobStatus) -> int:
    progress, termination = status.progress, status.termination
    return max(
        progress.attempt if progress is not None else 0,
        termination.attempt if termination is not None else 0,
    )


def _stream(
    source: Source, options: LogOptions, lines: _Tail, recording: Recording, *, follow: bool,
    is_joined: bool, filler: GapFiller | None, notes: Notes,
) -> None:  # fmt: skip
    wanted, form = options.log_filter, options.form
    is_recorded = not source.keeps_logs and not options.previous
    is_whole = not wanted.since_ns and wanted.tail is None
    filters = (wanted.ranks, wanted.nodes, wanted.pattern, wanted.attempt)
    is_short = wanted.tail is not None and not recording.containers() and filters == (None,) * 4
    follower = Follower(
        source,
        show=lines.add,
        say=lambda text: notes(Note(text)),
        formatter=lambda node: Formatter(node=node, log_filter=wanted, form=form),
        recording=recording if is_recorded and (is_whole or recording.containers()) else None,
        follow=follow,
        previous_only=options.previous,
        is_joined=is_joined,
        filler=filler,
        since_s=wanted.since_ns // 1_000_000_000 if wanted.since_ns else None,
        # some lines are hidden, so a few more than are shown
        tail_lines=2 * (wanted.tail or 0) + 256 if is_short else None,
        draw=random.Random(),  # noqa: S311 - pauses, not secrets
    )
    try:
        run(follower.run())
    finally:
        recording.close()
    lines.close()


def _require_writers(job: ResolvedJob, *, ranks: Iterable[int], nodes: Iterable[int]) -> None:
    """Refuse ranks and nodes that the job does not have, where its manifest says how many it has.

    Raises:
        UsageError: Names all of them.
    """
    node_file = read_node_file(job) if ranks or nodes else None
    if node_file is None:
        return
    size = f"{node_file.nodes} node{'s' * (node_file.nodes > 1)} × {node_file.procs_per_node}"
    problems: list[Issue] = []
    for flag, given, count in (("rank", ranks, node_file.world_size), ("node", nodes, node_file.nodes)):
        wrong = sorted(number for number in given if number >= count)
        if wrong:
            shown = ", ".join(map(str, wrong[:5])) + (" …" if len(wrong) > 5 else "")
            expected = f"{flag}s from 0 to {count - 1}" if count > 1 else f"{flag} 0, the only one"
            problems.append(Issue(where=f"--{flag}", expected=f"{expected} ({size})", got=shown))
    if problems:
        raise UsageError(problems=problems)


def read_node_file(job: ResolvedJob) -> NodeFile | None:
    """Return what a job's node processes were told; None where its manifest does not say it."""
    from launcher.render.manifest import parse_manifest  # YAML

    try:
        text = job.store.read_manifest(job.name)
        return parse_node_file(parse_manifest(text).config_map["data"][NODE_FILE])
    except (LaunchError, FormatError, OSError, KeyError, TypeError):  # of another release, or cut short
        return None
