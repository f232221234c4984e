"""TensorBoard's event files, in the run's output folder or where `uri` says.

One file a run, appended to: a record is its length, a checksum of that, an `Event`, and a checksum of it
(TensorFlow, lib/io/record_writer.h). Of tensorboardX only the messages and the checksum are used: its writer
begins a file in each life and hands records to a thread, so that nobody knows what a kill has left of them.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import text

from trainer.protocol.safe_files import make_folders, open_append, open_read
from trainer.protocol.tracking import Ending
from trainer.trackers.places import folder_of
from trainer.trackers.tracker import Row, Run, Tracker

FOLDER = "tensorboard"
_VERSION = "brain.Event:2"
_MASK = 0xA282EAD8


class TensorBoard(Tracker):
    """Writes scalars, and what else is known of a run as text."""

    def __init__(self) -> None:
        self._folder, self._path = Path(), Path()

    def start(self, run: Run) -> str:
        """Take up the run's file, or begin one; its name is the run's id."""
        self._folder = folder_of(run, FOLDER)
        root = run.output_dir if self._folder.is_relative_to(run.output_dir) else self._folder
        make_folders(self._folder, root=root)
        mark = run.run_id[:12]
        there = sorted(path for path in self._folder.glob(f"events.out.tfevents.*.{mark}") if path.is_file())
        is_new = not there
        self._path = (
            self._folder / f"events.out.tfevents.{int(time.time()):010d}.{mark}" if is_new else there[-1]
        )
        self._mend()
        if is_new or not self._path.stat().st_size:
            self._append([Event(wall_time=time.time(), file_version=_VERSION)])
            self._write_text({"parameters": _table(run.parameters)})
        return self._path.name

    def log(self, rows: Sequence[Row]) -> None:
        """Append rows, and have them on the disk."""
        self._append(
            [
                Event(
                    wall_time=row.time_s, step=row.step,
                    summary=Summary(
                        value=[
                            Summary.Value(tag=tag, simple_value=value) for tag, value in row.values.items()
                        ]
                    ),
                )
                for row in rows
            ]
        )  # fmt: skip

    def missing(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Look which of them stand in the file, once half a record at its end is cut off."""
        self._mend()
        wanted = {row.step for row in rows}
        there = {
            (event.step, value.tag)
            for event in self._events()
            if event.step in wanted
            for value in event.summary.value
        }
        left = [
            replace(row, values={tag: v for tag, v in row.values.items() if (row.step, tag) not in there})
            for row in rows
        ]
        return [row for row in left if row.values]

    def describe(self, facts: Mapping[str, str]) -> None:
        """Write what has become known as text."""
        self._write_text(facts)

    def end(self, ending: Ending) -> None:
        """Write how the run ended as text."""
        if ending.state != "running":
            self._write_text({"end": f"{ending.state}: {ending.reason}" if ending.reason else ending.state})

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._folder)

    def _write_text(self, texts: Mapping[str, str]) -> None:
        now_s = time.time()
        self._append([Event(wall_time=now_s, summary=text(tag, said)) for tag, said in texts.items()])

    def _append(self, events: Sequence[Any]) -> None:
        data = b"".join(_record(event.SerializeToString()) for event in events)
        with open_append(self._path, root=self._folder) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _events(self) -> Iterator[Any]:
        with open_read(self._path, root=self._folder) as file:
            for data in _read_records(file):
                yield Event.FromString(data)

    def _mend(self) -> None:
        """Cut off what a kill has left of a record."""
        with open_append(self._path, root=self._folder) as file, open_read(self._path) as reading:
            end = 0
            for _ in _read_records(reading):
                end = reading.tell()
            if end < file.tell():
                file.truncate(end)


def _table(parameters: Mapping[str, str]) -> str:
    cells = [(_cell(name), _cell(value)) for name, value in sorted(parameters.items())]
    return "\n".join(
        ["| parameter | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in cells)]
    )


def _cell(value: str) -> str:
    return " ".join(value.split()).replace("|", "\\|")


def _masked(data: bytes) -> bytes:
    found = crc32c(data)
    return struct.pack("<I", ((found >> 15 | found << 17) + _MASK) & 0xFFFFFFFF)


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _read_records(file: BinaryIO) -> Iterator[bytes]:
    """Yield whole records; what follows a broken one cannot be found again."""
    while len(head := file.read(12)) == 12:
        (length,) = struct.unpack("<Q", head[:8])
        if head[8:] != _masked(head[:8]) or length > 1 << 28:
            return
        data = file.read(length + 4)
        if len(data) < length + 4 or data[length:] != _masked(data[:length]):
            return
        yield data[:length]
