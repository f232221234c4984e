"""Runs the processes that send rows to experiment trackers (`Launch.track`), one a target, beside node 0.

Nothing of the run waits for them: they read metrics.jsonl, which rank 0 writes anyway. A process that ends
before its time is started again, later and later; where it was is in a file of its own (`trainer.trackers`).
At the end of the run each gets a bounded time for what is left, and what then is left is said, with the
command that sends it.

A thread for each reads what its process says: what is said is rare, and pipes of a child that must be tied to
this process are not asyncio's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from trainer.node.settings import NodeSettings
from trainer.protocol.children import start_child_into
from trainer.protocol.codec import FormatError, decode, encode
from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit, describe_exit
from trainer.protocol.python_command import python_command
from trainer.protocol.runfile import FOLDER as PROTOCOL
from trainer.protocol.termination import Termination
from trainer.protocol.tracking import (
    FOLDER,
    MAX_LINE,
    MODULE,
    Ending,
    Request,
    Target,
    Told,
    resend_command,
)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 300.0
_LIVED_S = 600.0
"""A process that lived so long has done its work; the next one begins soon."""
_KILL_S = 3.0
_CHECK_S = 120.0
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class TrackError(TrainerError):
    """A tracker was asked for that this image cannot send to."""

    exit_code = Exit.CONFIG


class Trackers:
    """All targets of a run.

    `check` comes first, then `start`, at last `end`; `close` at any time.
    """

    def __init__(
        self, settings: NodeSettings, environ: Mapping[str, str], say: Callable[[str], None]
    ) -> None:
        """`environ` is what the processes inherit; `say` is called in the event loop's thread."""
        self._settings, self._say = settings, say
        self._environ = {**environ, **_ONE_THREAD}
        track = settings.job.track
        self._targets = track.targets if track is not None else ()
        self._senders: list[_Sender] = []

    async def check(self) -> None:
        """See that each target can be sent to from here.

        Raises:
            TrackError: Some cannot, because a package is missing or a setting is wrong.
        """
        asked = [
            _Sender(replace(self._request(target), job=""), self._environ, lambda _: None)
            for target in self._targets
        ]
        found = await asyncio.gather(*(asyncio.to_thread(sender.ask) for sender in asked))
        problems = [f"Launch.track: {text}" for text in found if text]
        if problems:
            raise TrackError("; ".join(problems))

    def start(self) -> None:
        """Start them all."""
        loop = asyncio.get_running_loop()

        def say(text: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._say, text)

        for target in self._targets:
            sender = _Sender(self._request(target), self._environ, say)
            self._senders.append(sender)
            sender.start()

    async def end(self, termination: Termination) -> None:
        """Have them send what is left, for a bounded time, and say what then is."""
        ending = self._ending_of(termination)
        await asyncio.gather(*(asyncio.to_thread(sender.end, ending) for sender in self._senders))
        await asyncio.sleep(0)  # what threads had to say stands in the loop
        if ending.state == "paused":  # the next life of this pod goes on
            return
        for sender in self._senders:
            if sender.left_said is not None:
                command = resend_command(self._settings.job.job, sender.request.target)
                self._say(f"track: {sender.title}: {sender.left_said}; `{command}` sends what is left")

    @property
    def pids(self) -> frozenset[int]:
        """Of the processes."""
        return frozenset(pid for sender in self._senders if (pid := sender.pid) is not None)

    def close(self) -> None:
        """End what still runs."""
        for sender in self._senders:
            sender.kill()

    def _request(self, target: Target) -> Request:
        job, output = self._settings.job, self._settings.output_dir
        return Request(
            target=target, job=job.job, run_id=job.run_id, output_dir=str(output),
            state_dir=str(output / PROTOCOL / FOLDER), facts=job.track.facts if job.track else {},
        )  # fmt: skip

    def _ending_of(self, termination: Termination) -> Ending:
        intervals = self._settings.intervals
        if termination.exit in (Exit.STOPPED, Exit.INTERRUPTED):
            within_s = min(intervals.track_pause_s, 0.1 * self._settings.job.grace_s)
            return Ending(state="paused", reason=termination.reason, within_s=within_s)
        if termination.exit:
            reason = f"{describe_exit(termination.exit)}: {termination.reason}"
            return Ending(state="failed", reason=reason, within_s=intervals.track_s)
        return Ending(state="finished", reason=termination.reason, within_s=intervals.track_s)


class _Sender(threading.Thread):
    """Keeps one target's process running, and hears it."""

    def __init__(self, request: Request, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        super().__init__(daemon=True, name=f"track {request.target.tracker}")
        self.request, self._environ = request, environ
        self.title = request.target.title
        self.left_said: str | None = "it has sent nothing"
        self._listener = say
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._ending: Ending | None = None
        self._over = threading.Event()

    def _say(self, text: str) -> None:
        self._listener(f"track: {self.title}: {text}")

    @property
    def pid(self) -> int | None:
        """Of the process; None where none is waited for."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def run(self) -> None:
        """Start the process until it is through."""
        pause_s = _FIRST_PAUSE_S
        while not self._over.is_set():
            began_s, is_last = time.monotonic(), self._ending is not None
            try:
                why = _describe_end(self._run_once())
            except OSError as error:
                why = f"its process could not be started: {error.strerror or error}"
            if self._over.is_set() or is_last:
                return
            if time.monotonic() - began_s > _LIVED_S:
                pause_s = _FIRST_PAUSE_S
            if self._ending is None:  # else at once, for the last time
                self._say(f"{why}; starts again in {pause_s:g} s")
                self._wake.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def ask(self) -> str:
        """Ask whether it could be sent to; returns why not, or nothing."""
        refused: list[str] = []
        timer = threading.Timer(_CHECK_S, self.kill)
        timer.start()
        try:
            self._run_once(refused.append)
        except OSError as error:
            return f"{self.title}: its process could not be started: {error.strerror or error}"
        finally:
            timer.cancel()
        return refused[0] if refused else ""

    def end(self, ending: Ending) -> None:
        """Tell the ending, and wait for the end of the process, or end it."""
        with self._lock:
            self._ending = ending
            self._tell(ending)
        self._wake.set()
        self.join(ending.within_s + _KILL_S)
        self.kill()
        self.join(_KILL_S)

    def kill(self) -> None:
        """End the process for good."""
        self._over.set()
        self._wake.set()
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()

    def _run_once(self, refused: Callable[[str], object] | None = None) -> int:
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as answers:
            try:
                with self._lock:
                    process = self._process = start_child_into(
                        writing, python_command(MODULE), env=self._environ, stdin=subprocess.PIPE
                    )
            finally:
                os.close(writing)
            with self._lock:
                self._tell(replace(self.request, ending=self._ending))
            for line in answers:
                try:
                    told = decode(Told, line, where="tracker", max_bytes=MAX_LINE)
                except FormatError:
                    continue  # of Python itself, before the program has its output
                self._hear(told, refused)
        with self._lock, contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        return process.wait()

    def _hear(self, told: Told, refused: Callable[[str], object] | None) -> None:
        match told.event:
            case "failed" | "said":
                self._say(told.text)
            case "refused" if refused is not None:
                refused(told.text)
            case "refused":
                self._over.set()
                self.left_said = told.text
                self._say(told.text)
            case "ended":
                self._over.set()
                rows = "1 row is left" if told.left == 1 else f"{told.left:,} rows are left"
                self.left_said = rows if told.left else None
            case "sent":
                self.left_said = "not all rows are known to have come"

    def _tell(self, what: Request | Ending) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it has ended
                self._process.stdin.write(json.dumps(encode(what)).encode() + b"\n")
                self._process.stdin.flush()


def _describe_end(code: int) -> str:
    if code == -signal.SIGALRM:
        return "the service's library did not come back, and its process was ended"
    if code >= 0:
        return f"its process ended ({code})"
    with contextlib.suppress(ValueError):
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process was ended by signal {-code}"
