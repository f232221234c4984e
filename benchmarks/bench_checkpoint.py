"""A checkpoint of ResNet50_vd with momentum, saved and read, against writing and syncing the same bytes."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from trainer.checkpoints.contents import Contents, as_files, load_contents
from trainer.checkpoints.state import SamplerState, TrainState
from trainer.checkpoints.store import CheckpointStore
from trainer.protocol.layout import CheckpointName, Keep, OutputLayout

PARAMETERS = 25_576_264  # of ResNet50_vd
ROUNDS = 5


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def read(store: CheckpointStore, name: CheckpointName) -> Contents:
    return load_contents(store.verify(name))


def main() -> None:
    values = np.random.default_rng(0).standard_normal(PARAMETERS, dtype=np.float32)
    pieces = {f"part{index}": piece for index, piece in enumerate(np.array_split(values, 160))}
    state = TrainState(
        run_id="0" * 32, epoch=0, step=0, sampler=SamplerState(epoch=0, world_size=1, cursor=0)
    )
    contents = Contents(
        weights=pieces, automatic_names={}, learning_rate=0.1, state=state,
        optimizer={f"{key}_velocity_0": piece for key, piece in pieces.items()},
    )  # fmt: skip
    raw = values.tobytes()
    times: dict[str, list[float]] = {"write and sync": [], "save": [], "verify and read": []}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        store = CheckpointStore(OutputLayout(Path(folder)))

        def write() -> None:
            with (Path(folder) / "raw").open("wb") as file:
                file.write(raw)
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())

        for step in range(ROUNDS):
            times["write and sync"].append(timed(write))
            name = CheckpointName(epoch=0, step=step)
            save = partial(store.save, name, as_files(contents), run_id=state.run_id)
            times["save"].append(timed(save))
            times["verify and read"].append(timed(partial(read, store, name)))
            store.prune(Keep(latest=1))
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, median in medians.items():
        print(
            f"{name:18} {median:6.3f} s  {median / medians['write and sync']:5.2f} x"
            f"  ({2 * len(raw) / 1e6:.0f} MB)"
        )


if __name__ == "__main__":
    main()
