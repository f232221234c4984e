"""Reads a job's logs as they grow and prints what is wanted of them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace

from launcher.backends.states import JobStatus, PodStatus
from launcher.cli.jobs import Found
from launcher.cli.patience import Patience
from launcher.cli.printing import Printer, echo
from launcher.errors import NotFoundError
from launcher.logs.follow import Follower
from launcher.logs.log_filter import LogFilter
from launcher.logs.log_format import Formatter, LogFormat
from launcher.logs.merge import Merger
from launcher.logs.recording import Recording
from launcher.logs.source import Source

RECORDED = "logs"
"""Folder in the run folder of what was read from a cluster."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to show, and how.

    Attributes:
        wanted: Which lines; `from_attempt` is filled in.
        all_attempts: Those of earlier attempts too.
        previous: Of each pod the container before the present one, and nothing else.
    """

    wanted: LogFilter = field(default_factory=LogFilter)
    form: LogFormat = field(default_factory=LogFormat)
    all_attempts: bool = False
    previous: bool = False


def show_logs(found: Found, request: Request, *, follow: bool) -> JobStatus | None:
    """Print a job's logs; with `follow` until it has ended, and return its last status.

    Raises:
        NotFoundError: There is no such job, and nothing of it was recorded.
    """
    recording = Recording(found.store.run_folder(found.handle.job) / RECORDED)
    status = _look(found, or_recorded=recording)
    wanted = request.wanted
    if not request.all_attempts and wanted.attempt is None:
        current = _current_attempt(status) if status is not None else recording.last_attempt()
        wanted = replace(wanted, from_attempt=current)
    printer = Printer(tail=wanted.tail)
    shown = replace(request, wanted=wanted)
    if status is None and request.previous:
        _show_recorded_previous(recording, shown, printer)
    else:
        _stream(found.backend.log_source(found.handle), shown, printer, recording, follow=follow)
    if follow:
        status = Patience(found.handle.job).ask(lambda: found.backend.status(found.handle))
    if not printer.has_written and wanted.tail != 0:
        _say(f"{found.handle.job}: {_explain_nothing(shown, status)}")
    return status if follow else None


def _show_recorded_previous(recording: Recording, request: Request, printer: Printer) -> None:
    merger = Merger()
    containers = recording.containers()
    for node in sorted({container.node for container in containers}):
        own = [container for container in containers if container.node == node]
        stream, formatter = (
            merger.open_stream(),
            Formatter(node=node, log_filter=request.wanted, form=request.form),
        )
        for lines in recording.read(own[-2]) if len(own) > 1 else ():
            merger.add(stream, formatter.format_lines(lines), now_s=0.0)
    printer.show(merger.take_all())
    printer.close()


def _explain_nothing(request: Request, status: JobStatus | None) -> str:
    """Say why not one line was shown."""
    wanted = request.wanted
    if status is not None and not status.state.is_terminal and not any(map(_has_run, status.pods)):
        reason = f": {status.reason}" if status.reason else ""
        return f"no lines yet, it is {status.state.value}{reason}"
    if request.previous:
        return "no lines of earlier containers; --attempt all shows earlier attempts of the present ones"
    if wanted != LogFilter(from_attempt=wanted.from_attempt):
        known = f"; its last attempt is {_current_attempt(status)}" if status and wanted.attempt else ""
        return f"no line is what --rank, --node, --attempt, --since and --grep ask for{known}"
    more = f" of attempt {wanted.from_attempt}; --attempt all shows all" if wanted.from_attempt > 1 else ""
    return f"no lines{more}"


def _has_run(pod: PodStatus) -> bool:
    return pod.started_s is not None or pod.restarts > 0


def _look(found: Found, *, or_recorded: Recording) -> JobStatus | None:
    try:
        return found.backend.status(found.handle)
    except NotFoundError:
        if not or_recorded.containers():
            raise
        echo(f"{found.handle.job}: it is gone; this is what was read of its log before", err=True)
        return None


def _current_attempt(status: JobStatus) -> int:
    progress, termination = status.progress, status.termination
    return max(
        progress.attempt if progress is not None else 0,
        termination.attempt if termination is not None else 0,
    )


def _stream(
    source: Source, request: Request, printer: Printer, recording: Recording, *, follow: bool
) -> None:
    wanted, form = request.wanted, request.form
    is_recorded = not source.keeps_logs and not request.previous
    is_whole = not wanted.since_ns and wanted.tail is None
    filters = (wanted.ranks, wanted.nodes, wanted.pattern, wanted.attempt)
    is_short = wanted.tail is not None and not recording.containers() and filters == (None,) * 4
    follower = Follower(
        source,
        show=printer.show,
        say=_say,
        formatter=lambda node: Formatter(node=node, log_filter=wanted, form=form),
        recording=recording if is_recorded and (is_whole or recording.containers()) else None,
        follow=follow,
        previous_only=request.previous,
        since_s=wanted.since_ns // 1_000_000_000 if wanted.since_ns else None,
        # some lines are hidden, so a few more than are shown
        tail_lines=2 * (wanted.tail or 0) + 256 if is_short else None,
        draw=random.Random(),  # noqa: S311 - pauses, not secrets
    )
    try:
        asyncio.run(follower.run())
    finally:
        recording.close()
    printer.close()


def _say(text: str) -> None:
    echo(text, err=True)
