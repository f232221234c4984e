"""What a training step takes of memory, once the trainer has estimated it, and whether there is as much.

The estimate takes Paddle and seconds, and depends on few keys of a config. What `trainer check` and
`trainer fit-batch` find is kept in the user's cache folder by those keys, so that `ftlaunch submit` and
`validate`, which have no Paddle, know it. What cannot be kept or read is not known, and nothing more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated

from platformdirs import user_cache_path

from trainer.config.pipeline import find_size
from trainer.config.problems import KeyPath
from trainer.config.root import TrainConfig
from trainer.protocol.codec import MAX_COUNT, FormatError, Within, decode, encode
from trainer.protocol.safe_files import make_private_folder, read_file, replace_file

PROCESS_BYTES = 370 << 20
"""Of a process that has imported Paddle and begun to train on a CPU (paddle 3.3.1, measured)."""
_FILE = "step-memory.json"
_KEPT, _MAX_BYTES = 200, 1 << 20
_NOT_FOR_MEMORY = {"pretrained", "use_ssld"}
"""Parameters of architectures that say where weights come from."""

_Bytes = Annotated[int, Within(0, MAX_COUNT)]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEstimate:
    """What a training step takes, estimated.

    Attributes:
        weights_bytes: Weights, gradients, the optimizer's arrays, and the average where there is one.
        image_bytes: What is kept of one image for the backward pass.
        multiplications: Multiply-adds of one image's forward pass, in convolutions and linear layers.
        process_bytes: What the process has anyway; on a GPU this is the host's memory, not the GPU's.
    """

    weights_bytes: _Bytes
    image_bytes: _Bytes
    multiplications: _Bytes
    process_bytes: _Bytes = PROCESS_BYTES

    def bytes_of(self, batch: int) -> int:
        """Return what a step of so many images takes of a CPU's memory, the process included."""
        return self.process_bytes + self.device_bytes_of(batch)

    def device_bytes_of(self, batch: int) -> int:
        """Return what a step of so many images takes of the memory that the network computes in."""
        return self.weights_bytes + batch * self.image_bytes


def find_memory_doubts(
    estimate: StepEstimate | None, config: TrainConfig, *, room: int | None, whose: str, on_gpu: bool = False
) -> Iterator[tuple[KeyPath, str]]:
    """Yield place and sentence where a step takes more memory than there is, as far as is known.

    Args:
        estimate: Of a step; None where nothing is known.
        config: Checked.
        room: Bytes for one rank; None where nobody knows.
        whose: Says of what they are, such as `of the GPU`.
        on_gpu: The network computes in a memory of its own, apart from the process.
    """
    if estimate is None or room is None:
        return
    batch = config.data.Train.sampler.batch_size
    needed = estimate.device_bytes_of(batch) if on_gpu else estimate.bytes_of(batch)
    if needed <= room:
        return
    fits = int((room - (needed - batch * estimate.image_bytes)) / max(1, estimate.image_bytes))
    todo = f"try {fits}" if fits >= 1 else "not even one image fits"
    yield (
        ("DataLoader", "Train", "sampler", "batch_size"),
        f"expected a step within the {room / 2**20:,.0f} MiB {whose}, got {batch} images, which take about "
        f"{needed / 2**20:,.0f} MiB (estimated); {todo}, and `trainer fit-batch` measures",
    )


class StepMemory:
    """Estimates of earlier commands, the newest last; no method raises."""

    def __init__(self, folder: Path | None = None) -> None:
        """Use `folder`, which is made private when something is kept; the user's cache folder where None."""
        self._given = folder

    def find(self, config: TrainConfig) -> StepEstimate | None:
        """Return the estimate of such a step; None where it is not known."""
        with contextlib.suppress(OSError, RuntimeError, FormatError, ValueError):
            found = self._read().get(_key(config))
            return decode(StepEstimate, json.dumps(found), where=_FILE) if found is not None else None
        return None

    def keep(self, config: TrainConfig, estimate: StepEstimate | None) -> None:
        """Remember an estimate; None is none."""
        if estimate is None or config.arch.is_extra:  # what a module of the user's makes of it may change
            return
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: there is no home
            known: dict[str, object] = {}
            with contextlib.suppress(OSError, ValueError):
                known = self._read()
            known.pop(_key(config), None)
            known[_key(config)] = encode(estimate)
            newest = dict(list(known.items())[-_KEPT:])
            make_private_folder(self._folder())
            replace_file(self._folder() / _FILE, json.dumps(newest).encode("utf-8"))

    def _folder(self) -> Path:
        return self._given or user_cache_path("ftlaunch") / "steps"

    def _read(self) -> dict[str, object]:
        found = json.loads(read_file(self._folder() / _FILE, max_bytes=_MAX_BYTES))
        return found if isinstance(found, dict) else {}


def _key(config: TrainConfig) -> str:
    """Name what decides how much a step takes: network, image, numbers that are kept of each weight."""
    size = find_size(config.data.Train.dataset.transform_ops)
    shape = config.run.image_shape
    parts = [
        metadata.version("ftlaunch"),
        type(config.arch).__name__,
        config.arch.model_dump(mode="json", exclude=_NOT_FOR_MEMORY),
        size[1] if size is not None else None,
        shape[0] if shape is not None else None,
        sorted(type(item).__name__ for _, item in config.optimizers),
        config.ema is not None,
        config.amp is not None and config.run.on_gpu,
    ]
    return hashlib.sha256(json.dumps(parts, default=repr, sort_keys=True).encode()).hexdigest()
