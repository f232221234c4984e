"""The process that writes checkpoints: takes snapshots out of shared memory, and puts them into the store.

    training                                    writer
    copies its arrays into shared memory
    {"size": …, "payload": …}        ──────▶    maps them, pickles, hashes, writes, syncs, renames, prunes
    goes on training
    takes the answer in              ◀──────    {"folder": …, "seconds": …} or {"failed": …, "errno": …}

A process and not a thread, which takes the interpreter's lock for each array that it pickles and each piece
that it writes: beside a thread that saves, a step that is bound by Python's dispatch takes 1.8 times as long,
beside a process 1.0 times (`benchmarks/bench_checkpoint.py`).

Its arrays are views of that memory: nothing is copied but what pickle copies, an array at a time. It holds
one snapshot, ends when the training's end of the socket is closed, and is killed with the training: of two
attempts, the later one never meets the writer of the earlier one.
"""

from __future__ import annotations

import errno
import json
import mmap
import pickle
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.checkpoints.contents import Contents, as_files
from trainer.checkpoints.paddleclas import BEST, publish
from trainer.checkpoints.store import Checkpoint, CheckpointStore
from trainer.protocol.layout import CheckpointName, Manifest, OutputLayout

MAX_MESSAGE = 1 << 16
ALIGNMENT = 64
"""Bytes; each array begins at a multiple of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A checkpoint that is to be written.

    Attributes:
        output_dir: `Global.output_dir`.
        contents: What it holds.
        about: What its manifest says of it, and with that its names, and what is kept besides it.
    """

    output_dir: Path
    contents: Contents
    about: Manifest

    @property
    def name(self) -> CheckpointName:
        """Its place in the run."""
        return CheckpointName(epoch=self.contents.state.epoch, step=self.contents.state.step)


def carry_out(order: Order) -> Checkpoint:
    """Write a checkpoint, point to it, give it its names, and delete what is not kept.

    Raises:
        OSError: The output folder cannot be written; what was saved before is whole.
    """
    store = CheckpointStore(OutputLayout(order.output_dir))
    checkpoint = store.save(
        order.name, as_files(order.contents), run_id=order.contents.state.run_id, about=order.about
    )
    give_names(checkpoint, order.output_dir, order.about.names)
    store.prune(order.about.keep)
    return checkpoint


def give_names(checkpoint: Checkpoint, output_dir: Path, names: Sequence[str]) -> None:
    """Give a checkpoint PaddleClas's names, and point to it where it is the best one.

    Done again when a run goes on from it: whoever was killed between two names left one checkpoint's weights
    beside another's optimizer.

    Raises:
        OSError: The output folder cannot be written.
    """
    if BEST in names:
        CheckpointStore(OutputLayout(output_dir)).mark_best(checkpoint)
    for name in names:
        publish(checkpoint, output_dir, name=name)


def spans_of(payload: int, sizes: tuple[int, ...]) -> list[slice]:
    """Return where the buffers of a snapshot lie behind its payload, in bytes."""
    spans, at = [], _aligned(payload)
    for size in sizes:
        spans.append(slice(at, at + size))
        at = _aligned(at + size)
    return spans


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _load(memory: mmap.mmap, payload: int) -> Order:
    # Unpickled, because this very program wrote it a moment ago, into memory that nobody else has.
    data, sizes = pickle.loads(memory[:payload])  # noqa: S301
    view = memoryview(memory)
    order = pickle.loads(data, buffers=[view[span] for span in spans_of(payload, sizes)])  # noqa: S301
    assert isinstance(order, Order)
    return order


def _answer(memory: mmap.mmap, payload: int) -> dict[str, object]:
    began_s = time.monotonic()
    try:
        checkpoint = carry_out(_load(memory, payload))
    except OSError as error:
        return {"failed": str(error), "errno": error.errno}
    except MemoryError:
        return {"failed": "the memory is used up", "errno": errno.ENOMEM}
    except Exception as error:  # noqa: BLE001 - told to the training, which ends as of any bug
        return {"bug": f"{type(error).__name__}: {error}"}
    return {"folder": str(checkpoint.folder), "seconds": time.monotonic() - began_s}


def main(argv: list[str]) -> None:
    """Write what is handed over, until the other end is closed.

    Args:
        argv: Numbers of two open descriptors: a socket, and the memory that both have.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # the training says when to end; it may have to save yet
        signal.signal(number, signal.SIG_IGN)
    channel, memory_file = socket.socket(fileno=int(argv[0])), int(argv[1])
    memory: mmap.mmap | None = None
    while message := channel.recv(MAX_MESSAGE):
        told = json.loads(message)
        if memory is None or len(memory) != told["size"]:
            memory = mmap.mmap(memory_file, told["size"])
        channel.send(json.dumps(_answer(memory, told["payload"])).encode()[:MAX_MESSAGE])


if __name__ == "__main__":
    sys.modules["trainer.checkpoints.writer"] = sys.modules["__main__"]  # by which what is unpickled is named
    main(sys.argv[1:])
