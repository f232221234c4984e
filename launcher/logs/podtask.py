"""Follows one pod: its containers one after the other, each to its last line, whatever happens on the way.

A loop a container (`_read_container`): choose the next step from the pod as it is now (`choose_step`,
pure), ask for the log, read the answer, recover from how it ended, and choose again until the step is DONE
or GONE.

Three things make it longer than that. An API server resolves names: between a snapshot and a request a pod
may have been replaced, so an answer is withheld until a snapshot that was begun after the answer had begun
says whose it is (`is_same`), and dropped otherwise. A followed log's end proves nothing: proxies and
kubelets end answers too, so a container counts as complete only once it was read without `follow` after it
had ended. And silence proves nothing: a connection may be half-open, or the node may have rotated the file
away under it, so after a while a second, short request asks for the last line (`_has_news`); if that is one
that the followed answer never brought, the answer is dropped and asked for again.

Nothing is counted here: where to go on, and what of a new answer is known already, is the resume point's.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Sequence
from enum import Enum
from typing import Protocol

from launcher.logs.gaps import LATE_NS, GapFiller, LogGap
from launcher.logs.reading import LastLine, Reading
from launcher.logs.resume_point import ResumePoint
from launcher.logs.source import Container, End, FailureKind, LogRequest, LogResponse, Pod, Source
from launcher.times import STAMP_BYTES, parse_instant
from trainer.protocol.log_files import BEGINS

SILENT_S, SILENT_MOST_S = 15.0, 60.0
_NO_ANSWER_S = 30.0
_GRACE_S = 1.0
_STEADY_S = 10.0
_PAUSE_S, _PAUSE_MOST_S, _MANY_SHORT = 0.1, 10.0, 6


class PodContext(Protocol):
    """What a pod's task shares with those of the other pods."""

    source: Source
    draw: random.Random
    follow: bool
    filler: GapFiller | None
    """Has the lines that a pod's log lacks, or None."""
    since_s: int | None
    tail_lines: int | None
    semaphore: asyncio.Semaphore
    """One for each log that may be read at once: there are only so many open files."""

    async def refresh(self) -> None:
        """Return once each pod's task has seen a look that was begun after now."""

    async def change(self) -> None:
        """Return once there has been another look."""

    async def login(self, refused: object) -> None:
        """Renew the credentials, once for all whose answers say that the same ones were `refused`."""

    def say(self, text: str) -> None:
        """Tell the user something about the logs."""

    def say_once(self, kind: str, text: str) -> None:
        """Tell the user something that holds for other pods as well: the first text of each kind."""

    def settle(self) -> None:
        """A pod's containers are all read: perhaps nothing more comes from anywhere."""

    def is_leaving(self) -> bool:
        """Whether the job has ended some time ago: what still runs is not waited for."""


class Output(Protocol):
    """Where a pod's lines go."""

    async def begin(self, container: Container) -> ResumePoint:
        """Another container's lines come now. Return where its log was left, perhaps by another process."""

    def give(self, lines: list[bytes], *, keep: bool = True) -> None:
        """Take new lines, in order; to `keep` them for the next reading, too."""

    def set_open(self, is_open: bool) -> None:
        """Say whether lines can come at any moment."""

    def is_full(self) -> bool:
        """Whether reading should wait."""


class PodTask:
    """The logs of all containers that a pod's name has, in order."""

    def __init__(self, context: PodContext, output: Output) -> None:
        self._context = context
        self._output = output
        self._queue: deque[Container] = deque()
        self._known: Container | None = None
        self._seen: set[Container] = set()
        self._pod: Pod | None = None
        self._failures = 0
        self._logins = 0
        self._short = 0
        """Followed answers that ended soon one after the other, though the container went on."""
        self._looked = asyncio.Event()
        self._is_unread = False
        self._began_ns: dict[Container, int] = {}
        self._news = asyncio.Event()
        self.is_idle = True
        """All containers known so far are read to their end."""
        self.lines = 0
        """Given so far."""
        self.response: LogResponse | None = None
        """Under way."""
        self._words = ""

    def see(self, pod: Pod | None, *, previous_only: bool = False) -> None:
        """Take note of what has the pod's name now.

        Args:
            pod: None for nothing.
            previous_only: Read nothing but the container before the first that is seen.
        """
        self._pod = pod
        self._looked.set()
        if pod is None:
            return
        self._began_ns.update(pod.began_ns)
        found: list[Container] = []
        if previous_only:
            found += pod.earlier[-1:] if self._known is None else ()
        elif self._known != pod.container:
            found += [one for one in (*pod.earlier, pod.container) if one not in self._seen]
        self._known = pod.container
        self._seen.update(found)
        if found:
            self._queue.extend(found)
            self.is_idle = False
            self._news.set()

    def recall(self, containers: list[Container]) -> None:
        """Let what was recorded of containers that are gone be shown."""
        self._queue.extend(containers)
        self.is_idle = False
        self._news.set()

    async def run(self) -> None:
        """Read one container after the other, for ever."""
        while True:
            while not self._queue:
                self.is_idle = True
                self._context.settle()
                self._news.clear()
                await self._news.wait()
            await self._read_container(self._queue.popleft())

    async def _read_container(self, container: Container) -> None:
        resume_point = await self._output.begin(container)
        self._failures, self._short, self._is_unread = 0, 0, False
        is_complete, is_first = False, True
        while True:
            step = choose_step(container, self._pod, is_complete=is_complete, follow=self._context.follow)
            if self._context.is_leaving():
                step = {Step.FOLLOW: Step.READ, Step.WAIT: Step.DONE}.get(step, step)
            if step in (Step.DONE, Step.GONE):
                await self._end_container(container, resume_point, is_gone=step is Step.GONE)
                self._output.set_open(False)
                return
            if step is Step.WAIT:
                await self._context.change()
                continue
            previous = step is Step.READ_PREVIOUS
            request = LogRequest(
                container=container, previous=previous, follow=step is Step.FOLLOW,
                since_s=self._context.since_s if resume_point.last is None else resume_point.since_s(),
                tail_lines=self._context.tail_lines if resume_point.last is None else None,
            )  # fmt: skip
            has_ended = previous or (self._pod is not None and self._pod.has_ended)
            self._is_unread, is_first = self._is_unread or is_first, False
            async with self._context.semaphore:
                end = await self._read(request, resume_point, has_ended=has_ended)
            is_complete = end is not None and end.failure is None and not request.follow
            if is_complete:
                continue
            if end is not None and end.failure is FailureKind.AGAIN:
                self._is_unread = True  # other refusals, of a pod that has gone, say nothing about its log
            await self._recover(end, was_follow=request.follow)

    async def _end_container(
        self, container: Container, resume_point: ResumePoint, *, is_gone: bool
    ) -> None:  # fmt: skip
        """Fill in the last lines of one that was gone before they were read, and say what is missing."""
        is_unread = is_gone and self._is_unread
        if is_gone and (self._is_unread or self._context.filler is not None):
            is_unread = not await self._fill(container, resume_point.recent, ()) and is_unread
        if is_unread:
            self._context.say(
                f"{container.pod}: its last lines may be missing: it was gone before they were read"
            )
        if resume_point.has_gap or resume_point.pending:
            self._context.say(f"{container.pod}: lines are missing that its node had rotated away")

    async def _close_gap(
        self, reading: Reading, resume_point: ResumePoint, container: Container, *, keep: bool = True
    ) -> None:  # fmt: skip
        """Give what was kept of the lines that are missing before those that have just come."""
        if reading.gap is None:
            return
        if not await self._fill(container, reading.gap, reading.after_gap, keep=keep) and reading.gap:
            resume_point.has_gap = True
        reading.go_on()
        reading.heard_s = _now_s()
        if self.response is not None and not self._output.is_full():
            self.response.resume()

    async def _fill(
        self, container: Container, after: Sequence[bytes], before: Sequence[bytes], *, keep: bool = True
    ) -> bool:  # fmt: skip
        """Give kept lines; return whether none are missing any more, or it was said which."""
        filler, began_ns = self._context.filler, self._began_ns.get(container)
        if filler is None or began_ns is None:
            return False
        since_ns = (self._context.since_s or 0) * 1_000_000_000
        gap = LogGap(
            container=container, began_ns=began_ns, after=tuple(after), before=tuple(before),
            since_ns=since_ns,
        )  # fmt: skip
        filling = await filler.fill(gap)
        if filling.lines:
            self._give(list(filling.lines), keep=keep)
        if filling.problem:
            self._context.say(f"{container.pod}: {filling.problem}")
        return filling.is_whole or bool(filling.problem)

    async def _read(self, request: LogRequest, resume_point: ResumePoint, *, has_ended: bool) -> End | None:
        """Read one answer; None where it was dropped because a new one will be better."""
        context = self._context
        reading = Reading(
            resume_point, self._give, seeks_gaps=context.filler is not None,
            is_late=lambda line: self._is_late(line, request), is_short=request.tail_lines is not None,
        )  # fmt: skip
        response = context.source.open(request, reading)
        reading.pause = response.pause
        self.response = response
        began_s = _now_s()
        try:
            if not await _wait(reading.begun.wait(), _NO_ANSWER_S):
                return End(failure=FailureKind.AGAIN)
            if reading.ended.is_set() and not reading.got_any and reading.result.failure is not None:
                return reading.result
            await context.refresh()
            if not is_same(request.container, self._pod, previous=request.previous):
                return None
            self._output.set_open(True)
            reading.release()
            response.resume()
            end = await self._listen(request, reading, resume_point)
            await self._close_gap(reading, resume_point, request.container)
            self._output.set_open(end is None or end.failure is not None)  # other pods need not wait for it
            self._is_unread = end is None or end.failure is not None
            if end is not None and end.failure is None and not request.follow:
                reading.finish(has_ended=has_ended)
                # Of what still runs, the next reading could not tell which of its lines these are.
                await self._close_gap(reading, resume_point, request.container, keep=has_ended)
        finally:
            self.response = None
            response.close()
        is_steady = _now_s() - began_s > _STEADY_S
        if reading.got_any or is_steady:
            self._failures = self._logins = 0
        self._short = 0 if is_steady else self._short + 1
        self._words = reading.words
        return end

    def _is_late(self, line: bytes, request: LogRequest) -> bool:
        """Say whether lines may be missing before the first one of a log."""
        began_ns, stamp_ns = self._began_ns.get(request.container), parse_instant(line[:STAMP_BYTES])
        if line.endswith(BEGINS):
            return False
        if request.tail_lines is not None or began_ns is None or stamp_ns is None:
            return False
        return stamp_ns - max(began_ns, (request.since_s or 0) * 1_000_000_000) > LATE_NS

    async def _listen(self, request: LogRequest, reading: Reading, resume_point: ResumePoint) -> End | None:
        silent_s = SILENT_S * self._context.draw.uniform(0.8, 1.2)
        while not reading.ended.is_set():
            if request.follow and self._context.is_leaving():
                return None
            if await _wait(reading.stirred.wait(), min(silent_s, 5.0)):
                await self._close_gap(reading, resume_point, request.container)
                continue
            if self._output.is_full() or _now_s() - reading.heard_s < silent_s:
                continue
            if not request.follow:
                return End(failure=FailureKind.AGAIN)
            if await self._has_news(request, reading, resume_point):
                return None
            reading.heard_s = _now_s()
            silent_s = min(silent_s * 2, SILENT_MOST_S)
        return reading.result

    async def _has_news(self, request: LogRequest, reading: Reading, resume_point: ResumePoint) -> bool:
        """Say whether the log has gone on without our connection noticing: half-open, or lost in rotation."""
        heartbeat, heard_s = LastLine(), reading.heard_s
        # two, because the last one may still be in the writing
        response = self._context.source.open(LogRequest(container=request.container, tail_lines=2), heartbeat)
        try:
            is_there = await _wait(heartbeat.ended.wait(), _NO_ANSWER_S)
        finally:
            response.close()
        if not is_there or heartbeat.result.failure is not None:
            return heartbeat.result.failure is FailureKind.STALE
        if heartbeat.line is None:  # nothing, or nothing but parts of one long line, which tell nothing
            return heartbeat.has_part
        if heartbeat.line == resume_point.last:
            return False
        await _wait(reading.ended.wait(), _GRACE_S)
        return reading.heard_s == heard_s and not reading.ended.is_set()

    async def _recover(self, end: End | None, *, was_follow: bool) -> None:
        """Do what an answer's end asks for before the next one."""
        failure = end.failure if end is not None else None
        if failure is FailureKind.NEVER and end is not None and end.error is not None:
            raise end.error
        if failure is FailureKind.LOGIN and end is not None:
            self._logins += 1
            if self._logins > 2 and end.error is not None:
                raise end.error
            await self._context.login(end.refused)
        if failure is not None:
            self._failures += 1
            after_s = end.after_s if end is not None else 0.0
            await asyncio.sleep(back_off_s(self._failures, after_s=after_s, draw=self._context.draw))
        if failure is not FailureKind.LOGIN:
            await self._context.refresh()
        if was_follow and failure is None and end is not None:
            await self._await_more()

    async def _await_more(self) -> None:
        """Wait before a log whose answer has ended is followed again, unless its container has ended, too.

        A kubelet ends an answer a moment before the pod's status says that the container has ended. One that
        has run out of inotify instances ends each at once, however long the container goes on (kubelet,
        pkg/kubelet/kuberuntime/logs, "failed to create fsnotify watcher"): then this is how often it is read.
        """
        if self._short > _MANY_SHORT:
            why = f" ({self._words})" if self._words else ""
            name = "a pod" if self._pod is None else self._pod.container.pod
            self._context.say_once(
                "short",
                f"{name}: its node ends each followed log at once{why}; such logs are read every"
                f" {_PAUSE_MOST_S:.0f} s instead",
            )
        until_s = _now_s() + min(_PAUSE_S * 2 ** min(self._short, 16), _PAUSE_MOST_S)
        while (left_s := until_s - _now_s()) > 0 and not (self._pod is not None and self._pod.has_ended):
            self._looked.clear()
            await _wait(self._looked.wait(), left_s)

    def _give(self, lines: list[bytes], *, keep: bool = True) -> None:
        self.lines += len(lines)
        self._output.give(lines, keep=keep)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _wait(what: Awaitable[object], within_s: float) -> bool:
    try:
        await asyncio.wait_for(what, within_s)
    except asyncio.TimeoutError:
        return False
    return True


_FIRST_S, _LONGEST_S = 0.5, 15.0


class Step(Enum):
    """What to do next."""

    WAIT = "wait"
    """It has not started."""
    FOLLOW = "follow"
    READ = "read"
    """It has ended and is still there: what is left of it, once."""
    READ_PREVIOUS = "read previous"
    """The same, of a container after which another was started in its pod."""
    DONE = "done"
    GONE = "gone"
    """What is left of it cannot be had any more."""


def choose_step(container: Container, pod: Pod | None, *, is_complete: bool, follow: bool) -> Step:
    """Return what to do next.

    Args:
        container: Whose log is read.
        pod: What now has its pod's name; None where nothing has.
        is_complete: All of it was read after it had ended.
        follow: Go on with what runs; else read once what is there.
    """
    if is_complete:
        return Step.DONE
    if pod is not None and container in pod.earlier:
        return Step.READ_PREVIOUS
    if pod is None or container != pod.container:
        return Step.GONE
    if not pod.has_started:
        return Step.WAIT if follow else Step.DONE
    return Step.FOLLOW if follow and not pod.has_ended else Step.READ


def is_same(container: Container, pod: Pod | None, *, previous: bool) -> bool:
    """Say whether an answer is that container's, from a look that was begun after the answer had begun.

    The API resolves names, and a container may have been replaced between the last look and the request. Of
    a pod that is gone altogether the answer can only be the last one's.
    """
    if pod is None:
        return True
    return container in pod.earlier if previous else container == pod.container


def back_off_s(failures: int, *, after_s: float, draw: random.Random) -> float:
    """Return how long to wait before asking again: twice as long each time, drawn from its upper half.

    Args:
        failures: In a row, from 1.
        after_s: What the server asked for.
        draw: Randomness, so that many streams do not come back at once.
    """
    if failures <= 1 and not after_s:
        return draw.uniform(0.0, 0.2)
    longest_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(failures - 2, 10))
    return after_s + draw.uniform(longest_s / 2, longest_s)
