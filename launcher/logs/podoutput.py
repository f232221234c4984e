"""One pod's way into the merger and onto disk, with what slows its reading down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from launcher.logs.merge import Lane
from launcher.logs.recording import Record, Recording
from launcher.logs.resume_point import Overlap
from launcher.logs.shape import Shaper
from launcher.logs.source import Answer, Container


class Intake(Protocol):
    """What a pod's output shares with those of the other pods."""

    recording: Recording | None
    lane_bytes: int

    def add(self, lane: Lane, items: list[bytes]) -> None:
        """Take a pod's shaped lines."""

    def wake(self) -> None:
        """Let what need not wait any longer be shown."""

    def note_full(self, change: int) -> None:
        """Take note that one pod more (1) or less (-1) is not read for now."""


class PodOutput:
    """An `Output`. A pod of which too much waits is not read until some of it has been shown."""

    def __init__(
        self, intake: Intake, lane: Lane, shaper: Shaper, *, find_answer: Callable[[], Answer | None]
    ) -> None:
        """`find_answer` gives the pod's answer that is under way."""
        self._intake, self._lane, self._shaper = intake, lane, shaper
        self._find_answer = find_answer
        self._record: Record | None = None
        self._replayed: set[Container] = set()
        self._room = asyncio.Event()
        self._is_paused = False

    async def begin(self, container: Container) -> Overlap:
        """See `Output`."""
        recording = self._intake.recording
        if recording is None:
            return Overlap()
        earlier = recording.containers(container.node)
        if container in earlier:
            earlier = earlier[: earlier.index(container)]
        for before in earlier:
            await self._replay(recording, before, Overlap())
        if self._record is not None:
            self._record.close()
        record = self._record = recording.open(container)
        await self._replay(recording, container, record.overlap)
        return record.overlap

    async def _replay(self, recording: Recording, container: Container, overlap: Overlap) -> None:
        is_new = container not in self._replayed
        self._replayed.add(container)
        for lines in recording.read(container):
            overlap.take(lines)
            if is_new:
                self.set_open(True)
                self._show(lines)
            while self.is_full():
                self._pause()
                self._room.clear()
                await self._room.wait()

    def _show(self, lines: list[bytes]) -> None:
        self._intake.add(self._lane, self._shaper.shape(lines))

    def give(self, lines: list[bytes]) -> None:
        """See `Output`."""
        if self._record is not None:
            self._record.add(lines)
        self._show(lines)
        answer = self._find_answer()
        if answer is not None and self.is_full():
            answer.pause()
            self._pause()

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._intake.note_full(1)

    def set_open(self, is_open: bool) -> None:
        """See `Output`."""
        self._lane.is_open = is_open
        self._lane.heard_s = asyncio.get_running_loop().time()
        if not is_open:
            self._intake.wake()
            if self._record is not None:
                self._record.close()  # another pod may need an open file

    def is_full(self) -> bool:
        """See `Output`."""
        return self._lane.waiting_bytes > self._intake.lane_bytes

    def make_room(self) -> None:
        """Some of what waited has been shown: go on reading where enough has."""
        if self._is_paused and not self.is_full():
            self._is_paused = False
            self._intake.note_full(-1)
            self._room.set()
            answer = self._find_answer()
            if answer is not None:
                answer.resume()
