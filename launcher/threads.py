"""Calls that are carried out side by side, in threads that end with the process at the latest.

Not `concurrent.futures`: its workers are waited for when the interpreter ends, and what is called here may
hang (a container engine, a cluster that does not answer), while a command must end all the same. Where
calls are known to end, a ThreadPoolExecutor is right, and is used.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """How a call ended: with a value, or with what it raised."""

    value: T | None = None
    error: BaseException | None = None

    def result(self) -> T:
        """Return the value, or raise what the call raised."""
        if self.error is not None:
            raise self.error
        return cast("T", self.value)


def begin(call: Callable[[], T]) -> Callable[[], T]:
    """Begin a call before its result is needed.

    Returns:
        What waits for the result and returns it, or raises what the call raised.
    """
    ended: list[Ended[T]] = []
    thread = threading.Thread(target=lambda: ended.append(_carry_out(call)), daemon=True)
    thread.start()

    def wait() -> T:
        thread.join()
        return ended[0].result()

    return wait


def run_within(
    calls: Sequence[Callable[[], T]], *, within_s: float, at_once: int | None = None
) -> list[Ended[T] | None]:
    """Carry calls out side by side, and wait for them only so long.

    Args:
        calls: Each begins in the order in which they are.
        within_s: Seconds, of all together.
        at_once: How many run at the same time; None for all.

    Returns:
        How each call ended, in their order; None of one that goes on, or was not begun.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(calls)):
        waiting.put(index)
    heard: queue.SimpleQueue[tuple[int, Ended[T]]] = queue.SimpleQueue()

    def work() -> None:
        while True:
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            heard.put((index, _carry_out(calls[index])))

    for _ in range(min(len(calls), at_once or len(calls))):
        threading.Thread(target=work, daemon=True).start()
    ended: list[Ended[T] | None] = [None] * len(calls)
    until_s = time.monotonic() + within_s
    for _ in calls:
        try:
            index, result = heard.get(timeout=max(0.0, until_s - time.monotonic()))
        except queue.Empty:
            break
        ended[index] = result
    return ended


def _carry_out(call: Callable[[], T]) -> Ended[T]:
    try:
        return Ended(value=call())
    except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
        return Ended(error=error)
