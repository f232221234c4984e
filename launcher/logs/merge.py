"""Several pods' lines -> one stream by time, each pod's own order kept whatever its clock says.

Items are bytes that begin with a time (`launcher.logs.lines`); sorting runs that are sorted already is what
Python's sort does best, so there is no heap and no object a line. Items are compared as a whole, which is
the same as by their times but where one pod has several of one time; only while such wait, times are cut out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter

from launcher.times import STAMP_BYTES

HOLD_S = 0.3
"""How long a line waits for earlier ones of other pods."""
_PIECE, _PARTS = 2048, 8
_time_of = itemgetter(slice(0, STAMP_BYTES))
_text_of = itemgetter(slice(STAMP_BYTES, None))


class Stream:
    """One pod's place in the merger.

    Attributes:
        waiting_bytes: Of items that the merger still holds.
        heard_s: When it was last opened or gave lines, by the merger's clock.
        is_open: More lines can come at any moment.
        newest: Time of its last item.
        tied: Time of the last item that was given, where its texts would turn the items' order around.
    """

    def __init__(self) -> None:
        self.newest = self.tied = b""
        self._last = b""
        self.waiting_bytes = 0
        self.heard_s = float("-inf")
        self.is_open = False
        self._batches: deque[tuple[bytes, int]] = deque()

    def order(self, items: list[bytes]) -> list[bytes]:
        """Return the items with times that never go back, and note them."""
        self.tied = b""
        if items[0] < self._last or items != sorted(items):
            # A clock that was set back must not turn a pod's own order around.
            for number, item in enumerate(items):
                self.newest = max(self.newest, item[:STAMP_BYTES])
                items[number] = self.newest + item[STAMP_BYTES:]
            self.tied = self.newest
        self._last = items[-1]
        self.newest = self._last[:STAMP_BYTES]
        size = sum(map(len, items))
        self.waiting_bytes += size
        # Of many lines some may leave before the last one does, and make room.
        first, left = 0, size
        for end in range(step := max(1, -(-len(items) // _PARTS)), len(items), step):
            part = size * (end - first) // len(items)
            self._batches.append((items[end - 1][:STAMP_BYTES], part))
            first, left = end, left - part
        self._batches.append((self.newest, left))
        return items

    def leave(self, until: bytes | None) -> None:
        """Note that the items up to a time have left the merger."""
        while self._batches and (until is None or self._batches[0][0] <= until):
            self.waiting_bytes -= self._batches.popleft()[1]


class Merger:
    """Takes each pod's items in their order and gives all pods' items back, each exactly once."""

    def __init__(self) -> None:
        self._items: list[bytes] = []
        self._streams: list[Stream] = []
        self._arrivals: deque[tuple[float, bytes]] = deque()
        self._newest = b""
        self._waited = b""
        self._tied = b""
        self.waiting_bytes = 0

    def open_stream(self) -> Stream:
        """Make the place of one more pod."""
        self._streams.append(Stream())
        return self._streams[-1]

    def add(self, stream: Stream, items: list[bytes], *, now_s: float) -> None:
        """Take a pod's next items."""
        stream.heard_s = now_s
        if items:
            before = stream.waiting_bytes
            self._items += stream.order(items)
            self.waiting_bytes += stream.waiting_bytes - before
            self._newest = max(self._newest, stream.newest)
            self._tied = max(self._tied, stream.tied)

    def take_ripe(self, *, now_s: float) -> list[bytes]:
        """Return the items that need not wait any longer, without their times."""
        return list(chain.from_iterable(self.take_pieces(now_s=now_s)))

    def take_pieces(self, *, now_s: float) -> Iterator[list[bytes]]:
        """Give the items that need not wait any longer, without their times, some thousands at once.

        Those that no pod can precede any more, by what each has said last, and those that have waited for
        `HOLD_S` here: a node's clock may be minutes ahead of ours, and a pod silent for ever.
        """
        while self._arrivals and self._arrivals[0][0] <= now_s - HOLD_S:
            self._waited = self._arrivals.popleft()[1]
        self._arrivals.append((now_s, self._newest))
        talking = [
            stream.newest for stream in self._streams if stream.is_open and now_s - stream.heard_s < HOLD_S
        ]
        until = max(self._waited, min(talking, default=self._newest))
        return self._take(until) if until else iter(())

    def take_all(self) -> list[bytes]:
        """Return all items that are left, without their times."""
        return list(chain.from_iterable(self._take(None)))

    def _take(self, until: bytes | None) -> Iterator[list[bytes]]:
        items = self._items
        items.sort(key=_time_of if self._tied else None)
        end = len(items) if until is None else bisect_right(items, until, key=_time_of)
        ripe = items[:end]
        del items[:end]
        if until is None or until >= self._tied:
            self._tied = b""
        for stream in self._streams:
            if stream.waiting_bytes:
                before = stream.waiting_bytes
                stream.leave(until)
                self.waiting_bytes -= before - stream.waiting_bytes
        ripe.reverse()  # a list is cheap to shorten at its end
        while ripe:
            piece = ripe[: -_PIECE - 1 : -1]
            del ripe[-_PIECE:]
            yield list(map(_text_of, piece))
