"""Reads a job's logs as they grow and prints what is wanted of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from launcher.backends.states import JobStatus, LogRef, PodStatus
from launcher.cli.jobs import Found
from launcher.cli.patience import Patience
from launcher.cli.printing import Printer, echo
from launcher.errors import NotFoundError
from launcher.logs.follow import Follower
from launcher.logs.lines import LineReader
from launcher.logs.log_filter import LogFilter
from launcher.logs.log_format import Formatter, LogFormat
from launcher.logs.merge import Merger, Stream
from launcher.logs.recording import Recording
from launcher.logs.source import Source
from launcher.logs.waiting import Waiting

RECORDED = "logs"
"""Folder in the run folder of what was read from a cluster."""
_LOOK_S = 0.25


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
    source = found.backend.log_source(found.handle)
    shown = replace(request, wanted=wanted)
    if status is None and request.previous:
        _show_recorded_previous(recording, shown, printer)
    elif source is not None and not request.previous:
        _stream(source, shown, printer, recording, follow=follow)
        if follow:
            status = Patience(found.handle.job).ask(lambda: found.backend.status(found.handle))
    elif follow:
        status = _poll(found, shown, printer)
    else:
        _Polled(found, shown, printer).close()
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
    is_whole = not wanted.since_ns and wanted.tail is None
    filters = (wanted.ranks, wanted.nodes, wanted.pattern, wanted.attempt)
    is_short = wanted.tail is not None and not recording.containers() and filters == (None,) * 4
    follower = Follower(
        source,
        show=printer.show,
        say=_say,
        formatter=lambda node: Formatter(node=node, log_filter=wanted, form=form),
        recording=recording if is_whole or recording.containers() else None,
        follow=follow,
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


def _poll(found: Found, request: Request, printer: Printer) -> JobStatus:
    view = _Polled(found, request, printer)
    patience = Patience(found.handle.job)
    while True:
        # before the look, so that the last one is complete
        status = patience.ask(lambda: found.backend.status(found.handle))
        news = patience.ask(view.show_new)
        if status.state.is_terminal and not news:
            view.close()
            return status
        if not news:
            view.tell(status)
            time.sleep(_LOOK_S)


def _say(text: str) -> None:
    echo(text, err=True)


@dataclass(slots=True)
class _Polled:
    """What was shown of logs that are read by offset."""

    found: Found
    request: Request
    printer: Printer
    now_s: Callable[[], float] = time.monotonic
    _merger: Merger = field(default_factory=Merger)
    _offsets: dict[LogRef, int] = field(default_factory=dict)
    _readers: dict[LogRef, LineReader] = field(default_factory=dict)
    _streams: dict[int, tuple[Stream, Formatter]] = field(default_factory=dict)
    _waiting: Waiting = field(default_factory=lambda: Waiting(_say))

    def show_new(self) -> bool:
        """Read what is new, print what need not wait for other pods, and say whether anything was new."""
        news = self._read()
        self.printer.show(self._merger.take_ripe(now_s=self.now_s()))
        return news

    def close(self) -> None:
        """Read once more and print all that is left."""
        self._read()
        self.printer.show(self._merger.take_all())
        self.printer.close()

    def tell(self, status: JobStatus) -> None:
        """Say what a job that has not begun waits for."""
        if not status.state.is_terminal:
            waiting = {pod.pod: pod.reason for pod in status.pods if pod.started_s is None}
            self._waiting.tell(waiting, of_job=status.reason)

    def _read(self) -> bool:
        backend, handle = self.found.backend, self.found.handle
        news = False
        for ref in self._choose(backend.list_logs(handle)):
            offset = self._offsets.get(ref, 0)
            data = backend.read_log(handle, ref, offset=offset)
            if data:
                news = True
                self._offsets[ref] = offset + len(data)
                lines = self._readers.setdefault(ref, LineReader()).take(data)
                stream, formatter = self._stream(ref.node)
                self._merger.add(stream, formatter.format_lines(lines), now_s=self.now_s())
        return news

    def _choose(self, refs: tuple[LogRef, ...]) -> list[LogRef]:
        """By node and incarnation, so that a pod's lines stay in order."""
        if not self.request.previous:
            return sorted(refs)
        newest = {ref.node: ref.incarnation for ref in sorted(refs)}
        return [ref for ref in sorted(refs) if ref.incarnation == newest[ref.node] - 1]

    def _stream(self, node: int) -> tuple[Stream, Formatter]:
        if node not in self._streams:
            formatter = Formatter(node=node, log_filter=self.request.wanted, form=self.request.form)
            self._streams[node] = self._merger.open_stream(), formatter
            self._streams[node][0].is_open = True
        return self._streams[node]
