"""Looking at a job while somebody looks at its page, once for all who do, and not a moment longer."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Generic, TypeVar

from launcher.backends.states import JobEvent, JobState, JobStatus
from launcher.errors import LaunchError, NotFoundError
from launcher.jobs import lifecycle
from launcher.jobs.configuration import Configuration, fetch_configuration
from launcher.jobs.gpu_hours import note_gpu_time
from launcher.jobs.listing import GONE
from launcher.jobs.log_tail import LogTail
from launcher.jobs.logs import LogOptions, read_logs
from launcher.jobs.measured import Measured, RowReader
from launcher.jobs.metrics import read_metrics
from launcher.jobs.notes import Note
from launcher.jobs.outcome import note_outcome
from launcher.jobs.resolve import ResolvedJob
from launcher.plan.capabilities import CAPABILITIES
from launcher.why.explanation import Explanation

_LOOK_S, _WAIT_S, _SILENT_S = 1.0, 3.0, 3.0
_ROWS_HERE_S, _ROWS_AFAR_S = 0.3, 10.0
_EXPLAIN_S, _ESTIMATE_S = 10.0, 15.0
_END_S = 0.2
MOST_LINES, MAX_LINE = 5000, 2000
"""Of a log that is kept for who comes to look, and characters of each line."""


class Watched:
    """Those to tell of a change, and whether to go on.

    Attributes:
        note: What is said beside what is seen, such as why it cannot be; empty for nothing.
    """

    def __init__(self) -> None:
        self.note = ""
        self.lock = threading.Lock()
        self._ended = threading.Event()
        self._wakes: list[Callable[[], None]] = []

    def attend(self, wake: Callable[[], None]) -> None:
        """Have a function called at each change."""
        with self.lock:
            self._wakes.append(wake)

    def leave(self, wake: Callable[[], None]) -> None:
        """Have it called no more."""
        with self.lock, suppress(ValueError):
            self._wakes.remove(wake)

    def changed(self) -> None:
        """Tell all."""
        with self.lock:
            wakes = list(self._wakes)
        for wake in wakes:
            wake()

    @property
    def is_over(self) -> bool:
        """Whether nobody looks any more."""
        return self._ended.is_set()

    def end(self) -> None:
        """Have the threads of this watch end."""
        self._ended.set()

    def spawn(self, work: Callable[[], object], name: str) -> None:
        """Have something done in a thread of its own; what was not foreseen is said on the page."""

        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the main of this thread
                self.note = f"unexpected {type(error).__name__}: {error}; this is a bug"
                self.changed()

        threading.Thread(target=run, name=f"ftlaunch-ui-{name}", daemon=True).start()

    def pause(self, seconds: float) -> bool:
        """Wait; returns whether nobody looks any more."""
        return self._ended.wait(seconds)


W = TypeVar("W", bound="Watched")


class Hub(Generic[W]):
    """Watches by what they look at: begun with the first who looks, ended with the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[object, tuple[W, int]] = {}

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def attend(self, key: object, make: Callable[[], W], wake: Callable[[], None]) -> Iterator[W]:
        """Give the watch of a key while the context lasts.

        Args:
            key: What is looked at.
            make: Makes and starts its watch, where there is none.
            wake: Called at each change, in any thread.
        """
        with self._lock:
            found = self._open.get(key)
            watch = make() if found is None else found[0]
            self._open[key] = (watch, 1 if found is None else found[1] + 1)
        watch.attend(wake)
        try:
            yield watch
        finally:
            watch.leave(wake)
            with self._lock:
                watch, count = self._open[key]
                if count > 1:
                    self._open[key] = (watch, count - 1)
                else:
                    del self._open[key]
                    watch.end()


class JobWatch(Watched):
    """What is known of a job: how it stands and why, what it has measured, and the end of its log.

    Read under no lock: each attribute is replaced as a whole. `measured` is changed under `rows_lock`.

    Attributes:
        job: Which.
        before: Name of the run before it; empty for the first one.
        status: As last seen; None before, and where it is gone.
        absent: What stands for its state where there is none.
        note: Why it could not be asked, or what it waits for; empty for nothing.
        explanation: Why it stands so; None before that is known.
        start: When a job of a queue starts, a sentence; empty for others.
        measured: Rows so far.
        measured_note: Why they could not be read.
        tail: End of node 0's log.
    """

    def __init__(
        self, job: ResolvedJob, *, reopen: Callable[[], ResolvedJob], fetched: Path | None = None,
        before: str = "", is_light: bool = False, is_of_many: bool = False,
    ) -> None:  # fmt: skip
        """Look at nothing yet.

        Args:
            job: Which.
            reopen: Gives the same job over a connection of its own, for another thread.
            fetched: Folder that its rows may have been fetched into.
            before: Name of the run before it; empty for the first one.
            is_light: Look at its state alone, not at its log and what it has measured.
            is_of_many: Look at its state and at what it has measured, not at its log nor at why it stands so.
        """
        super().__init__()
        self._fetched = fetched
        self.job, self.is_light, self._is_of_many = job, is_light, is_of_many
        self.before = before
        self.status: JobStatus | None = None
        self.absent, self.start_note, self.measured_note = "", "", ""
        self.explanation: Explanation | None = None
        self.measured, self.rows_lock = Measured(), threading.Lock()
        self.tail = LogTail(reopen(), on_change=self.changed)
        self._reopen = reopen
        self._explained_s = self._estimated_s = float("-inf")
        self._has_ended = threading.Event()

    def begin(self) -> JobWatch:
        """Begin to look."""
        for work in (self._look,) if self.is_light else (self._look, self._measure):
            self.spawn(work, self.job.name)
        if not (self.is_light or self._is_of_many):
            self.tail.start()
        return self

    def end(self) -> None:
        """See `Watched.end`."""
        super().end()
        if not (self.is_light or self._is_of_many):
            self.tail.close(wait_s=_END_S)

    def read_once(self) -> JobWatch:
        """Look once, in this thread: for a page that is saved."""
        self._see()
        with suppress(LaunchError):
            self.explanation = lifecycle.explain(self.job)
        self._read_rows(RowReader(self.job.run_folder, self._fetched), afar=True)
        return self

    def _look(self) -> None:
        timer = None
        while not self.is_over:
            is_known = self._see()
            status = self.status
            if self.absent or (status is not None and status.state.is_terminal):
                self._explain(status)
                self._has_ended.set()
                self.changed()
                return
            self._explain(status)
            self.changed()
            if not is_known:
                self.pause(_SILENT_S)
                continue
            try:
                timer = timer or self.job.backend.poll_timer(self.job.handle)
                timer.wait(_LOOK_S, most_s=_WAIT_S)
            except LaunchError:
                self.pause(_SILENT_S)

    def _see(self) -> bool:
        """Ask how the job stands; returns whether that was answered."""
        try:
            status = lifecycle.status(self.job)
        except NotFoundError:
            self.absent = GONE
            return True
        except LaunchError as error:
            self.note = str(error)
            return False
        self.note = ""
        note_gpu_time(self.job, status)
        if status.state.is_terminal:
            note_outcome(self.job, status)
        self.status = status
        return True

    def _explain(self, status: JobStatus | None) -> None:
        now_s = time.monotonic()
        if status is None or self._is_of_many:
            return
        known = self.explanation
        is_same = known is not None and known.status.state is status.state
        if not is_same or now_s - self._explained_s >= _EXPLAIN_S:
            self._explained_s = now_s
            with suppress(LaunchError):
                self.explanation = lifecycle.explain(self.job)
        if status.state is not JobState.QUEUED:
            self.start_note = ""
        elif now_s - self._estimated_s >= _ESTIMATE_S:
            self._estimated_s = now_s
            with suppress(LaunchError):
                self.start_note = lifecycle.describe_start(self.job, status)

    def _measure(self) -> None:
        reader, afar_s, is_last = RowReader(self.job.run_folder, self._fetched), float("-inf"), False
        while not self.is_over:
            now_s = time.monotonic()
            is_due = now_s - afar_s >= _ROWS_AFAR_S and self.status is not None
            if not self._read_rows(reader, afar=is_due) and is_due:
                afar_s = now_s
            if is_last:
                return
            is_last = self._has_ended.is_set()  # one more look: what was written before the end
            if not is_last:
                self.pause(_ROWS_HERE_S)

    @property
    def _may_read_afar(self) -> bool:
        """Whether rows that lie elsewhere are reached through what is there: a look makes no pods."""
        status = self.status
        on_cluster = CAPABILITIES[self.job.handle.backend].is_cluster
        return status is not None and (status.state is JobState.RUNNING or not on_cluster)

    def _read_rows(self, reader: RowReader, *, afar: bool) -> bool:
        """Take in what is new; returns whether the rows lie on this machine."""
        count = self.measured.count
        while True:
            rows, is_new = reader.read()
            with self.rows_lock:
                if is_new:
                    self.measured = Measured()
                self.measured.add(rows)
            if not rows:
                break
        if self.measured.count != count:
            self.changed()
        if reader.is_here or not afar or not self._may_read_afar:
            return reader.is_here
        made = Measured()
        try:
            made.add(read_metrics(self._reopen()))
        except (LaunchError, OSError, KeyError) as error:
            self.measured_note = str(error) if isinstance(error, LaunchError) else ""
        else:
            self.measured_note = ""
            with self.rows_lock:
                self.measured = made
            self.changed()
        return False


class LogWatch(Watched):
    """The log of all ranks as it grows, or once: the last lines, numbered from 0.

    Attributes:
        note: What is said beside it.
        is_done: Whether all that there is was read.
    """

    def __init__(self, job: ResolvedJob, options: LogOptions, *, follow: bool = True) -> None:
        super().__init__()
        self.job, self.is_done = job, False
        self._options, self._follow = options, follow
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._count = 0

    def begin(self) -> LogWatch:
        """Begin to read."""
        self.spawn(self.read, f"log-{self.job.name}")
        return self

    def read(self) -> None:
        """Read it, in this thread."""
        try:
            read_logs(self.job, self._options, write=self._take, follow=self._follow, notes=self._say)
        except _ClosedError:
            return
        except LaunchError as error:
            self.note = str(error)
        self.is_done = True
        self.changed()

    def lines_from(self, first: int) -> tuple[int, list[str]]:
        """Return the lines from a number on, as far as they are kept, and the number of the first of them."""
        with self.lock:
            start = max(first, self._count - len(self._lines))
            skipped = start - (self._count - len(self._lines))
            return start, list(self._lines)[skipped:]

    def _take(self, lines: list[bytes]) -> None:
        if self.is_over:
            raise _ClosedError
        if not lines:
            return
        with self.lock:
            self._lines.extend(shorten(line) for line in lines)
            self._count += len(lines)
        self.changed()

    def _say(self, note: Note) -> None:
        self.note = note.text
        self.changed()


class EventsWatch(Watched):
    """The events of a job.

    Attributes:
        events: As last seen; None before.
        note: Why they could not be asked for.
    """

    def __init__(self, job: ResolvedJob) -> None:
        super().__init__()
        self.job = job
        self.events: tuple[JobEvent, ...] | None = None

    def begin(self) -> EventsWatch:
        """Begin to look."""
        self.spawn(self._work, f"events-{self.job.name}")
        return self

    def look(self) -> EventsWatch:
        """Ask once, in this thread."""
        try:
            self.events, self.note = lifecycle.events(self.job), ""
        except NotFoundError:
            self.events, self.note = (), f"{self.job.name} is gone, and its events with it"
        except LaunchError as error:
            self.note = str(error)
        return self

    def _work(self) -> None:
        while not self.is_over:
            self.look()
            self.changed()
            if self.pause(_WAIT_S):
                return


class ConfigurationWatch(Watched):
    """The configuration of a job that was submitted elsewhere, asked for once.

    Attributes:
        found: None before it is known, and where it cannot be.
    """

    def __init__(self, job: ResolvedJob) -> None:
        super().__init__()
        self.job = job
        self.found: Configuration | None = None

    def begin(self) -> ConfigurationWatch:
        """Begin to ask."""
        self.spawn(self._work, f"config-{self.job.name}")
        return self

    def look(self) -> ConfigurationWatch:
        """Ask, in this thread."""
        try:
            self.found = fetch_configuration(self.job)
        except LaunchError as error:
            self.note = str(error)
        return self

    def _work(self) -> None:
        self.look()
        self.changed()


class _ClosedError(Exception):
    """Nobody looks any more."""


def shorten(line: bytes) -> str:
    """Return a line of a log as text of bounded length, and say where it was longer."""
    if len(line) <= MAX_LINE:
        return line.decode("utf-8", "replace")
    return f"{line[:MAX_LINE].decode('utf-8', 'replace')} … ({len(line):,} bytes)"
