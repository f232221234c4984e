"""Heartbeats of the ranks of a node: one small memory-mapped file, through which ranks and node process talk.

Each rank overwrites its record at every step, in a slot of its own; the node process reads them without
asking anybody. In the other direction the node process writes the step after which all ranks are to save
and stop.

How: a record has a sequence number, odd while the record is being written and even when it is whole (a
seqlock). A reader takes the number, the record, and the number again, and tries once more where they differ
or are odd. So a reader never takes half of a record, a writer never waits, and a rank that is killed in the
middle leaves an odd number, which is no record, and no lock that somebody would wait for. A slot has one
writer; the order of stores is that of the program on x86-64, and elsewhere a record that is torn for a
moment costs one wrong line of progress.

Why not a pipe or a socket: a rank that hangs in a collective must be seen too, and one that nobody reads must
not block. Why not a record a file: a step would cost system calls.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import astuple, dataclass, fields
from enum import IntEnum
from pathlib import Path

from trainer.protocol.codec import FormatError
from trainer.protocol.evaluated import Evaluated
from trainer.protocol.step_times import StepTimes

_MAGIC = b"FTLB\x05\0\0\0"
_HEADER = struct.Struct("<8sqq")  # magic, ranks, stop step
_STOP = struct.Struct("<q")
_STOP_AT = 16
_SEQUENCE = struct.Struct("<q")
# Step, epoch, total steps, phase, pid, step at the epoch's end, steps of an epoch, t_mono, loss, images/s; of
# the last evaluation top1, the best one, the largest class, the images, which are 0 before the first, and the
# epoch of the best one, 0 where it is not known; of the last steps their number, 0 before any were timed, and
# the other fields of `StepTimes` in their order.
_RECORD = struct.Struct("<qqqqqqqddddddqqqdddddddqqd")
_SLOT = 256  # a record and its sequence number, on cache lines of their own

NO_STOP = -1


class Phase(IntEnum):
    """What a rank is doing."""

    START = 0
    LOAD = 1
    COMPUTE = 2
    EVAL = 3
    SAVE = 4
    DONE = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class RankRecord:
    """The last thing that a rank said of itself.

    Attributes:
        step: Optimizer steps completed since the run began.
        epoch: Index of the current epoch, from 0.
        total_steps: Steps of the whole run, or 0 while unknown.
        phase: What it is doing now.
        pid: Process id of the rank.
        t_mono_s: `time.monotonic()` when it was written.
        loss: Last training loss; NaN before the first step.
        images_per_s: Of this rank; 0 before it is known.
        evaluated: The last evaluation; None before it, on ranks but 0, and where images have several labels.
        epoch_end: Steps completed once the current epoch is over, or 0 while unknown.
        epoch_steps: Steps of an epoch, or 0 while unknown.
        times: Of the last steps; None before any were timed.
    """

    step: int
    epoch: int
    total_steps: int
    phase: Phase
    pid: int
    t_mono_s: float
    loss: float
    images_per_s: float
    evaluated: Evaluated | None = None
    epoch_end: int = 0
    epoch_steps: int = 0
    times: StepTimes | None = None


class Heartbeats:
    """The mapped file. Every rank writes its own slot only; the node process alone writes the stop step."""

    def __init__(self, memory: mmap.mmap, ranks: int) -> None:
        self._memory = memory
        self.ranks = ranks

    @classmethod
    def create(cls, path: Path, *, ranks: int) -> Heartbeats:
        """Make the file for the ranks of one node, replacing what is at `path`."""
        size = _SLOT * (ranks + 1)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, size)
            memory = mmap.mmap(fd, size)
        finally:
            os.close(fd)
        _HEADER.pack_into(memory, 0, _MAGIC, ranks, NO_STOP)
        return cls(memory, ranks)

    @classmethod
    def open(cls, path: Path) -> Heartbeats:
        """Map an existing file.

        Raises:
            FormatError: It is none of this version.
        """
        with path.open("r+b") as file:
            memory = mmap.mmap(file.fileno(), 0)
        magic, ranks, _ = _HEADER.unpack_from(memory, 0)
        if magic != _MAGIC or len(memory) != _SLOT * (ranks + 1):
            raise FormatError(where=path, expected="a file of heartbeats", got=repr(bytes(magic)))
        return cls(memory, ranks)

    @property
    def stop_step(self) -> int:
        """Step after which ranks save and exit with `Exit.STOPPED`, or `NO_STOP`."""
        return int(_STOP.unpack_from(self._memory, _STOP_AT)[0])

    def request_stop(self, step: int) -> None:
        """Ask all ranks to stop once they have completed `step` steps (at once where they have already)."""
        _STOP.pack_into(self._memory, _STOP_AT, step)

    def write(self, local_rank: int, record: RankRecord) -> None:
        """Publish a rank's record."""
        at = self._slot(local_rank)
        evaluated = _flat(record.evaluated)  # before the number is odd: readers wait for that time
        times = (0,) * 11 if record.times is None else astuple(record.times)
        sequence = int(_SEQUENCE.unpack_from(self._memory, at)[0])
        _SEQUENCE.pack_into(self._memory, at, sequence + 1 | 1)
        _RECORD.pack_into(
            self._memory, at + _SEQUENCE.size, record.step, record.epoch, record.total_steps,
            record.phase, record.pid, record.epoch_end, record.epoch_steps, record.t_mono_s, record.loss,
            record.images_per_s, *evaluated, *times,
        )  # fmt: skip
        _SEQUENCE.pack_into(self._memory, at, (sequence + 1 | 1) + 1)

    def read(self, local_rank: int) -> RankRecord | None:
        """Return a rank's last record, or None before its first."""
        at = self._slot(local_rank)
        for _ in range(1000):  # a writer needs microseconds; one that died half-way leaves an odd number
            before = int(_SEQUENCE.unpack_from(self._memory, at)[0])
            raw = _RECORD.unpack_from(self._memory, at + _SEQUENCE.size)
            after = int(_SEQUENCE.unpack_from(self._memory, at)[0])
            if before == after and before % 2 == 0:
                break
        else:
            return None
        if before == 0:
            return None
        step, epoch, total, phase, pid, epoch_end, epoch_steps, t_mono_s, loss, images_per_s, *more = raw
        evaluated, times = more[:5], more[5:]
        return RankRecord(
            step=step, epoch=epoch, total_steps=total, phase=Phase(phase), pid=pid,
            t_mono_s=t_mono_s, loss=loss, images_per_s=images_per_s, evaluated=_folded(*evaluated),
            epoch_end=epoch_end, epoch_steps=epoch_steps, times=_timed(times),
        )  # fmt: skip

    def close(self) -> None:
        """Unmap the file."""
        self._memory.close()

    def _slot(self, local_rank: int) -> int:
        if not 0 <= local_rank < self.ranks:
            raise IndexError(f"heartbeats: expected a local rank below {self.ranks}, got {local_rank}")
        return _SLOT * (local_rank + 1)


def _timed(values: list[float]) -> StepTimes | None:
    names = [field.name for field in fields(StepTimes)]
    return StepTimes(**dict(zip(names, values, strict=True))) if values[0] else None  # type: ignore[arg-type]


def _flat(found: Evaluated | None) -> tuple[float, float, float, int, int]:
    if found is None:
        return 0.0, 0.0, 0.0, 0, 0
    return found.top1, found.best_top1, found.largest_class, found.images, found.best_epoch or 0


def _folded(top1: float, best_top1: float, largest_class: float, images: int, epoch: int) -> Evaluated | None:
    if images == 0:
        return None
    return Evaluated(
        top1=top1, best_top1=best_top1, largest_class=largest_class, images=images, best_epoch=epoch or None
    )
