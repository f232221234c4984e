"""Takes an answer to a request for a log: followed, or its end alone.

The bytes of a followed one become lines, which are withheld until it is known whose they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from launcher.logs.lines import LineCutter
from launcher.logs.resume_point import ResumePoint
from launcher.logs.source import End, LogRequest, Source

T = TypeVar("T")
_WITHHELD_BYTES = 4 * 1024
TAIL_LINES = 512
"""Some 64 KiB of usual lines."""


class Reading:
    """Receives an answer. A `Receiver`.

    Attributes:
        begun, ended: Events of the answer.
        result: How it ended, once `ended` is set.
        heard_s: When the last piece came, by the loop's clock.
    """

    def __init__(self, resume_point: ResumePoint, give: Callable[[list[bytes]], None]) -> None:
        """`give` takes new lines, in order."""
        self.begun, self.ended = asyncio.Event(), asyncio.Event()
        self.result = End()
        self.heard_s = asyncio.get_running_loop().time()
        self.got_any = False
        self.pause: Callable[[], None] = lambda: None
        self._cutter = LineCutter()
        self._resume_point = resume_point
        self._give = give
        self._withheld: list[bytes] | None = []
        self._withheld_bytes = 0

    def begin(self) -> None:
        """See `Receiver`."""
        self._resume_point.reopen()
        self._touch()
        self.begun.set()

    def take(self, piece: bytes) -> None:
        """See `Receiver`."""
        self._touch()
        self.got_any = True
        if self._withheld is None:
            self._pass(self._cutter.take(piece))
            return
        self._withheld.append(piece)
        self._withheld_bytes += len(piece)
        if self._withheld_bytes > _WITHHELD_BYTES:
            self.pause()

    def end(self, end: End) -> None:
        """See `Receiver`."""
        self.result = end
        self.begun.set()
        self.ended.set()

    def release(self) -> None:
        """The answer is ours: give what was withheld and what comes."""
        withheld, self._withheld = self._withheld or [], None
        for piece in withheld:
            self._pass(self._cutter.take(piece))

    def finish(self, *, has_ended: bool) -> None:
        """The answer is complete; of a container that has ended, a last line may lack its newline."""
        if has_ended:
            self._pass(self._cutter.finish())
        rest = self._resume_point.settle()
        if rest:
            self._give(rest)

    def _pass(self, lines: list[bytes]) -> None:
        new = self._resume_point.take(lines) if lines else lines
        if new:
            self._give(new)

    def _touch(self) -> None:
        self.heard_s = asyncio.get_running_loop().time()


class LastLine:
    """Receives the answer of a heartbeat: the last whole line of a log. A `Receiver`."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.result = End()
        self._cutter = LineCutter()
        self._lines: list[bytes] = []

    @property
    def line(self) -> bytes | None:
        """The line, or None where there is none."""
        return self._lines[-1] if self._lines else None

    @property
    def has_part(self) -> bool:
        """Whether a line without its newline followed."""
        return self._cutter.kept_bytes > 0

    def begin(self) -> None:
        """See `Receiver`."""

    def take(self, piece: bytes) -> None:
        """See `Receiver`."""
        self._lines += self._cutter.take(piece)

    def end(self, end: End) -> None:
        """See `Receiver`."""
        self.result = end
        self.ended.set()


class _Tail:
    """Receives the end of a log as it is. A `Receiver`."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.data = b""

    def begin(self) -> None:
        """See `Receiver`."""

    def take(self, piece: bytes) -> None:
        """See `Receiver`."""
        self.data += piece

    def end(self, end: End) -> None:
        """See `Receiver`."""
        del end
        self.ended.set()


async def read_tails(source: Source, *, pods: int, tail_lines: int = TAIL_LINES) -> dict[str, bytes]:
    """Return the end of the newest log of the first pods that have one, as lines of `RFC3339Nano text`.

    Args:
        source: Where the job runs.
        pods: At most so many, by node.
        tail_lines: Of each log.
    """
    found: dict[str, bytes] = {}
    for pod in sorted((await source.snapshot()).pods, key=lambda pod: pod.container.node):
        newest = pod.container if pod.has_started else next(reversed(pod.earlier), None)
        if newest is None or len(found) == pods:
            continue
        tail = _Tail()
        previous = newest != pod.container
        response = source.open(LogRequest(container=newest, previous=previous, tail_lines=tail_lines), tail)
        try:
            await tail.ended.wait()
        finally:
            response.close()
        found[newest.pod] = tail.data
    return found


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end and return its result, whoever calls.

    In a notebook a cell runs within an event loop, where `asyncio.run` is refused: then in another thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()
