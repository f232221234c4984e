"""How to train on a folder of images: which network, on what size, for how long, at what rate. Pure.

Two cases are told apart. Where ImageNet's weights can be had, training goes on from them: a tenth of
ImageNet's rate, few epochs. Where they cannot, the network knows nothing, and a schedule made for fine-
tuning ends before it has learned anything; then the number of optimizer steps is what counts, whatever the
number of images, and so epochs are counted out from it. The figures behind the numbers are in docs/init.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from trainer.config.archs import PPLCNET, RESNET

IMAGENET_RATE, IMAGENET_BATCH = 0.1, 256
"""PaddleClas d178931, ppcls/configs/ImageNet/ResNet/ResNet50_vd.yaml."""
ON_GPU, ON_CPU = ("ResNet50_vd",), ("PPLCNet_x0_25", "PPLCNet_x0_5", "PPLCNet_x1_0")
"""What is chosen where no architecture is named: the first whose weights are here, else the first.

PP-LCNet is made for CPUs; its smallest is the one that Paddle trains there in minutes: 3 ms an image of 64
pixels, where ResNet18 takes 60 to 110 (docs/init.md).
"""
SMALL = 32
"""Images whose shorter side is below are taken for signs such as digits, which mirroring changes."""

_WITH_STRIDES = frozenset({*PPLCNET, *RESNET})
_SCRATCH_BATCH, _SCRATCH_RATE = 16, 0.003
_SCRATCH_STEPS = 2000
_SCRATCH_MIN_EPOCHS, _SCRATCH_MAX_EPOCHS = 30, 200
_TUNED_EPOCHS, _TUNED_STEPS = 20, 300
_LARGEST, _CPU_LARGEST, _CPU_SCRATCH_LARGEST, _SMALLEST = 224, 128, 64, 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known before anything is chosen.

    Attributes:
        images: In the training list.
        classes: Number of them.
        side: Median of the images' shorter sides in pixels; None where it is not known.
        gpus: Of each node; 0 is a CPU.
        ranks: Processes that train.
        pretrained: Weights for ImageNet are here, or can be fetched.
    """

    images: int
    classes: int
    side: int | None
    gpus: int
    ranks: int
    pretrained: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What a config says of training.

    Attributes:
        arch: Name of the network.
        size: Side in pixels of what it sees.
        batch: Images of a rank and step.
        optimizer: `Momentum` or `AdamW`.
        rate: Largest learning rate.
        epochs: Of the run.
        warmup: Epochs in which the rate rises from 0.
        smoothing: Of labels, 0 to 1.
        smallest_area: Share of an image that a random crop keeps at least.
        flip: Mirror images at random.
        pretrained: Begin with the weights for ImageNet.
        drop_last: Leave out an epoch's last batch where it is not whole.
        strides: Of the network's five reductions, where they are not all 2; None keeps them.
        why: A sentence for each thing that was chosen.
    """

    arch: str
    size: int
    batch: int
    optimizer: str
    rate: float
    epochs: int
    warmup: int
    smoothing: float
    smallest_area: float
    flip: bool
    pretrained: bool
    drop_last: bool
    strides: tuple[int, ...] | None = None
    why: Sequence[str] = field(default=())


def choose_arch(gpus: int) -> tuple[str, ...]:
    """Return the networks for GPUs, or for CPUs where there is none, best first."""
    return ON_GPU if gpus else ON_CPU


def choose_recipe(facts: Facts, *, arch: str, size: int | None = None, epochs: int | None = None) -> Recipe:
    """Choose everything that is not given.

    Args:
        facts: Of images and machines.
        arch: The network.
        size: Side in pixels, or None to choose.
        epochs: Number of them, or None to choose.
    """
    size_chosen = size or choose_size(facts, arch)
    return (_fine_tuning if facts.pretrained else _from_scratch)(facts, arch, size_chosen, epochs)


def choose_size(facts: Facts, arch: str) -> int:
    """Return the side of what the network sees: the images' own, in whole steps of its stride of 32."""
    largest = _LARGEST if facts.gpus else _CPU_LARGEST if facts.pretrained else _CPU_SCRATCH_LARGEST
    if facts.side is None:
        return largest
    smallest = 32 if not facts.pretrained and arch in _WITH_STRIDES else _SMALLEST
    return min(largest, max(smallest, math.ceil(facts.side / 32) * 32))


def choose_strides(size: int, arch: str) -> tuple[int, ...] | None:
    """Return strides with which small images keep a map of 4 × 4 or more at the end; None where they do.

    With the usual total of 32 an image of 64 pixels ends as 2 × 2, of 32 as a single place, and what is small
    in it is gone before the network has learned to look for it. Of 380 digits 74 % became 90 %.
    """
    if arch not in _WITH_STRIDES or size >= 128:
        return None
    return (2, 1, 2, 2, 2) if size >= 64 else (1, 1, 2, 2, 2)


def choose_batch(images: int, ranks: int, *, largest: int = 64) -> int:
    """Return a batch size of a rank with which an epoch has at least some steps: a power of two, 4 to 64."""
    batch = largest
    while batch > 4 and batch * ranks * 8 > images:
        batch //= 2
    return batch


def fine_tuning_rate(global_batch: int) -> float:
    """Return a tenth of ImageNet's rate, which is 0.1 for 256 images a step, for a global batch."""
    return _round(IMAGENET_RATE / 10 * global_batch / IMAGENET_BATCH)


def _fine_tuning(facts: Facts, arch: str, size: int, epochs: int | None) -> Recipe:
    batch = choose_batch(facts.images, facts.ranks)
    steps = _steps(facts, batch)
    chosen = epochs or max(_TUNED_EPOCHS, min(100, math.ceil(_TUNED_STEPS / steps)))
    return Recipe(
        arch=arch, size=size, batch=batch, optimizer="Momentum", rate=fine_tuning_rate(batch * facts.ranks),
        epochs=chosen, warmup=_warmup(chosen, steps), smoothing=0.1, smallest_area=0.35,
        flip=_may_flip(facts), pretrained=True, drop_last=False,
        why=(
            f"pretrained: goes on from ImageNet's weights of {arch}, at a tenth of ImageNet's rate",
            f"{chosen} epochs of {steps} steps",
        ),
    )  # fmt: skip


def _from_scratch(facts: Facts, arch: str, size: int, epochs: int | None) -> Recipe:
    batch = choose_batch(facts.images, facts.ranks, largest=64 if facts.images > 20_000 else _SCRATCH_BATCH)
    steps = _steps(facts, batch)
    wanted = math.ceil(_SCRATCH_STEPS / steps)
    chosen = epochs or max(_SCRATCH_MIN_EPOCHS, min(_SCRATCH_MAX_EPOCHS, wanted))
    drop_last = facts.images >= 4 * batch * facts.ranks
    done = facts.images // (batch * facts.ranks) if drop_last else steps
    # Adam's step does not shrink with the gradient; of larger batches the square root is a safe factor.
    rate = _round(_SCRATCH_RATE * math.sqrt(batch * facts.ranks / _SCRATCH_BATCH))
    return Recipe(
        arch=arch, size=size, batch=batch, optimizer="AdamW", rate=rate, epochs=chosen,
        warmup=_warmup(chosen, steps), smoothing=0.0, smallest_area=0.7, flip=_may_flip(facts),
        pretrained=False, drop_last=drop_last, strides=choose_strides(size, arch),
        why=(
            f"from scratch: there are no weights of {arch} here, and none could be fetched",
            f"{chosen} epochs of {done} steps: a network that knows nothing needs about {_SCRATCH_STEPS:,} "
            "steps",
        ),
    )  # fmt: skip


def _steps(facts: Facts, batch: int) -> int:
    return max(1, math.ceil(facts.images / (batch * facts.ranks)))


def _warmup(epochs: int, steps: int) -> int:
    """Return a twentieth of the run, at most 5 epochs, and none of a run of a few steps."""
    return min(5, epochs // 20) or int(epochs > 5 and steps > 1)


def _may_flip(facts: Facts) -> bool:
    return facts.side is None or facts.side >= SMALL


def _round(value: float) -> float:
    return float(f"{value:.3g}")
