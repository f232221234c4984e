"""Server-sent events: what has changed of a page, for as long as a browser holds it open.

An own ASGI answer and not Starlette's `StreamingResponse`: that one learns that nobody listens any more when
it writes the next time, and until then a cluster would be asked for nobody.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

LEAST_S = 0.25
"""Between two messages: what changes more often is drawn together."""
BEAT_S = 5.0
"""After so long without a change all is drawn again, because times go on."""


class View(Protocol):
    """A page that is looked at."""

    def draw(self) -> Mapping[str, str]:
        """Return the HTML of each part as it is now. Called in a thread."""

    def new_lines(self) -> tuple[int, list[str]] | None:
        """Return the number of the first line that was not given yet, and the lines; None for no log."""


Attend = Callable[[Callable[[], None]], AbstractContextManager[View]]
"""Begins to watch, and has a function called, in any thread, at each change; ends with the context."""


class EventStream:
    """The answer to a request for events."""

    def __init__(self, attend: Attend, ended: asyncio.Event) -> None:
        """`ended` is set when the server ends."""
        self._attend, self._ended = attend, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what has changed until nobody listens."""
        del scope
        headers = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        gone = asyncio.create_task(_wait_until_gone(receive))
        ended = asyncio.create_task(self._ended.wait())
        changed, loop = asyncio.Event(), asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: the server has ended
                loop.call_soon_threadsafe(changed.set)

        context = self._attend(wake)
        view = await asyncio.to_thread(context.__enter__)
        try:
            sent: dict[str, str] = {}
            while not gone.done() and not ended.done():
                changed.clear()
                for text in await asyncio.to_thread(_compose, view, sent):
                    await send({"type": "http.response.body", "body": text, "more_body": True})
                await asyncio.wait({gone, ended}, timeout=LEAST_S)
                waiting = asyncio.create_task(changed.wait())
                await asyncio.wait(
                    {waiting, gone, ended}, timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED
                )
                waiting.cancel()
        finally:
            gone.cancel()
            ended.cancel()
            await asyncio.to_thread(context.__exit__, None, None, None)
        with suppress(OSError):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _compose(view: View, sent: dict[str, str]) -> list[bytes]:
    """Return the events for what differs from what was sent, and note that it is sent now."""
    drawn = view.draw()
    changed = {key: html for key, html in drawn.items() if sent.get(key) != html}
    sent.update(changed)
    events = [_format("parts", changed)] if changed else [b": beat\n\n"]
    lines = view.new_lines()
    if lines is not None and lines[1]:
        events.append(_format("lines", {"first": lines[0], "lines": lines[1]}))
    return events


def _format(name: str, data: object) -> bytes:
    """Write an event. JSON has no line breaks, which would end it."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
