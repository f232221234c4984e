"""Tries one batch size in this process: some training steps, and the most memory that they took.

The images are those of one batch of the config's own, repeated: a list may be shorter than the batch, and
losses get labels of the form that they expect. What reader processes hold comes on top and is estimated.
"""

from __future__ import annotations

import contextlib
import math
import resource
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import paddle

from trainer.config.root import TrainConfig
from trainer.engine.feed import FedBatch
from trainer.engine.liveness import Liveness
from trainer.engine.lr_finder import endless, set_up_alone
from trainer.engine.signals import StopSignal
from trainer.engine.step import Stepper
from trainer.models.weights_store import WeightsStore

_AHEAD = 4
"""Batches of images that readers hold at least: two ahead, the next one, and the one that is in use."""
_OUT_OF_MEMORY = ("out of memory", "resourceexhausted", "cannot allocate", "bad_alloc", "fail to alloc")
"""Parts of what Paddle, CUDA and the C++ library say where there is no memory (paddle 3.3)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsTried:
    """What some steps took.

    Attributes:
        memory_bytes: The most that they took: of a GPU what Paddle reserved of it, else of this process and,
            by their size, of the batches that are read ahead.
        step_s: Seconds of a step, without waiting for images; None where they were not done.
        gpu_bytes: Memory of the GPU; None on a CPU.
        fits: Whether the steps were done.
        reason: Why they were not.
    """

    memory_bytes: int
    step_s: float | None = None
    gpu_bytes: int | None = None
    fits: bool = True
    reason: str = ""


def try_steps(
    config: TrainConfig, *, batch: int, steps: int, store: WeightsStore,
    say: Callable[[str], None] = lambda _: None,
) -> StepsTried:  # fmt: skip
    """Train some steps with a batch size.

    Args:
        config: Checked; its own batch size says how many images are read.
        batch: Images of a step, 1 or more.
        steps: How many, 2 or more; the first is not timed.
        store: Where pretrained weights are kept.
        say: Told of images that cannot be read, and of what is odd in the lists.

    Raises:
        DataError: A list or an image is refused.
        WeightsError: The pretrained weights cannot be had or used.
    """
    _be_ended_first()
    setup = set_up_alone(config, store=store, say=say)
    stepper = Stepper(setup, liveness=Liveness(None, local_rank=0), stop=StopSignal())
    if setup.freezing is not None:  # most is learnt, and kept in memory, in the last epoch
        setup.freezing.apply(config.run.epochs - 1)
    setup.begin_training()
    with closing(setup), closing(endless(setup.train_loader, say)) as batches:
        fed = next(batches)
    gpu = _gpu_bytes() if config.run.on_gpu else None
    each = fed.batch.images.nbytes / max(1, len(fed.batch.labels))
    waiting = 0 if config.run.on_gpu else round(_AHEAD * each * batch)
    times = []
    try:
        many = _repeat(fed, batch)
        for step in range(steps):
            began_s = time.perf_counter()
            stepper.step(many, step=step)
            stepper.fetch()
            times.append(time.perf_counter() - began_s)
    except (MemoryError, RuntimeError, OSError) as error:
        if not _is_lack_of_memory(error):
            raise
        said = "the device has no memory left"
        return StepsTried(memory_bytes=_peak(config) + waiting, gpu_bytes=gpu, fits=False, reason=said)
    timed = sorted(times[1:] or times)
    return StepsTried(memory_bytes=_peak(config) + waiting, step_s=timed[len(timed) // 2], gpu_bytes=gpu)


def _repeat(fed: FedBatch, batch: int) -> FedBatch:
    times = math.ceil(batch / fed.images.shape[0])

    def tile(tensor: paddle.Tensor) -> paddle.Tensor:
        return paddle.concat([tensor] * times, axis=0)[:batch] if times > 1 else tensor[:batch]

    labels = tile(fed.labels)
    numbers = replace(fed.batch, labels=labels.numpy(), bad_images=0, global_samples=batch)
    return FedBatch(batch=numbers, images=tile(fed.images), labels=labels)


def _peak(config: TrainConfig) -> int:
    if config.run.on_gpu:
        return int(paddle.device.cuda.max_memory_reserved())
    # Not getrusage alone: its maximum is its parent's too, where that was larger when it forked.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _gpu_bytes() -> int:
    return int(paddle.device.cuda.get_device_properties().total_memory)


def _be_ended_first() -> None:
    """Have the kernel end this process, and no other, where memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _is_lack_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    said = repr(error).lower()
    return any(part in said for part in _OUT_OF_MEMORY)
