"""What a training will cost in time and memory: measured here for CPUs, and for GPUs a guess."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_MEASURE_S = 20.0
_GPU_FLOPS = 9e12
"""Operations a second of a GPU while it trains, in float32.

A V100 trains ResNet50, of 4.1 thousand million multiply-adds forward and three times that with the backward
pass, at 367 images a second (NVIDIA/DeepLearningExamples 291f0d0, PyTorch/Classification/ConvNets/
resnet50v1.5/README.md); eight of them do 7.8 times as much there.
"""
_GPU_STEP_S = 0.03
"""A step's least time: an eager network of hundreds of layers is bound by its dispatch."""
_OF_A_STEP = 6  # operations of a training step for each multiply-add of the forward pass
_EVALUATION = 1 / 3  # of the time of a step: without gradients


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What a time follows from.

    Attributes:
        images: Of the training list.
        evaluated: Images that are evaluated on, an epoch of the training.
        batch: Images of a rank and step.
        epochs: Of the run.
        ranks: That train.
    """

    images: int
    evaluated: float
    batch: int
    epochs: int
    ranks: int

    def seconds(self, step_s: float) -> float:
        """Return the seconds of the whole run, from those of a step."""
        images = self.images + self.evaluated * _EVALUATION
        return step_s * images / (self.batch * self.ranks) * self.epochs


def measure_cost(text: str, run: Run) -> Iterator[str]:
    """Train some steps of a config on this machine, and say what the whole run takes."""
    from launcher.jobs.trainer_process import can_train, measure_step
    from launcher.times import format_duration

    if not can_train():
        yield "time on this machine: not measured, because the trainer's Paddle is not installed here"
        return
    step_s, memory = measure_step(text, batch=run.batch, limit_s=_MEASURE_S)
    if step_s is None:
        yield f"time on this machine: not known; a step was not done within {_MEASURE_S:.0f} s"
    elif run.ranks > 1:
        yield (
            f"time: about {format_duration(run.seconds(step_s))} on {run.ranks} machines like this one, of "
            f"{step_s * 1000:.0f} ms a step"
        )
        yield "measured on this one alone; what they exchange is not in it"
    else:
        whole = format_duration(run.seconds(step_s))
        yield f"time on this machine: about {whole}, of {step_s * 1000:.0f} ms a step"
    if memory is not None:
        yield f"memory: {memory / 2**20:,.0f} MiB were measured, and what readers hold besides"


def guess_step_s(multiplications: int, *, batch: int) -> float:
    """Return the seconds of a GPU's step, from the multiply-adds of one image's forward pass."""
    return max(_GPU_STEP_S, _OF_A_STEP * multiplications * batch / _GPU_FLOPS)


def guess_cost(text: str, run: Run) -> Iterator[str]:
    """Say what a run on GPUs may take, from the sizes of the network's layers, and that it is a guess."""
    from launcher.jobs.trainer_process import can_train, estimate_step
    from launcher.times import format_duration

    estimate = estimate_step(text) if can_train() else None
    if estimate is None:
        why = (
            "the trainer's Paddle is not installed here"
            if not can_train()
            else "the network's sizes are not known"
        )
        yield f"time and memory on GPUs: not known, because {why}"
        return
    step_s = guess_step_s(estimate.multiplications, batch=run.batch)
    gpus = f"{run.ranks} GPUs" if run.ranks > 1 else "a GPU"
    whole = format_duration(run.seconds(step_s))
    yield f"time on {gpus}: a guess, about {whole}, of {step_s * 1000:.0f} ms a step"
    yield "its ground: a V100 trains ResNet50 at 367 images a second; an A100 takes less than half"
    yield (
        f"memory of each GPU: about {estimate.bytes / 2**30:.1f} GiB, estimated from the network's layers; "
        "CUDA's own"
    )
    yield "comes on top; `trainer fit-batch` measures where a GPU is"
