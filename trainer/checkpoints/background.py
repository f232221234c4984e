"""The training's end of the writer of checkpoints (`trainer.checkpoints.writer`): copies, hands over, hears.

A save takes as long as copying the arrays into memory that both processes have, which is kept for the next
one: the host needs room for one checkpoint more. There is one snapshot and so a queue of one: whoever hands
over a second one waits for the first. A writer that is killed, by a person or for lack of memory, is started
again and given the same snapshot, once.
"""

from __future__ import annotations

import json
import mmap
import os
import pickle
import select
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trainer.checkpoints.store import Checkpoint
from trainer.checkpoints.writer import MAX_MESSAGE, Order, spans_of
from trainer.protocol.children import start_child_into
from trainer.protocol.python_command import python_command

_LOOK_EVERY_S = 1.0
_END_WITHIN_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """How a save ended.

    Attributes:
        order: What was handed over, without its arrays.
        checkpoint: It, whole; None where it failed.
        seconds: That the writer took.
        failure: Why it failed; empty where it did not.
        errno: The system's number of that; 0 where it has none.
        is_bug: That is no refusal of the system's, but a mistake of this program.
    """

    order: Order
    checkpoint: Checkpoint | None = None
    seconds: float = 0.0
    failure: str = ""
    errno: int = 0
    is_bug: bool = False


class BackgroundWriter:
    """One writer process, its memory, and what it has been given."""

    def __init__(self, environ: Mapping[str, str], *, say: Callable[[str], None] = lambda _: None) -> None:
        """Nothing is started yet.

        Args:
            environ: Of the process.
            say: Told when it was started again.
        """
        # NumPy's linear algebra starts a thread a core, which the writer has no use for.
        self._environ = {**environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._file = -1
        self._memory: mmap.mmap | None = None
        self._given: tuple[Order, bytes] | None = None
        self._is_second = False

    @property
    def is_busy(self) -> bool:
        """Whether something was handed over whose end is not known yet."""
        return self._given is not None

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the process unless it runs; it is ready some tenths of a second later.

        Raises:
            OSError: It cannot be started.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self._forget_process()
        if self._file < 0:
            self._file = _make_file()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                descriptors = (theirs.fileno(), self._file)
                command = python_command("trainer.checkpoints.writer", [str(item) for item in descriptors])
                self._process = start_child_into(2, command, env=self._environ, pass_fds=descriptors)
            except OSError:
                ours.close()
                raise
        self._channel = ours

    def hand_over(self, order: Order) -> None:
        """Copy what is to be written, and have it written.

        Arrays may change as soon as this returns. Nothing else may be under way.

        Raises:
            OSError: There is no memory for it, or no process.
        """
        assert self._given is None, "expected the writer to be free"
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(order, protocol=5, buffer_callback=buffers.append)
        raws = [buffer.raw() for buffer in buffers]
        sizes = tuple(raw.nbytes for raw in raws)
        payload = pickle.dumps((data, sizes))
        spans = spans_of(len(payload), sizes)
        self.start()
        memory = self._map(max((span.stop for span in spans), default=len(payload)))
        memory[: len(payload)] = payload
        bytes_ = np.frombuffer(memory, dtype=np.uint8)
        for span, raw in zip(spans, raws, strict=True):
            np.copyto(bytes_[span], np.frombuffer(raw, dtype=np.uint8))
        del bytes_, raws
        for buffer in buffers:
            buffer.release()
        message = json.dumps({"size": len(memory), "payload": len(payload)}).encode()
        # Without its arrays, which are the training's own.
        bare = replace(order.contents, weights={}, optimizers=(), average=None)
        self._given, self._is_second = (replace(order, contents=bare), message), False
        self._send(message)

    def poll(self, timeout_s: float = 0.0) -> Written | None:
        """Return how the save under way ended; None while it goes on, or where there is none."""
        if self._given is None or self._channel is None:
            return None
        looked = select.poll()  # unlike select(2), for any number of open files
        looked.register(self._channel, select.POLLIN)
        if not looked.poll(timeout_s * 1000):
            return None
        order, message = self._given
        try:
            answer = self._channel.recv(MAX_MESSAGE)
        except ConnectionResetError:
            answer = b""
        if answer:
            self._given = None
            return _read_answer(order, json.loads(answer))
        how = self._describe_end()
        if self._is_second:
            self._given = None
            return Written(order=order, failure=f"the process that writes it ended twice: {how}")
        self._is_second = True
        self._say(f"warning: the process that writes checkpoints ended: {how}; it is started again")
        try:
            self.start()
        except OSError as error:
            self._given = None
            return Written(order=order, failure=f"the process that writes it cannot be started: {error}")
        self._send(message)
        return None

    def wait(self, tick: Callable[[], None] = lambda: None) -> Written | None:
        """Wait for the save under way and return how it ended; None where there is none.

        `tick` is called about once a second meanwhile.
        """
        while self.is_busy:
            ended = self.poll(_LOOK_EVERY_S)
            if ended is not None:
                return ended
            tick()
        return None

    def close(self) -> None:
        """End the process, which finishes what it has, and free the memory."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            try:
                self._process.wait(None if self.is_busy else _END_WITHIN_S)
            except subprocess.TimeoutExpired:  # it waits for a disk that does not answer
                self._process.kill()
            self._process = None
        self._given = self._memory = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _map(self, size: int) -> mmap.mmap:
        if self._memory is None or len(self._memory) < size:
            self._memory = None
            os.ftruncate(self._file, size)
            self._memory = mmap.mmap(self._file, size)
        return self._memory

    def _send(self, message: bytes) -> None:
        assert self._channel is not None
        try:
            self._channel.send(message)
        except BrokenPipeError:
            return  # `poll` sees that it is gone, and starts it again

    def _forget_process(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.wait()
        self._channel = self._process = None

    def _describe_end(self) -> str:
        assert self._process is not None
        code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"{name}, as where memory is short" if -code == signal.SIGKILL else name


def _read_answer(order: Order, answer: dict[str, object]) -> Written:
    if "folder" in answer:
        folder, seconds = Path(str(answer["folder"])), answer["seconds"]
        assert isinstance(seconds, float)
        checkpoint = Checkpoint(name=order.name, folder=folder, run_id=order.contents.state.run_id)
        return Written(order=order, checkpoint=checkpoint, seconds=seconds)
    if "bug" in answer:
        return Written(order=order, failure=str(answer["bug"]), is_bug=True)
    number = answer["errno"]
    return Written(order=order, failure=str(answer["failed"]), errno=number if isinstance(number, int) else 0)


def _make_file() -> int:
    """Open memory that has no name; where the system has no such thing, a file without a name."""
    if hasattr(os, "memfd_create"):  # not bounded by /dev/shm, which containers keep small
        return os.memfd_create("checkpoint")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
