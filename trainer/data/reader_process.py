"""Reader processes: one that starts and replaces them, and what each of them does.

    python -m trainer.data.reader_process NUMBERS

The training process starts one process of this module, the fork server, by exec, so that none of Paddle's
threads, locks and memory come along. It imports what reading takes, once, and forks the readers: they are
there within milliseconds, also when one is replaced, and share its memory, the list of images included. It
has one thread and does nothing but wait: for a reader that died, whose image it gives to another one, and for
the end of the training process.

Nobody is left behind, whoever dies how. The training process holds one end of a socket, and the fork server
ends with it; readers have asked the kernel for SIGKILL at the fork server's death (prctl(2),
PR_SET_PDEATHSIG). They do not ask that of the training process itself: the kernel means the thread that
started a child, and that one may end before its process does.

SIGINT, SIGTERM and SIGHUP are blocked from before the fork server's exec on: a Ctrl-C or a `kill` of the
whole group reaches the training process, which still needs its readers for the step that it saves after.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pickle
import select
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

import cv2

from trainer.config.extras import find_place
from trainer.data.reading import Outcome, Recipe, SampleReader
from trainer.data.ring import Descriptors, Layout, NoRoomError, Ring, State, Taken
from trainer.protocol.errors import TrainerError

MOST_DEATHS = 3
"""Readers that may die at one image; then it is the image's fault."""
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_KEPT_BYTES = 128 << 20
_LARGEST_KEPT = 32 << 20  # the most that glibc takes
_LOOK_EVERY_MS = 2000
_MAX_TEXT = 16_000  # of a message: all of it goes into one datagram


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What the fork server is told on its command line.

    Attributes:
        parent: Process id of the training process.
        control: Its end of a socket to that process, for news of deaths.
        remarks: A socket on which readers say what is to be said of images.
        work: A file with a pickle of `Work`.
        descriptors: Of the ring.
        layout: Of the ring.
    """

    parent: int
    control: int
    remarks: int
    work: int
    descriptors: Descriptors
    layout: Layout

    def format(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What readers need to know before they begin.

    Attributes:
        recipes: Of each split.
        modules: Modules of the user to import before: they register operations.
        path: `sys.path` of the training process.
    """

    recipes: Sequence[Recipe]
    modules: Sequence[str]
    path: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """What a reader says of an image.

    Attributes:
        slot: Of its batch.
        order: Of its batch.
        place: In its batch.
        split: Whose sample it is.
        kind: `bad` or `warning` of sample `index`, a `problem` that ends the run, or an `error`.
        index: Which sample a `bad` or `warning` is of.
        text: The sentence.
        error: Where one of ours was raised.
    """

    slot: int
    order: int
    place: int
    kind: str
    text: str
    split: int = 0
    index: int = 0
    error: TrainerError | None = None


def describe_end(code: int) -> str:
    """Say how a process ended."""
    if code == -signal.SIGKILL:
        return "was killed (signal 9: the kernel does so where memory is short)"
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


class _Remarks:
    """Keeps what a reader finds out about images until it is sent."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}
        self._warned: set[int] = set()
        self.unsent: list[tuple[str, int, str]] = []

    def reason(self, index: int) -> str | None:
        return self._known.get(index)

    def note(self, index: int, reason: str) -> None:
        self._known[index] = reason
        self.unsent.append(("bad", index, reason))

    def warn(self, index: int, text: str) -> None:
        if index not in self._warned:
            self._warned.add(index)
            self.unsent.append(("warning", index, text))


class Reader:
    """One reader's work."""

    def __init__(self, number: int, ring: Ring, remarks: socket.socket, recipes: Sequence[Recipe]) -> None:
        """Make the operations of each split; `remarks` is where to say what is to be said.

        Raises:
            ConfigError: An operation of the user's own cannot be made.
        """
        self.number = number
        self._ring = ring
        self._remarks = remarks
        self._kept = [_Remarks() for _ in recipes]
        self._readers = [SampleReader(recipe, kept) for recipe, kept in zip(recipes, self._kept, strict=True)]

    def run(self) -> None:
        """Read until the process ends."""
        taken, state = None, State.READ
        while True:
            taken = self._ring.take(self.number, taken, state)
            if taken is None:
                self._ring.sleep()
            else:
                state = self.read(taken)

    def read(self, taken: Taken) -> State:
        """Read an image to its place, and say what is to be said of it."""
        try:
            outcome = self._readers[taken.split].read(taken.key, partial(self._ring.put, taken))
        except NoRoomError:
            return State.NO_ROOM  # what was found out about images is said with the next one
        except Exception as error:  # noqa: BLE001 - an operation of the user's own raises whatever it likes
            self._send(taken, _describe(error))
            return State.REFUSED
        return self._finish(taken, outcome)

    def _finish(self, taken: Taken, outcome: Outcome) -> State:
        kept = self._kept[taken.split]
        if kept.unsent:
            for kind, index, text in kept.unsent:
                self._send(taken, Remark(slot=0, order=0, place=0, kind=kind, index=index, text=text))
            kept.unsent.clear()
        self._ring.keep(taken, outcome)
        if outcome.problem is None:
            return State.READ
        self._send(taken, Remark(slot=0, order=0, place=0, kind="problem", text=outcome.problem))
        return State.REFUSED

    def _send(self, taken: Taken, remark: Remark) -> None:
        placed = replace(
            remark, slot=taken.slot, order=taken.order, place=taken.place, split=taken.split,
            text=remark.text[:_MAX_TEXT],
        )  # fmt: skip
        self._remarks.send(pickle.dumps(placed))


def _describe(error: Exception) -> Remark:
    if isinstance(error, TrainerError):
        return Remark(slot=0, order=0, place=0, kind="error", text=str(error), error=error)
    place = find_place(error)
    if place is not None:
        text = f"{place}: error in a module of yours: {type(error).__name__}: {error}"
    else:
        text = "".join(traceback.format_exception(error))
    return Remark(slot=0, order=0, place=0, kind="error", text=text)


class _ForkServer:
    """Starts readers and replaces those that die."""

    def __init__(self, start: Start, work: Work) -> None:
        self._start = start
        self._ring = Ring(start.descriptors, start.layout)
        self._control = socket.socket(fileno=start.control)
        self._remarks = socket.socket(fileno=start.remarks)
        self._recipes = work.recipes
        self._readers = Reader(0, self._ring, self._remarks, work.recipes)
        self._pid = os.getpid()
        self._pids: dict[int, int] = {}  # of readers, and their numbers
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._finished = 0
        self._in_vain = 0

    def run(self) -> None:
        """Keep all readers running until the training process ends."""
        woken, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in range(self._start.layout.readers):
            self._fork(number)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while os.getppid() == self._start.parent:
            ready = dict(poll.poll(_LOOK_EVERY_MS))
            if self._control.fileno() in ready:
                return  # nothing is ever sent there: it was closed
            if woken in ready:
                os.read(woken, 4096)
                self._bury()

    def say(self, news: dict[str, Any]) -> None:
        """Tell the training process, unless it is gone."""
        try:
            self._control.send(json.dumps(news).encode())
        except OSError:
            sys.exit(0)

    def _bury(self) -> None:
        while self._pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            number = self._pids.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            self.say({"died": code, "pid": pid})  # before the ring says that the image is done with
            self._ring.give_up(number, most=MOST_DEATHS)
            finished = self._ring.finished_images()
            self._in_vain = self._in_vain + 1 if finished == self._finished else 0
            self._finished = finished
            if self._in_vain > MOST_DEATHS * (self._start.layout.readers + 1):
                said = f"expected reader processes that read images, got {self._in_vain} that died in vain"
                self.say({"failed": f"{said}, the last of which {describe_end(code)}; set num_workers: 0"})
                sys.exit(1)
            self._fork(number)

    def _fork(self, number: int) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            count = self._start.layout.readers
            said = f"expected to start {count} reader processes, got: {(error.strerror or '').lower()}"
            self.say({"failed": f"{said}; lower num_workers, or raise the limit of processes"})
            sys.exit(1)
        if pid:
            self._pids[pid] = number
            return
        try:
            self._become_reader(number)
        finally:
            os._exit(1)  # whatever happened: what follows is the fork server's

    def _become_reader(self, number: int) -> None:
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        self._libc.prctl(_PR_SET_NAME, f"reader-{number}".encode(), 0, 0, 0)
        if os.getppid() != self._pid:  # it died before we asked
            return
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        self._readers.number = number
        self._readers.run()


def _keep_memory() -> None:
    """Have memory that an image leaves be kept for the next one.

    By default glibc gives blocks of the size of an image back to the system at once, and each image pays for
    240 fresh pages: a third of the time that it takes. Other C libraries know no such thing.
    """
    with contextlib.suppress(AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def main(argv: Sequence[str]) -> None:
    """Keep readers, as the one argument says."""
    told = json.loads(argv[0])
    descriptors, layout = Descriptors(**told.pop("descriptors")), Layout(**told.pop("layout"))
    start = Start(**told, descriptors=descriptors, layout=layout)
    with os.fdopen(start.work, "rb") as file:
        file.seek(0)
        work: Work = pickle.load(file)  # noqa: S301 - of memory that only our parent has
    sys.path[:] = work.path
    _keep_memory()
    cv2.setNumThreads(1)  # readers fill the cores already
    try:
        for module in work.modules:
            import_module(module)
        server = _ForkServer(start, work)
    except Exception as error:  # noqa: BLE001 - an operation of the user's own raises whatever it likes
        said = str(error) if isinstance(error, TrainerError) else _describe(error).text
        with socket.socket(fileno=start.control) as control:
            control.send(json.dumps({"failed": f"reader processes could not begin: {said}"}).encode())
        sys.exit(1)
    server.run()


if __name__ == "__main__":
    # Not the copy of this module that Python runs: the training process knows no classes of `__main__`.
    import_module("trainer.data.reader_process").main(sys.argv[1:])
