"""Brings a run's rows to one tracker: each once, whatever ends between two of them.

In turns: read a batch of rows behind the cursor, have the tracker take it, move the cursor. What raises is
tried again after a pause that doubles. Where it is not known whether the service has taken rows (an answer
was lost, a process was killed, another machine has sent some too), the tracker is asked which are missing
before they are sent: in doubt is the first batch of each life and each batch after a failure, and doubt lasts
as long as batches are found there whole.

    metrics.jsonl ──batch──▶ missing? ──rows──▶ tracker.log ──▶ cursor
         ▲                                           │ raises
         └───────────── after a pause, in doubt ◀────┘

Must not: know a service, or how its process is started.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from trainer.protocol.codec import FormatError, decode
from trainer.protocol.reportfile import PAGE
from trainer.protocol.safe_files import open_read, read_file
from trainer.protocol.tracking import DESCRIPTION, Description, Ending, Request, Told
from trainer.trackers.cursor import Cursor, load_cursor, save_cursor
from trainer.trackers.rows import METRICS, MOST_ROWS, count_left, read_batch
from trainer.trackers.tracker import Run, Tracker, TrackerError

POLL_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
_SAY_AGAIN_S = 600.0
_MAX_DESCRIPTION = 8 << 20
_MAX_SAID = 400
_REPORT_TRIES = 3
_PROTOCOL = ".ftlaunch"
T = TypeVar("T")
Event: TypeAlias = Literal["sent", "failed", "refused", "said", "ended"]


@dataclass(kw_only=True)
class Delivery:
    """Sends what there is, and what comes.

    Attributes:
        request: What to do.
        tracker: Where to.
        tell: Told how it goes.
        wait: Waits for so many seconds, or for the ending; returns that once it is known.
        guard: Called around each call of the tracker; ends what hangs.
        clock: Seconds that only grow.
        poll_s: Between looks at the file.
        most_rows: Rows that are sent at once.
    """

    request: Request
    tracker: Tracker
    tell: Callable[[Told], None]
    wait: Callable[[float], Ending | None]
    guard: Callable[[bool], object] = bool
    clock: Callable[[], float] = time.monotonic
    poll_s: float = POLL_S
    most_rows: int = MOST_ROWS
    sent: int = 0
    _cursor: Cursor = field(init=False)
    _started: bool = False
    _in_doubt: bool = True
    _failing_since_s: float | None = None
    _said_s: float = 0.0
    _report_tries: int = 0
    _sent_at_end: int = 0

    def __post_init__(self) -> None:
        self._state = Path(self.request.state_dir)
        self._output = Path(self.request.output_dir)
        self._cursor = load_cursor(self._state, self.request.target, run_id=self.request.run_id)

    @property
    def left(self) -> int:
        """Rows of the file that are not dealt with."""
        return count_left(self._output, self._cursor.offset, until=self.request.until)

    @property
    def place(self) -> str:
        """Where people see the run, as far as the tracker can say."""
        if not self._started:
            return ""
        try:
            return self.tracker.place
        except Exception:  # noqa: BLE001 - of a class that others wrote, and of no weight
            return ""

    def run(self) -> bool:
        """Send until the ending, and then what is left; returns whether all was sent."""
        pause_s, ending = FIRST_PAUSE_S, self.request.ending
        while True:
            try:
                is_through = self._turn(ending)
            except TrackerError as error:
                self._tell("refused", str(error))
                return False
            except Exception as error:  # noqa: BLE001 - services, each with errors of its own
                self._in_doubt = True
                self._say_failure(error, pause_s)
                ending = self.wait(pause_s) or ending
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            pause_s = FIRST_PAUSE_S
            self._say_recovery()
            if is_through:
                return True
            if ending is None:
                ending = self.wait(self.poll_s)

    def _turn(self, ending: Ending | None) -> bool:
        """Send all that is there now, and the ending where it is known; returns whether that is all."""
        if not self._started:
            if ending is None and not self._is_begun():
                return False
            self._start()
        while self._send_batch():
            pass
        if ending is None:
            return False
        if ending.state != "paused":
            self._end(ending)
            self._send_report()
        self._call(self.tracker.close)
        return True

    def _is_begun(self) -> bool:
        return (self._output / METRICS).is_file() or (self._output / _PROTOCOL / DESCRIPTION).is_file()

    def _start(self) -> None:
        request, cursor = self.request, self._cursor
        run = Run(
            job=request.job, run_id=request.run_id, known=cursor.known, parameters=self._parameters(),
            settings=request.target.settings, output_dir=self._output, state_dir=self._state,
        )  # fmt: skip
        known = self._call(lambda: self.tracker.start(run))
        if known != cursor.known:
            self._keep(Cursor(run_id=request.run_id, known=known))
        elif cursor.ended is not None and request.ending is None:  # it was over, and goes on
            self._end(Ending(state="running"))
        self._started = self._in_doubt = True
        self._tell("sent")

    def _send_batch(self) -> bool:
        batch = read_batch(self._output, self._cursor.at, until=self.request.until, most_rows=self.most_rows)
        if batch.after.offset == self._cursor.offset:
            return False
        rows = batch.rows
        if rows and self._in_doubt:
            rows = tuple(self._call(lambda: self.tracker.missing(batch.rows)))
        if rows:
            self._in_doubt = True
            self._call(lambda: self.tracker.log(rows))
            self._in_doubt = False
            self.sent += len(rows)
        facts = {**self._cursor.facts, **batch.facts}
        if facts != self._cursor.facts:
            self._call(lambda: self.tracker.describe(batch.facts))
        self._keep(replace(self._cursor.moved(batch.after), facts=facts))
        self._tell("sent")
        return True

    def _send_report(self) -> None:
        page = self._output / PAGE
        try:
            with open_read(page, root=self._output) as file:
                digest = hashlib.sha256(file.read()).hexdigest()
        except OSError:  # none was made
            return
        if digest == self._cursor.report:
            return
        try:
            self._call(lambda: self.tracker.artifact(page))
        except TrackerError:
            raise
        except Exception as error:
            self._report_tries += 1
            if self._report_tries < _REPORT_TRIES:
                raise
            # Rows are what counts: many a server takes them, and lacks a place or a package for files.
            self._tell("said", f"{PAGE} was not taken: {describe_error(error)}")
            return
        self._keep(replace(self._cursor, report=digest))

    def _end(self, ending: Ending) -> None:
        ended = _ended(ending)
        if self._cursor.ended == ended and self.sent == self._sent_at_end:
            return
        self._call(lambda: self.tracker.end(ending))
        self._sent_at_end = self.sent
        self._keep(replace(self._cursor, ended=None if ending.state == "running" else ended))

    def _parameters(self) -> Mapping[str, str]:
        found = {"job": self.request.job, "run_id": self.request.run_id}
        try:
            data = read_file(
                self._output / _PROTOCOL / DESCRIPTION, max_bytes=_MAX_DESCRIPTION, root=self._output
            )
            description = decode(Description, data, where=DESCRIPTION)
        except (FormatError, OSError):
            description = Description()
        found |= {value.key: value.value for value in description.values}
        found |= {fact.name: fact.value for fact in description.facts}
        return {**found, **self.request.facts}

    def _call(self, what: Callable[[], T]) -> T:
        self.guard(True)
        try:
            return what()
        finally:
            self.guard(False)

    def _keep(self, cursor: Cursor) -> None:
        save_cursor(self._state, self.request.target, cursor)
        self._cursor = cursor

    def _say_failure(self, error: Exception, pause_s: float) -> None:
        now_s = self.clock()
        is_first = self._failing_since_s is None
        if is_first:
            self._failing_since_s = now_s
        if is_first or now_s - self._said_s >= _SAY_AGAIN_S:
            self._said_s = now_s
            self._tell("failed", f"{describe_error(error)}; tries again in {pause_s:g} s, then less often")

    def _say_recovery(self) -> None:
        if self._failing_since_s is not None:
            lasted_s = self.clock() - self._failing_since_s
            self._failing_since_s = None
            self._tell("said", f"goes on after {lasted_s:.0f} s")

    def _tell(self, event: Event, text: str = "") -> None:
        self.tell(
            Told(
                event=event, text=text, done=self._cursor.offset, rows=self.sent,
                place=self.place,
            )
        )  # fmt: skip


def _ended(ending: Ending) -> str:
    return f"{ending.state}: {ending.reason}"


def describe_error(error: BaseException) -> str:
    """Say what went wrong, on one line and not at length."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return (f"{name}: {text}" if text else name)[:_MAX_SAID]
