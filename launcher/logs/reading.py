"""Takes an answer to a request for a log: followed, or its end alone.

The bytes of a followed one become lines, which are withheld until it is known whose they are, and again where
lines may be missing before them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from launcher.logs.gaps import is_hidden
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
        stirred: Event of the end or of a gap.
        gap: Lines that were read last before lines that may be missing; None where none are. Nothing is given
            until `go_on`.
    """

    def __init__(
        self, resume_point: ResumePoint, give: Callable[[list[bytes]], None], *, seeks_gaps: bool = False,
        is_late: Callable[[bytes], bool] = lambda _: False, is_short: bool = False,
    ) -> None:  # fmt: skip
        """Read nothing yet.

        Args:
            resume_point: Where the log has been left.
            give: Takes new lines, in order.
            seeks_gaps: Stop where lines may be missing.
            is_late: Says of the first line of a log whether lines may be missing before it.
            is_short: Only the log's end is asked for, so that at its beginning none are missing.
        """
        self.begun, self.ended, self.stirred = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.gap: tuple[bytes, ...] | None = None
        self._after_gap: list[bytes] = []
        self._seeks_gaps, self._is_late, self._is_short = seeks_gaps, is_late, is_short
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
        self.stirred.set()

    def release(self) -> None:
        """The answer is ours: give what was withheld and what comes."""
        withheld, self._withheld, self._withheld_bytes = self._withheld or [], None, 0
        for piece in withheld:
            self.take(piece)

    @property
    def words(self) -> str:
        """The kubelet's own words at the answer's end; empty for none."""
        return self._cutter.words

    @property
    def after_gap(self) -> tuple[bytes, ...]:
        """The lines that have come after the gap."""
        return tuple(self._after_gap)

    def go_on(self) -> None:
        """Give what came after the gap, and what comes."""
        lines, self._after_gap, self.gap = self._after_gap, [], None
        self.stirred.clear()
        if self.ended.is_set():
            self.stirred.set()
        self._give(lines)
        self.release()

    def finish(self, *, has_ended: bool) -> None:
        """The answer is complete; of a container that has ended, a last line may lack its newline."""
        if has_ended:
            self._pass(self._cutter.finish())
        point = self._resume_point
        self._give_new(point.settle)
        # a container that runs may well have said nothing yet
        is_empty = has_ended and point.last is None and not self._is_short
        if self._seeks_gaps and self.gap is None and (point.pending is not None or point.is_cut or is_empty):
            # rotated away, and nothing that is shown has come since
            self._open_gap(tuple(point.recent) if point.pending is None else point.pending, [])

    def _pass(self, lines: list[bytes]) -> None:
        if lines:
            self._give_new(lambda: self._resume_point.take(lines))

    def _give_new(self, take: Callable[[], list[bytes]]) -> None:
        point = self._resume_point
        is_first, had_gap = point.last is None, point.has_gap
        new = take()
        if self.gap is not None:  # of the answer's end
            self._after_gap += new
            return
        if self._seeks_gaps and new and point.pending is None:
            if point.before_gap is not None:
                point.pending, point.has_gap = tuple(point.before_gap), had_gap
            elif is_first and self._is_late(new[0]):
                point.pending = ()
        if point.pending is not None:
            # Of lines that nobody is shown no copy is kept, so a gap's end is not found by them.
            shown = next((at for at, line in enumerate(new) if not is_hidden(line)), len(new))
            if shown < len(new):
                self._open_gap(point.pending, new[shown:])
                new = new[:shown]
        if new:
            self._give(new)

    def _open_gap(self, before: tuple[bytes, ...], after: list[bytes]) -> None:
        self.gap, self._after_gap, self._resume_point.pending = before, after, None
        self._withheld = self._withheld or []
        self.stirred.set()

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
