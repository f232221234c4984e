"""A queue of things that happened, waited for with a limit."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """First in, first out; `put` never waits."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[T] = asyncio.Queue()

    def put(self, item: T) -> None:
        """Add an item."""
        self._queue.put_nowait(item)

    async def get(self, timeout_s: float) -> T | None:
        """Return the next item, or None where none came within `timeout_s`."""
        if not self._queue.empty():
            return self._queue.get_nowait()
        try:
            return await asyncio.wait_for(self._queue.get(), max(0.0, timeout_s))
        except asyncio.TimeoutError:
            return None
