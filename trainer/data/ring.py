"""Batches in shared memory, and who reads which of their images: what training and its readers share.

How it works. A ring has some slots, a batch each. Two pieces of memory lie under it, which have no names, so
that nothing is left behind whoever dies how:

* a table, small and mapped by all: for each slot which samples are wanted, and for each image who reads it
  and how far that came (`State`);
* the pixels, sparse: slot s begins at s × 2 ** 40, and has room from there on only as far as it was needed.
  How large an image is, only an operation knows, so whoever decodes the first one of a batch writes its shape
  into the table. Where a slot is too small for it (at first all are), the reader says so (`NO_ROOM`) and the
  training process adds room at the slot's end, where it touches nothing that others write to.

The training process publishes a batch by filling in a slot; a reader takes the next image of the oldest batch
(`take`), decodes it and writes it to its place. All changes of the table are made under one lock, twice an
image, for some microseconds. Nobody is told image by image: whoever finishes the last one of a batch rings
for the training process (`done`), and a batch that is published wakes as many readers as sleep (`work`).

Why it is not simpler:

* Why not a queue of tasks: a reader that is killed after it took one from a pipe, and before it said so,
  takes the task along. In the table, that a task was taken and who took it is one step, and what is left
  behind can be read there (`give_up`).
* Why a lock on a file (fcntl), not one in shared memory: the kernel lets go of it when its owner is killed.
  Each step under it leaves a table that is whole after each store: an image counts as taken once its state
  says so, and its owner was written before.
* Why not one mapping that is large enough: nobody knows how large; and a limit on address space (ulimit -v)
  would refuse it.
* Why room is made by `posix_fallocate`: memory of a file system in memory is there when it is first written
  to, and where there is none left, the process that writes gets SIGBUS. Asked for in advance, it is an error.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.normalization import AnyImage, write_image
from trainer.data.reading import Outcome, SampleKey

SPAN = 1 << 40
"""Bytes from the beginning of a slot's pixels to that of the next; of a sparse file, most is not there."""
_DTYPES = ("float32", "uint8")
_NONE = -1  # for what is None


class State(IntEnum):
    """Of an image."""

    TODO = 0
    TAKEN = 1
    READ = 2
    REFUSED = 3  # with a text that says why
    NO_ROOM = 4
    DEADLY = 5  # several readers died at it
    CANCELLED = 6


_OPEN = (bytes([State.TODO]), bytes([State.TAKEN]))


class _At(IntEnum):
    """Numbers of a slot in the table, int64 each."""

    ORDER = 0  # of publishing, from 1; 0 where the slot is not used
    COUNT = 1  # images
    NEXT = 2  # the first image that is TODO; COUNT where none is
    SPLIT = 3  # whose samples
    READERS = 4  # only those with a lower number read it
    EPOCH = 5
    SIDE = 6
    STAGE = 7
    ROOM = 8  # bytes
    DTYPE = 9
    DIMS = 10  # of an image; three of them, 0 where no image was read yet


_FIELDS = 16
_SLEEPING, _FINISHED, _HEADER = 0, 1, 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptors:
    """The open files of a ring, as numbers that a child process inherits.

    Attributes:
        table: Memory of the table.
        pixels: Memory of the pixels.
        lock: A file of its own: closing any descriptor of a locked file ends the lock.
        work: An eventfd, a semaphore: wakes one sleeping reader for each count.
        done: An eventfd: wakes the training process.
    """

    table: int
    pixels: int
    lock: int
    work: int
    done: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How large the table is.

    Attributes:
        slots: Batches.
        images: Of the largest batch.
        readers: How many there are.
    """

    slots: int
    images: int
    readers: int

    def parts(self) -> Iterator[tuple[str, np.dtype[Any], int]]:
        """Yield name, dtype and length of each of the table's arrays, in their order."""
        each = self.slots * self.images
        yield "numbers", np.dtype(np.int64), _HEADER + self.slots * _FIELDS
        for name in ("index", "repeat", "label"):
            yield name, np.dtype(np.int64), each
        for name in ("owner", "deaths"):
            yield name, np.dtype(np.int32), each
        for name in ("bad", "state"):
            yield name, np.dtype(np.uint8), each

    @property
    def size(self) -> int:
        """Bytes of the table."""
        return sum(kind.itemsize * length for _, kind, length in self.parts())


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """An image that a reader has taken.

    Attributes:
        slot: Where its batch is.
        order: Of the batch, to tell it from others in the same slot.
        place: In the batch.
        split: Whose sample it is.
        key: The sample.
    """

    slot: int
    order: int
    place: int
    split: int
    key: SampleKey


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outcomes:
    """What came of a batch, by its places.

    Attributes:
        indices: The samples that were read.
        bad: Which of those that were wanted cannot be.
        labels: That operations drew.
        states: `State` as uint8.
    """

    indices: NDArray[np.int64]
    bad: NDArray[np.bool_]
    labels: NDArray[np.int64]
    states: NDArray[np.uint8]


class NoRoomError(Exception):
    """A slot is too small for its images; never leaves this room."""


class _Lock:
    """Excludes other processes, and other threads of this one; whoever is killed lets go."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._threads = threading.RLock()

    def __enter__(self) -> None:
        self._threads.acquire()
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        self._threads.release()


class Ring:
    """One process's view of the ring."""

    def __init__(self, descriptors: Descriptors, layout: Layout) -> None:
        """Map the table."""
        self.layout = layout
        self._descriptors = descriptors
        self._lock = _Lock(descriptors.lock)
        memory = memoryview(mmap.mmap(descriptors.table, layout.size))
        arrays: dict[str, NDArray[Any]] = {}
        begin = 0
        for name, kind, length in layout.parts():
            arrays[name] = np.frombuffer(memory, dtype=kind, count=length, offset=begin)
            begin += kind.itemsize * length
        shape = (layout.slots, layout.images)
        self._numbers = memory[: arrays["numbers"].nbytes].cast("q")  # one number of it is read in 40 ns
        self._index, self._repeat, self._label, self._owner, self._deaths, self._bad, self._state = (
            arrays[name].reshape(shape)
            for name in ("index", "repeat", "label", "owner", "deaths", "bad", "state")
        )
        self._states = memory[begin - layout.slots * layout.images : begin]
        self._maps: dict[int, tuple[int, mmap.mmap]] = {}

    # What the training process does.

    def publish(
        self, slot: int, order: int, *, indices: NDArray[np.int64], repeats: NDArray[np.int64], split: int,
        readers: int, epoch: int, side: int | None, stage: int | None,
    ) -> None:  # fmt: skip
        """Ask for a batch.

        Args:
            slot: Where to; one that nobody uses.
            order: Larger than that of all batches before.
            indices: Its samples.
            repeats: How often each stood in the epoch's order before.
            split: Whose samples they are.
            readers: How many of the readers may read them.
            epoch: From 0.
            side: See `SampleKey`.
            stage: See `SampleKey`.
        """
        count, at = len(indices), self._at(slot)
        numbers = self._numbers
        with self._lock:
            self._index[slot, :count] = indices
            self._repeat[slot, :count] = repeats
            self._deaths[slot, :count] = 0
            self._state[slot, :count] = State.TODO
            for field, value in (
                (_At.COUNT, count), (_At.NEXT, 0), (_At.SPLIT, split), (_At.READERS, readers),
                (_At.EPOCH, epoch), (_At.SIDE, _or_none(side)), (_At.STAGE, _or_none(stage)), (_At.DIMS, 0),
                (_At.ORDER, order),
            ):  # fmt: skip
                numbers[at + field] = value
            sleeping = self._wake(count)
        self._ring_for_readers(sleeping)

    def look(self, slot: int) -> tuple[bool, int]:
        """Say whether all images of a slot have come to an end, and how many bytes it is to have where it has
        too few; else 0.
        """
        with self._lock:
            states = self._states_of(slot)
            needed = self._needed(slot) if bytes([State.NO_ROOM]) in states else 0
            return not any(state in states for state in _OPEN), needed

    def make_room(self, slot: int, size: int) -> None:
        """Give a slot room, and ask again for images that found too little.

        Args:
            slot: Which.
            size: Bytes.

        Raises:
            OSError: There is not so much memory.
        """
        at = self._at(slot)
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        present = self._numbers[at + _At.ROOM]
        if size > present:
            os.posix_fallocate(self._descriptors.pixels, slot * SPAN + present, size - present)
        with self._lock:
            self._numbers[at + _At.ROOM] = max(size, present)
            again = np.flatnonzero(self._state[slot, : self._numbers[at + _At.COUNT]] == State.NO_ROOM)
            self._state[slot, again] = State.TODO
            if again.size:
                self._numbers[at + _At.NEXT] = min(self._numbers[at + _At.NEXT], int(again[0]))
            sleeping = self._wake(int(again.size))
        self._ring_for_readers(sleeping)

    def room(self, slot: int) -> int:
        """Return how many bytes a slot has."""
        return self._numbers[self._at(slot) + _At.ROOM]

    def outcomes(self, slot: int) -> Outcomes:
        """Return what came of a finished batch."""
        with self._lock:
            count = self._numbers[self._at(slot) + _At.COUNT]
            return Outcomes(
                indices=self._index[slot, :count].copy(), bad=self._bad[slot, :count].astype(np.bool_),
                labels=self._label[slot, :count].copy(), states=self._state[slot, :count].copy(),
            )  # fmt: skip

    def pixels(self, slot: int) -> NDArray[Any] | None:
        """Return the images of a slot [B, …], in its memory; None where none was read.

        Each call makes an array of its own, which all its views refer to.
        """
        at = self._at(slot)
        dims, kind = self._shape(at)
        if not dims[0]:
            return None
        count = self._numbers[at + _At.COUNT]
        flat = np.frombuffer(self._map(slot), dtype=kind, count=count * int(np.prod(dims)))
        return flat.reshape(count, *dims)

    def cancel(self, slot: int) -> bool:
        """Have nobody begin with an image of a slot; says whether nobody is at one either."""
        with self._lock:
            states = self._state[slot, : self._numbers[self._at(slot) + _At.COUNT]]
            states[states == State.TODO] = State.CANCELLED
            self._numbers[self._at(slot) + _At.NEXT] = len(states)
            if bytes([State.TAKEN]) in self._states_of(slot):
                return False
            self._numbers[self._at(slot) + _At.ORDER] = 0
            return True

    # What a reader does.

    def take(self, reader: int, before: Taken | None = None, state: State = State.READ) -> Taken | None:
        """Take the next image, in the order of the batches; None where there is none: then `sleep`.

        Args:
            reader: Number of who asks.
            before: What it took before, which has come to an end.
            state: To which.
        """
        numbers, taken = self._numbers, None
        with self._lock:
            rings = before is not None and self._end(before, state)
            slot = self._oldest(reader)
            if slot is not None:
                taken = self._take_from(slot, reader)
            else:
                # One that is killed in its sleep stays counted, and a batch then rings once too often.
                numbers[_SLEEPING] = min(numbers[_SLEEPING] + 1, self.layout.readers)
        if rings:
            os.eventfd_write(self._descriptors.done, 1)
        return taken

    def sleep(self) -> None:
        """Wait until there may be something to take."""
        os.eventfd_read(self._descriptors.work)

    def put(self, taken: Taken, image: AnyImage) -> tuple[int, ...] | None:
        """Write an image to its place; returns the batch's shape where it has another one.

        Raises:
            NoRoomError: The slot is too small.
        """
        at = self._at(taken.slot)
        numbers = self._numbers
        with self._lock:
            if not numbers[at + _At.DIMS]:
                numbers[at + _At.DTYPE] = _DTYPES.index(image.dtype.name)
                for axis, length in enumerate(image.shape):
                    numbers[at + _At.DIMS + axis] = length
            dims, kind = self._shape(at)
            room = numbers[at + _At.ROOM]
        if dims != image.shape:
            return dims
        begin = taken.place * image.nbytes
        if room < numbers[at + _At.COUNT] * image.nbytes:
            raise NoRoomError
        flat = np.frombuffer(self._map(taken.slot), dtype=kind, count=image.size, offset=begin)
        write_image(image, flat.reshape(dims))
        return None

    def keep(self, taken: Taken, outcome: Outcome) -> None:
        """Keep what came of a sample; `take` makes it known."""
        self._index[taken.slot, taken.place] = outcome.index
        self._label[taken.slot, taken.place] = outcome.label
        self._bad[taken.slot, taken.place] = outcome.is_bad

    # What is done for a reader that died.

    def give_up(self, reader: int, *, most: int) -> None:
        """Have what a dead reader was at done by another one.

        Args:
            reader: Its number.
            most: So many deaths at one image are too many: it is DEADLY then.
        """
        left, rings = 0, False
        with self._lock:
            for slot in range(self.layout.slots):
                at = self._at(slot)
                if not self._numbers[at + _At.ORDER]:
                    continue
                count = self._numbers[at + _At.COUNT]
                mine = (self._state[slot, :count] == State.TAKEN) & (self._owner[slot, :count] == reader)
                for place in np.flatnonzero(mine).tolist():
                    self._deaths[slot, place] += 1
                    deaths = int(self._deaths[slot, place])
                    if deaths >= most:
                        self._state[slot, place] = State.DEADLY
                        continue
                    self._state[slot, place] = State.TODO
                    left += 1
                    self._numbers[at + _At.NEXT] = min(self._numbers[at + _At.NEXT], place)
                rings = rings or not self._is_open(slot)
            sleeping = self._wake(left)
        if rings:
            os.eventfd_write(self._descriptors.done, 1)
        self._ring_for_readers(sleeping)

    def finished_images(self) -> int:
        """Return how many images have come to an end since the ring was made."""
        return self._numbers[_FINISHED]

    def _at(self, slot: int) -> int:
        return _HEADER + slot * _FIELDS

    def _states_of(self, slot: int) -> bytes:
        begin = slot * self.layout.images
        return bytes(self._states[begin : begin + self._numbers[self._at(slot) + _At.COUNT]])

    def _is_open(self, slot: int) -> bool:
        states = self._states_of(slot)
        return any(state in states for state in _OPEN)

    def _needed(self, slot: int) -> int:
        at = self._at(slot)
        dims, kind = self._shape(at)
        return int(self._numbers[at + _At.COUNT] * np.prod(dims) * kind.itemsize)

    def _shape(self, at: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
        dims = self._numbers[at + _At.DIMS : at + _At.DIMS + 3].tolist()
        return tuple(dims), np.dtype(_DTYPES[self._numbers[at + _At.DTYPE]])

    def _wake(self, most: int) -> int:
        """Count so many readers out of those that sleep; returns how many they are."""
        woken = min(most, self._numbers[_SLEEPING])
        self._numbers[_SLEEPING] -= woken
        return woken

    def _ring_for_readers(self, count: int) -> None:
        if count:
            os.eventfd_write(self._descriptors.work, count)

    def _oldest(self, reader: int) -> int | None:
        """Return the slot of the oldest batch of which an image is left for this reader."""
        numbers, found, lowest = self._numbers, None, 0
        for slot in range(self.layout.slots):
            at = _HEADER + slot * _FIELDS
            order = numbers[at]  # plain numbers for _At.NEXT, COUNT and READERS: this is run for every image
            is_left = order and numbers[at + 2] < numbers[at + 1] and reader < numbers[at + 4]
            if is_left and (found is None or order < lowest):
                found, lowest = slot, order
        return found

    def _take_from(self, slot: int, reader: int) -> Taken | None:
        numbers, at = self._numbers, self._at(slot)
        place, count = numbers[at + _At.NEXT], numbers[at + _At.COUNT]
        self._owner[slot, place] = reader  # before its state: who is killed between the two has taken nothing
        self._state[slot, place] = State.TAKEN
        states = self._states_of(slot)
        following = states.find(_OPEN[0], place + 1)
        numbers[at + _At.NEXT] = count if following < 0 else following
        side, stage = numbers[at + _At.SIDE], numbers[at + _At.STAGE]
        return Taken(
            slot=slot, order=numbers[at + _At.ORDER], place=place, split=numbers[at + _At.SPLIT],
            key=SampleKey(
                index=int(self._index[slot, place]), epoch=numbers[at + _At.EPOCH],
                repeat=int(self._repeat[slot, place]), side=None if side == _NONE else side,
                stage=None if stage == _NONE else stage,
            ),
        )  # fmt: skip

    def _end(self, taken: Taken, state: State) -> bool:
        """Write how an image ended; says whether the training process is to be told."""
        self._state[taken.slot, taken.place] = state
        if state is State.NO_ROOM:
            return True
        self._numbers[_FINISHED] += 1
        return not self._is_open(taken.slot)

    def _map(self, slot: int) -> mmap.mmap:
        room = self._numbers[self._at(slot) + _At.ROOM]
        known = self._maps.get(slot)
        if known is None or known[0] != room:  # views of the old mapping keep it, and are of the same memory
            known = (room, mmap.mmap(self._descriptors.pixels, room, offset=slot * SPAN))
            self._maps[slot] = known
        return known[1]


def _or_none(value: int | None) -> int:
    return _NONE if value is None else value


__all__ = ["SPAN", "Descriptors", "Layout", "NoRoomError", "Outcomes", "Ring", "State", "Taken"]
