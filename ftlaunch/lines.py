"""Lines of a log as an iterator, from a reader that hands them to a function."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

_QUEUED_BATCHES = 256


class _LeftError(Exception):
    """Whoever read the lines has left."""


def iterate_lines(read: Callable[[Callable[[list[bytes]], None]], object]) -> Iterator[str]:
    """Turn a reader that hands lines to a function into an iterator.

    The reader runs in a thread of its own and is held back by a bounded queue, so that a slow loop over the
    log of a large job costs no memory. It also calls with no lines, as a clock: that is where it learns that
    the loop was left.
    """
    batches: queue.Queue[list[bytes] | BaseException | None] = queue.Queue(_QUEUED_BATCHES)
    left = threading.Event()

    def put(item: list[bytes] | BaseException | None) -> None:
        while not left.is_set():
            try:
                return batches.put(item, timeout=0.1)
            except queue.Full:
                continue
        raise _LeftError

    def write(lines: list[bytes]) -> None:
        if left.is_set():
            raise _LeftError
        if lines:
            put(list(lines))

    def work() -> None:
        end: BaseException | None = None
        try:
            read(write)
        except _LeftError:
            return
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that iterates
            end = error
        try:
            put(end)
        except _LeftError:
            return

    thread = threading.Thread(target=work, name="ftlaunch-logs", daemon=True)
    thread.start()
    try:
        while (item := batches.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield from (line.decode("utf-8", "replace") for line in item)
    finally:
        left.set()
        thread.join(timeout=5)
