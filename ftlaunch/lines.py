"""Lines of a log: which are wanted, and an iterator from a reader that hands them to a function."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from launcher.errors import UsageError

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


def read_since(since: str | datetime | timedelta | None) -> int:
    """Return a moment as nanoseconds of Unix time, 0 for none.

    Args:
        since: A moment, how long ago that is, or either as `ftlaunch logs --since` takes it.

    Raises:
        UsageError: It is none of them.
    """
    from launcher.logs.log_filter import parse_since

    if since is None:
        return 0
    if isinstance(since, timedelta):
        since = datetime.now().astimezone() - since
    if isinstance(since, datetime):
        return int(since.timestamp() * 1e9)
    try:
        return parse_since(since, now_s=time.time())
    except ValueError as error:
        raise UsageError(f"since: {error}") from error


def read_pattern(grep: str | re.Pattern[str] | None) -> re.Pattern[str] | None:
    """Return what a line must hold; None for any.

    Raises:
        UsageError: It is no regular expression.
    """
    try:
        return None if grep is None else re.compile(grep)
    except re.error as error:
        raise UsageError(
            where="grep", expected="a regular expression", got=repr(grep), said=str(error),
            fix="put a backslash before signs that stand for themselves",
        ) from error  # fmt: skip
