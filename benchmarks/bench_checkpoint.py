"""A checkpoint of ResNet50_vd with momentum: how long training waits for it, and how it goes on beside it.

    save            pickled, hashed, synced and renamed while training waits, as a save was before
    blocked         what a save takes of training now: a copy in memory, handed to the writer
    step            a step that is bound by Python's dispatch (300 tiny operations), alone, beside the writer
                    process, and beside a thread that saves in the same process, which is what was rejected

Limits: blocked at most 0.15 of a save, a step beside the writer at most 1.10 of one alone. The training is on
the first core and the writer on the second, where there is one. Each round measures all of them one after the
other; ratios are within a round, of medians of steps.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import paddle

from trainer.checkpoints.background import BackgroundWriter
from trainer.checkpoints.contents import Contents, OptimizerState, load_contents
from trainer.checkpoints.state import SamplerState, TrainState
from trainer.checkpoints.store import CheckpointStore
from trainer.checkpoints.writer import Order, carry_out
from trainer.models.weights import view_on_host
from trainer.protocol.layout import CheckpointName, Keep, Manifest, OutputLayout

PARAMETERS = 25_576_264  # of ResNet50_vd
ROUNDS = 5
OPERATIONS = 300
STEPS_S = 2.0
RUN_ID = "0" * 32


class Training:
    """The arrays of a training, and a step that only dispatches."""

    def __init__(self, folder: Path) -> None:
        values = np.random.default_rng(0).standard_normal(PARAMETERS, dtype=np.float32)
        pieces = np.array_split(values, 160)
        self._weights = {f"part{index}": paddle.to_tensor(piece) for index, piece in enumerate(pieces)}
        self._velocities = {
            f"part{index}_velocity_0": paddle.to_tensor(piece) for index, piece in enumerate(pieces)
        }
        self._one, self._small = paddle.ones([8]), paddle.full([8], 0.5)
        self._folder, self._saves = folder, 0

    def order(self) -> Order:
        """Gather what is saved, as the engine does."""
        self._saves += 1
        state = TrainState(
            run_id=RUN_ID, epoch=0, step=self._saves, sampler=SamplerState(epoch=0, world_size=1, cursor=0)
        )
        arrays = {key: view_on_host(tensor) for key, tensor in self._velocities.items()}
        contents = Contents(
            weights={key: view_on_host(tensor) for key, tensor in self._weights.items()}, automatic_names={},
            optimizers=[OptimizerState(arrays=arrays, learning_rate=0.1)], state=state,
        )  # fmt: skip
        about = Manifest(run_id=RUN_ID, files={}, keep=Keep(latest=1), names=("latest",))
        return Order(output_dir=self._folder, contents=contents, about=about)

    def save_as_before(self) -> None:
        """Copy to the host and save while training waits."""
        order = self.order()
        weights = {key: tensor.numpy() for key, tensor in self._weights.items()}
        arrays = {key: tensor.numpy() for key, tensor in self._velocities.items()}
        optimizers = [OptimizerState(arrays=arrays, learning_rate=0.1)]
        carry_out(replace(order, contents=replace(order.contents, weights=weights, optimizers=optimizers)))

    def step(self) -> None:
        """Dispatch many tiny operations."""
        value = self._one
        for _ in range(OPERATIONS):
            value = value * self._small + self._one

    def steps(self) -> list[float]:
        """Return the seconds of each step of some time."""
        taken, until_s = [], time.perf_counter() + STEPS_S
        while time.perf_counter() < until_s:
            taken.append(timed(self.step))
        return taken


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def pin(task: int, core: int) -> None:
    """Have a thread or process on one core of those that there are."""
    cores = sorted(ALLOWED)
    os.sched_setaffinity(task, {cores[core % len(cores)]})


ALLOWED = os.sched_getaffinity(0)


@contextmanager
def busy_writer(training: Training, writer: BackgroundWriter) -> Iterator[None]:
    """Keep the writer writing: a look at it after each step hands it the next save."""
    real = training.step

    def step() -> None:
        real()
        if writer.poll() is not None:
            writer.hand_over(training.order())

    writer.hand_over(training.order())
    training.step = step  # type: ignore[method-assign]
    try:
        yield
    finally:
        training.step = real  # type: ignore[method-assign]
        writer.wait()


@contextmanager
def saving_thread(training: Training) -> Iterator[None]:
    """Save in a thread of this process all the time."""
    ends = threading.Event()

    def save() -> None:
        pin(threading.get_native_id(), 1)
        while not ends.is_set():
            carry_out(training.order())

    thread = threading.Thread(target=save)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


def measure(training: Training, writer: BackgroundWriter, raw: Path) -> dict[str, float]:
    """Take one round; the seconds of each."""
    taken: dict[str, float] = {}
    data = bytes(2 * 4 * PARAMETERS)

    def write() -> None:
        with raw.open("wb") as file:
            file.write(data)
            os.fsync(file.fileno())

    taken["write and sync"] = timed(write)
    taken["save"] = timed(training.save_as_before)
    taken["blocked"] = timed(lambda: writer.hand_over(training.order()))
    ended = writer.wait()
    assert ended is not None
    assert ended.checkpoint is not None, ended.failure
    taken["written beside"] = ended.seconds
    store = CheckpointStore(OutputLayout(ended.order.output_dir))
    taken["verify and read"] = timed(partial(read, store, ended.checkpoint.name))
    taken["step alone"] = statistics.median(training.steps())
    with busy_writer(training, writer):
        taken["step beside the writer"] = statistics.median(training.steps())
    with saving_thread(training):
        taken["step beside a thread"] = statistics.median(training.steps())
    return taken


def read(store: CheckpointStore, name: CheckpointName) -> Contents:
    return load_contents(store.verify(name))


def main() -> None:
    paddle.set_device("cpu")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        training, writer = Training(Path(folder)), BackgroundWriter(os.environ)
        pin(threading.get_native_id(), 0)
        writer.start()
        assert writer.pid is not None
        first_s = timed(lambda: writer.hand_over(training.order()))
        pin(writer.pid, 1)
        writer.wait()
        rounds = [measure(training, writer, Path(folder) / "raw") for _ in range(ROUNDS)]
        writer.close()
    print(f"{8 * PARAMETERS / 1e6:.0f} MB; the first save, which gets its memory, blocks {first_s:.3f} s")
    for name in rounds[0]:
        against = "step alone" if name.startswith("step") else "write and sync"
        of = statistics.median(one[name] / one[against] for one in rounds)
        print(f"{name:24} {statistics.median(one[name] for one in rounds):8.4f} s  {of:5.2f} x {against}")
    blocked = statistics.median(one["blocked"] / one["save"] for one in rounds)
    print(f"blocked by a save, of a save that training waits for: {blocked:.3f} (limit 0.15)")


if __name__ == "__main__":
    main()
