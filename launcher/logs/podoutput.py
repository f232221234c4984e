"""One pod's way into the merger and onto disk, with what slows its reading down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from launcher.logs.log_format import Formatter
from launcher.logs.merge import Stream
from launcher.logs.recording import Record, Recording
from launcher.logs.resume_point import ResumePoint
from launcher.logs.source import SAVED, Container, LogResponse


class OutputSink(Protocol):
    """What a pod's output shares with those of the other pods."""

    recording: Recording | None
    is_joined: bool
    """Pods have all containers that were recorded, in order: none is shown before another begins."""
    stream_bytes: int

    def add(self, stream: Stream, items: list[bytes]) -> None:
        """Take a pod's shaped lines."""

    def wake(self) -> None:
        """Let what need not wait any longer be shown."""

    def note_full(self, change: int) -> None:
        """Take note that one pod more (1) or less (-1) is not read for now."""


class PodOutput:
    """An `Output`. A pod of which too much waits is not read until some of it has been shown."""

    def __init__(
        self,
        sink: OutputSink,
        stream: Stream,
        formatter: Formatter,
        *,
        find_response: Callable[[], LogResponse | None],
    ) -> None:
        """`find_response` gives the pod's answer that is under way."""
        self._sink, self._stream, self._formatter = sink, stream, formatter
        self._find_response = find_response
        self._record: Record | None = None
        self._replayed: set[Container] = set()
        self._room = asyncio.Event()
        self._is_paused = False

    async def begin(self, container: Container) -> ResumePoint:
        """See `Output`."""
        recording = self._sink.recording
        if recording is None or container.pod == SAVED:  # which lies on this machine already
            self._close_record()
            return ResumePoint()
        earlier = [] if self._sink.is_joined else recording.containers(container.node)
        if container in earlier:
            earlier = earlier[: earlier.index(container)]
        for before in earlier:
            await self._replay(recording, before, ResumePoint())
        self._close_record()
        record = self._record = recording.open(container)
        await self._replay(recording, container, record.resume_point)
        return record.resume_point

    def _close_record(self) -> None:
        record, self._record = self._record, None
        if record is not None:
            record.close()

    async def _replay(self, recording: Recording, container: Container, resume_point: ResumePoint) -> None:
        is_new = container not in self._replayed
        self._replayed.add(container)
        for lines in recording.read(container):
            resume_point.take(lines)
            if is_new:
                self.set_open(True)
                self._show(lines)
            while self.is_full():
                self._pause()
                self._room.clear()
                await self._room.wait()

    def _show(self, lines: list[bytes]) -> None:
        self._sink.add(self._stream, self._formatter.format_lines(lines))

    def give(self, lines: list[bytes], *, keep: bool = True) -> None:
        """See `Output`."""
        if self._record is not None and keep:
            self._record.add(lines)
        self._show(lines)
        response = self._find_response()
        if response is not None and self.is_full():
            response.pause()
            self._pause()

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._sink.note_full(1)

    def set_open(self, is_open: bool) -> None:
        """See `Output`."""
        self._stream.is_open = is_open
        self._stream.heard_s = asyncio.get_running_loop().time()
        if not is_open:
            self._sink.wake()
            if self._record is not None:
                self._record.close()  # another pod may need an open file

    def is_full(self) -> bool:
        """See `Output`."""
        return self._stream.waiting_bytes > self._sink.stream_bytes

    def make_room(self) -> None:
        """Some of what waited has been shown: go on reading where enough has."""
        if self._is_paused and not self.is_full():
            self._is_paused = False
            self._sink.note_full(-1)
            self._room.set()
            response = self._find_response()
            if response is not None:
                response.resume()
