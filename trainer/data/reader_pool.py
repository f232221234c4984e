"""Running reader processes and their ring, from the start to the end of both."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.config.extras import module_of
from trainer.data.reader_process import Remark, Start, Work
from trainer.data.reading import Recipe
from trainer.data.ring import Descriptors, Layout, Ring
from trainer.errors import TrainerError
from trainer.protocol.limits import free_memory
from trainer.protocol.python_command import python_command

LEAST_SLOTS = 2
"""Batches without which there is no reading ahead: one that is filled while another one is used."""
HELD = 2
"""Batches that a consumer may hold without getting copies: the one before, and the one that it is given."""
_LARGEST_MESSAGE = 1 << 18
_SHM = "/dev/shm"  # noqa: S108 - where memory without a name is made on systems without memfd_create
_BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ReaderPool:
    """The processes, from their start to their end, and their ring."""

    def __init__(self, layout: Layout, recipes: Sequence[Recipe]) -> None:
        self.layout = layout
        self.room = 0  # bytes of a slot, as far as is known
        self._free = list(range(layout.slots))
        self.is_short = False
        """There was not memory enough for all slots."""
        self._leaving: list[int] = []  # cancelled, while somebody is at one of their images
        self._returned: deque[int] = deque()  # by finalizers, in whichever thread
        self._held = 0
        descriptors, self.store = make_ring(layout)
        self.ring = Ring(descriptors, layout)
        self._control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._remarks, remarks = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with control, remarks, _work_file(recipes) as work:
                self._process = _start_server(control, remarks, work, descriptors, layout)
        except BaseException:
            _close(descriptors)
            self._control.close()
            self._remarks.close()
            raise
        self._poll = select.poll()
        for number in (descriptors.done, self._control.fileno(), self._remarks.fileno()):
            self._poll.register(number, select.POLLIN)
        self._descriptors = descriptors
        self._end = weakref.finalize(self, _end, self._process, self._control, self._remarks, descriptors)

    @property
    def is_alive(self) -> bool:
        """Whether it was not ended yet."""
        return self._end.alive

    def free_slot(self) -> int | None:
        """Take a slot that nobody uses; None where there is none, or no memory for one more."""
        while self._returned:
            self._free.append(self._returned.popleft())
            self._held -= 1
        self._leaving = [slot for slot in self._leaving if not self._cancelled(slot)]
        if not self._free:
            return None
        slot = max(self._free, key=lambda slot: (self.ring.room(slot), -slot))
        if self.ring.room(slot) < self.room:
            if self._may_grow(slot, self.room):
                self.make_room(slot, self.room)
            else:
                self.is_short = True
                if not self.ring.room(slot):
                    return None
        self._free.remove(slot)
        return slot

    def make_room(self, slot: int, size: int) -> None:
        """Give a slot room.

        Raises:
            TrainerError: There is not so much memory.
        """
        free = self.store.free()
        if free is not None and free < size - self.ring.room(slot):
            raise self._refuse(size, f"{free >> 20} MiB that are free")
        try:
            self.ring.make_room(slot, size)
        except OSError as error:
            raise self._refuse(size, (error.strerror or str(error)).lower()) from error
        self.room = max(self.room, size)

    def _refuse(self, size: int, got: str) -> TrainerError:
        return TrainerError(
            where=f"reader processes: {self.store.place}", got=got,
            expected=f"{-(-size >> 20)} MiB for each of at least {LEAST_SLOTS} batches",
            fix=f"raise {self.store.setting}, lower batch_size, or set num_workers: 0",
        )  # fmt: skip

    def _may_grow(self, slot: int, size: int) -> bool:
        """Say whether a slot is to grow: where there are enough others, if half of what is free stays so.

        Others need some, too: training, and each reader for the image that it works on.
        """
        others = sum(self.ring.room(other) >= size for other in range(self.layout.slots) if other != slot)
        free = self.store.free()
        return others < LEAST_SLOTS or free is None or size - self.ring.room(slot) <= free // 2

    def cancel(self, slot: int) -> None:
        """Free a slot once nobody is at its images."""
        if not self._cancelled(slot):
            self._leaving.append(slot)

    def _cancelled(self, slot: int) -> bool:
        if self.ring.cancel(slot):
            self._free.append(slot)
            return True
        return False

    def hand_out(self, slot: int) -> tuple[NDArray[Any] | None, Callable[[], object]]:
        """Return a slot's images, and what frees it before nobody refers to them any longer."""
        images = self.ring.pixels(slot)
        self.ring.cancel(slot)
        while self._returned:
            self._free.append(self._returned.popleft())
            self._held -= 1
        if images is None or self._held >= HELD:
            self._free.append(slot)
            return (None if images is None else images.copy()), _nothing
        self._held += 1
        # All views of an array refer to the one that refers to the memory, be they views of views.
        owner = images.base if isinstance(images.base, np.ndarray) else images
        release = weakref.finalize(owner, self._returned.append, slot)
        release.atexit = False
        return images, release

    def hear(self, timeout_ms: int | None = None) -> tuple[list[Remark], list[dict[str, Any]], bool]:
        """Wait for news, for ever where None: remarks, news of the fork server, and whether it has ended."""
        ready = {number for number, _ in self._poll.poll(timeout_ms)}
        if self._descriptors.done in ready:
            os.eventfd_read(self._descriptors.done)
        remarks = self.remarks() if self._remarks.fileno() in ready else []
        news: list[dict[str, Any]] = []
        ended = False
        if self._control.fileno() in ready:
            for text in _received(self._control):
                if not text:
                    ended = True
                    break
                news.append(json.loads(text))
        return remarks, news, ended

    def remarks(self) -> list[Remark]:
        """Return what readers have said."""
        return [pickle.loads(data) for data in _received(self._remarks) if data]  # noqa: S301 - of our readers

    def close(self) -> int:
        """End all of it; returns how the fork server ended."""
        self._end()
        return self._process.returncode or 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """Where the memory of a ring is from.

    Attributes:
        place: Its name.
        setting: What makes it larger.
        free: Returns how many bytes are left; None where nobody knows.
    """

    place: str
    setting: str
    free: Callable[[], int | None]


def _free_shm() -> int | None:
    found = os.statvfs(_SHM)
    return found.f_bavail * found.f_frsize


MEMORY = Store(place="memory", setting="Launch.resources.memory", free=free_memory)
SHM = Store(place=_SHM, setting="Launch.resources.shm", free=_free_shm)


def make_ring(layout: Layout) -> tuple[Descriptors, Store]:
    """Make the memory of a ring, and what its users ring with; returns where it is from, too.

    Raises:
        OSError: There is no memory, or no descriptor left.
    """
    made: list[int] = []
    store = MEMORY
    try:
        for name in ("table", "pixels", "lock"):
            number, store = make_memory(f"ftl-{name}")
            made.append(number)
        os.posix_fallocate(made[0], 0, layout.size)
        made.append(os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_CLOEXEC))
        made.append(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
    except BaseException:
        for number in made:
            os.close(number)
        raise
    return Descriptors(table=made[0], pixels=made[1], lock=made[2], work=made[3], done=made[4]), store


def make_memory(name: str) -> tuple[int, Store]:
    """Open a file in memory that has no name, and so ends with the last process that has it open.

    `memfd_create` does not ask how large /dev/shm is. Where a sandbox refuses it, a file of /dev/shm that
    never had a name does the same.
    """
    try:
        return os.memfd_create(name, os.MFD_CLOEXEC), MEMORY
    except OSError:
        return os.open(_SHM, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), SHM


@contextlib.contextmanager
def _work_file(recipes: Sequence[Recipe]) -> Iterator[int]:
    modules = [module_of(op) for recipe in recipes for op in recipe.ops]
    work = Work(
        recipes=recipes, modules=list(dict.fromkeys(name for name in modules if name)), path=list(sys.path)
    )
    number, _ = make_memory("ftl-work")
    try:
        with os.fdopen(number, "wb", closefd=False) as file:
            pickle.dump(work, file, protocol=pickle.HIGHEST_PROTOCOL)
        yield number
    finally:
        os.close(number)


def _start_server(
    control: socket.socket, remarks: socket.socket, work: int, descriptors: Descriptors, layout: Layout
) -> subprocess.Popen[bytes]:
    start = Start(
        parent=os.getpid(), control=control.fileno(), remarks=remarks.fileno(), work=work,
        descriptors=descriptors, layout=layout,
    )  # fmt: skip
    env = {
        **os.environ,
        **dict.fromkeys(_THREADS, "1"),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)  # a child begins with its parent's mask
    try:
        return subprocess.Popen(
            python_command("trainer.data.reader_process", [start.format()]), env=env,
            stdin=subprocess.DEVNULL,
            pass_fds=(start.control, start.remarks, work, *astuple(descriptors)),
        )  # fmt: skip
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _received(source: socket.socket) -> Iterator[bytes]:
    """Yield the messages that are there; an empty one where the other end is closed."""
    while True:
        try:
            # Mostly there is none: 1 byte is looked at, since to make room for the largest costs 20 us.
            source.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
            data = source.recv(_LARGEST_MESSAGE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        yield data
        if not data:
            return


def _end(
    process: subprocess.Popen[bytes], control: socket.socket, remarks: socket.socket, descriptors: Descriptors
) -> None:
    control.close()  # which the fork server ends with
    remarks.close()
    process.kill()  # it has nothing to finish, and its readers end with it
    process.wait()
    _close(descriptors)


def _close(descriptors: Descriptors) -> None:
    for number in astuple(descriptors):
        os.close(number)


def _nothing() -> None:
    """Give nothing back: a copy is its holder's own."""


__all__ = ["HELD", "ReaderPool"]
