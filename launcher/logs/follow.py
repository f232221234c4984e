"""Follows a job: takes snapshots of its pods, keeps a task for each, and hands ripe lines on by their time.

Three kinds of tasks run beside each other. One takes snapshots (`_watch`), at its own pace and whenever a
pod's task asks for one, and tells every pod's task what it has seen. A task a pod (`podtask`) reads the pod's
containers one after the other into the merger. One writes (`_write`): ten times a second, or as soon as much
waits, it shows what no other pod can precede any more. All is over once the job has ended, each pod's
containers are read to their ends and two snapshots in a row have brought nothing new.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher.logs.gaps import GapFiller
from launcher.logs.log_format import Formatter
from launcher.logs.merge import Merger, Stream
from launcher.logs.podoutput import PodOutput
from launcher.logs.podtask import PodTask, back_off_s
from launcher.logs.recording import Recording
from launcher.logs.source import FailureKind, Snapshot, Source, SourceError

if TYPE_CHECKING:
    import resource
else:
    try:
        import resource
    except ImportError:  # Windows, where connections are not counted with a process's open files
        resource = None

SNAPSHOT_OF_A_POD_S = 0.008
"""More between snapshots that nobody has asked for; one of a thousand pods costs half a second twice."""
PATIENCE_S = 600.0
"""How long without a look at the job before giving up; upgrades of a control plane take minutes."""
LINGER_S = 10.0
"""How long a job's other pods may still write once it has ended."""
_TICK_S, _NAP_S, _BUSY_BYTES = 0.1, 0.02, 256 * 1024
_SNAPSHOT_PAUSE_S, _SNAPSHOT_PAUSE_OF_A_POD_S = 0.03, 0.0004
"""Between looks that are asked for: many pods ask for the same one, and others must get their turn."""
_SAVE_S = 1.0
_MOST_LOGINS = 2
_ROOM_BYTES = 4 * 1024 * 1024
_STREAM_BYTES = 64 * 1024


class Follower:
    """One job's logs, until it has ended or for one reading. A `PodContext` and `OutputSink` of its pods."""

    def __init__(
        self, source: Source, *, show: Callable[[list[bytes]], None], say: Callable[[str], None],
        formatter: Callable[[int], Formatter], recording: Recording | None, follow: bool,
        since_s: int | None = None, tail_lines: int | None = None, previous_only: bool = False,
        is_joined: bool = False, filler: GapFiller | None = None, draw: random.Random,
    ) -> None:  # fmt: skip
        """See `run`.

        Args:
            source: Where the job runs.
            show: Takes shown lines, without newlines, in their order, some times a second; may block.
            say: Takes sentences for the user.
            formatter: Makes the formatter of a node.
            recording: Where lines are kept and earlier ones were, or None.
            follow: Until the job has ended; else once.
            since_s: Of the first request for each log; see `LogRequest`.
            tail_lines: Number of lines at the end to begin with; None for all.
            previous_only: Of each pod the container before the present one, and nothing else.
            is_joined: The source has recorded containers too, in order.
            filler: Has the lines that a pod's log lacks, or None.
            draw: Randomness of pauses.
        """
        self.source, self.draw, self.follow, self.filler = source, draw, follow, filler
        self.since_s, self.tail_lines = since_s, tail_lines
        self.say = say
        self.recording, self.is_joined = recording, is_joined
        self.stream_bytes = _STREAM_BYTES
        self.semaphore = asyncio.Semaphore(most_at_once())
        self._show, self._formatter, self._previous_only = show, formatter, previous_only
        self._merger = Merger()
        self._outputs: dict[int, PodOutput] = {}
        self._tasks: dict[int, PodTask] = {}
        self._running: list[asyncio.Task[None]] = []
        self._snapshots = 0
        self._taken, self._kick, self._busy = asyncio.Condition(), asyncio.Event(), asyncio.Event()
        self._fresh = asyncio.Event()
        self._ended_s: float | None = None
        self._login: asyncio.Task[None] | None = None
        self._waiting, self._is_silent = Waiting(say), False
        self._lines_before = 0
        self._shown_at = self._logins = self._full = 0
        self._saved_s = float("-inf")
        self._has_told_trouble = False
        self._told_kinds: set[str] = set()
        self._failing_s = 0.0
        self._is_asking = False

    async def run(self) -> None:
        """Show all lines.

        Raises:
            LaunchError: The logs cannot be had.
        """
        watching = asyncio.create_task(self._watch())
        writing = asyncio.create_task(self._write())
        try:
            done, _ = await asyncio.wait({watching, writing}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _end({watching, writing, *self._running})
            self._show(self._merger.take_all())

    async def refresh(self) -> None:
        """See `PodContext`."""
        wanted = self._snapshots + 2 if self._is_asking else self._snapshots + 1
        self._kick.set()
        async with self._taken:
            await self._taken.wait_for(lambda: self._snapshots >= wanted)

    async def change(self) -> None:
        """See `PodContext`."""
        now = self._snapshots
        async with self._taken:
            await self._taken.wait_for(lambda: self._snapshots > now)

    async def login(self, refused: object) -> None:
        """See `PodContext`."""
        if self._login is None or self._login.done():
            self._login = asyncio.create_task(self._renew(refused))
        await asyncio.shield(self._login)

    def say_once(self, kind: str, text: str) -> None:
        """See `PodContext`."""
        if kind not in self._told_kinds:
            self._told_kinds.add(kind)
            self.say(text)

    def settle(self) -> None:
        """See `PodContext`."""
        if all(task.is_idle for task in self._tasks.values()):
            self._kick.set()

    def is_leaving(self) -> bool:
        """See `PodContext`."""
        return self._ended_s is not None and self._now_s() - self._ended_s > LINGER_S

    def add(self, stream: Stream, items: list[bytes]) -> None:
        """Take a pod's shaped lines."""
        self._merger.add(stream, items, now_s=self._now_s())
        self._fresh.set()
        if self._merger.waiting_bytes - self._shown_at >= max(_BUSY_BYTES, self._shown_at // 4):
            self._busy.set()

    def wake(self) -> None:
        """See `OutputSink`."""
        self._busy.set()

    def note_full(self, change: int) -> None:
        """See `OutputSink`."""
        self._full += change
        if 2 * self._full >= len(self._tasks):
            self.wake()

    async def _watch(self) -> None:
        failures = quiet_snapshots = 0
        while True:
            self._is_asking = True
            self._kick.clear()
            try:
                snapshot = await self.source.snapshot()
                failures = self._logins = 0
                if self._is_silent:
                    self._is_silent = False
                    self.say("the cluster answers again")
            except SourceError as error:
                failures += 1
                await self._bear(error, failures)
                continue
            lines = sum(task.lines for task in self._tasks.values())
            self._take(snapshot)
            self._is_asking = False
            self._snapshots += 1
            async with self._taken:
                self._taken.notify_all()
            self._show([])
            for task in self._running:
                if task.done():
                    task.result()
            is_idle = all(task.is_idle for task in self._tasks.values())
            over = is_idle and (snapshot.has_ended or not self.follow)
            quiet_snapshots = quiet_snapshots + 1 if over and lines == self._lines_before else 0
            self._lines_before = lines
            if quiet_snapshots > (1 if self.follow else 0):
                return
            with suppress(asyncio.TimeoutError):
                pause_s = self.source.snapshot_every_s + SNAPSHOT_OF_A_POD_S * len(self._tasks)
                await asyncio.wait_for(self._kick.wait(), 0.05 if over else pause_s)
            if self._kick.is_set():
                await asyncio.sleep(_SNAPSHOT_PAUSE_S + _SNAPSHOT_PAUSE_OF_A_POD_S * len(self._tasks))

    async def _bear(self, error: SourceError, failures: int) -> None:
        end = error.end
        self._logins += end.failure is FailureKind.LOGIN
        self._failing_s = self._now_s() if failures == 1 else self._failing_s
        is_long = self._now_s() - self._failing_s > PATIENCE_S
        if end.failure is FailureKind.NEVER or self._logins > _MOST_LOGINS or is_long:
            raise end.error or error
        if end.failure is FailureKind.LOGIN:
            await self.login(end.refused)
        if end.error is not None and failures == 3:
            self._is_silent = True
            self.say(f"no answer, asking on (the job is not touched by that): {end.error}")
        await asyncio.sleep(back_off_s(failures, after_s=end.after_s, draw=self.draw))

    def _take(self, snapshot: Snapshot) -> None:
        if snapshot.has_ended and self._ended_s is None:
            self._ended_s = self._now_s()
        elif not snapshot.has_ended:
            self._ended_s = None
        now = {pod.container.node: pod for pod in snapshot.pods}
        if self.recording is not None and not self._snapshots:
            recorded = self.recording.containers()
            for node in {container.node for container in recorded} - set(now):
                self._open(node)
                self._tasks[node].recall([container for container in recorded if container.node == node])
        new = [node for node in now if node not in self._tasks]
        for node in new:
            self._open(node)
        if new and (too_few := make_room(len(self._tasks))):
            self.say(too_few)
        self.stream_bytes = max(16 * 1024, min(_STREAM_BYTES, _ROOM_BYTES // max(1, len(self._tasks))))
        for node, task in self._tasks.items():
            task.see(now.get(node), previous_only=self._previous_only)
        if self.follow and not snapshot.has_ended:
            waiting = {pod.container.pod: pod.waits_for for pod in snapshot.pods if not pod.has_started}
            self._waiting.tell(waiting, of_job=snapshot.waits_for)

    def _open(self, node: int) -> None:
        output = PodOutput(
            self, self._merger.open_stream(), self._formatter(node), find_response=lambda: task.response
        )
        task = PodTask(self, output)
        self._outputs[node], self._tasks[node] = output, task
        self._running.append(asyncio.create_task(task.run()))

    async def _renew(self, refused: object) -> None:
        await self.source.renew(refused)

    async def _write(self) -> None:
        while True:
            if not self._merger.waiting_bytes:
                self._fresh.clear()
                await self._fresh.wait()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._busy.wait(), _TICK_S)
            self._busy.clear()
            before = self._merger.waiting_bytes
            for lines in self._merger.take_pieces(now_s=self._now_s()):
                self._show(lines)
            self._shown_at = self._merger.waiting_bytes
            if self.recording is not None and self._now_s() > self._saved_s + _SAVE_S:
                self._saved_s = self._now_s()
                self.recording.flush()
                if self.recording.failure and not self._has_told_trouble:
                    self._has_told_trouble = True
                    self.say(self.recording.failure)
            for output in self._outputs.values():
                output.make_room()
            if before - self._shown_at < before // 8:
                await asyncio.sleep(_NAP_S)  # sorting what waits again and again for a line each is dear

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: before Python 3.12 `asyncio.wait_for` loses a cancellation that comes together with
    what it waits for (github.com/python/cpython/issues/86296).
    """
    running = tasks
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=0.05)
    await asyncio.gather(*tasks, return_exceptions=True)


_OF_A_POD = 2
_ANY = 1 << 20
_OWN = 64  # the interpreter's, the terminal's, the looks' and heartbeats' connections


def most_at_once() -> int:
    """Return how many pods can be read at once, the soft limit raised to the hard one; at least one."""
    if not resource:
        return _ANY
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ANY if hard == resource.RLIM_INFINITY else max(1, (hard - _OWN) // _OF_A_POD)


def make_room(pods: int) -> str:
    """Raise the soft limit of open files, as far as the hard one lets us, to what so many pods need.

    Returns:
        A sentence for the user where that is not enough, else nothing.
    """
    if not resource:
        return ""
    needed = _OF_A_POD * pods + _OWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ""
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (ValueError, OSError):  # a sandbox may refuse even that
        most = soft
    if most >= needed:
        return ""
    at_once = max(1, (most - _OWN) // _OF_A_POD)
    return (
        f"open files: expected room for {needed}, two for each of {pods} pods, got a hard limit of {most}; "
        f"{at_once} pods are read at once and each other one when one of these has been read to its end; "
        f"raise it with `ulimit -Hn {needed}` as root or choose pods with --node"
    )


_COUNTS = re.compile(r"\d+")
MAX_TEXT = 600


class Waiting:
    """What was said of one job."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` takes a sentence for the user."""
        self._say = say
        self._said: set[str] = set()

    def tell(self, pods: Mapping[str, str], *, of_job: str = "") -> None:
        """Say what has not been said yet.

        Args:
            pods: Reasons, where known, by the names of the pods that wait; empty once all run, and then all
                is forgotten.
            of_job: Of the job as a whole, said where no pod has a reason.
        """
        if not pods and not of_job:
            self._said.clear()
        reasons: dict[str, list[str]] = {}
        for pod, reason in pods.items():
            if reason:
                reasons.setdefault(_flatten(reason), []).append(pod)
        for reason, names in reasons.items():
            who = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
            self._tell_once(reason, f"waiting for {who}: {reason}")
        if not reasons and of_job:
            self._tell_once(_flatten(of_job), f"waiting: {_flatten(of_job)}")

    def _tell_once(self, reason: str, sentence: str) -> None:
        # in a busy cluster the scheduler's counts of nodes change with every look
        key = _COUNTS.sub("#", reason)
        if key not in self._said:
            self._said.add(key)
            self._say(sentence)


def _flatten(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= MAX_TEXT else f"{flat[:MAX_TEXT]}…"
