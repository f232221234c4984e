"""How to train on a folder of images: which network, on what size, for how long, at what rate. Pure.

Two cases are told apart. Where ImageNet's weights can be had, training goes on from them: a tenth of
ImageNet's rate, few epochs. Where they cannot, the network knows nothing, and a schedule made for fine-
tuning ends before it has learned anything; then the number of optimizer steps is what counts, whatever the
number of images, and so epochs are counted out from it. The figures behind the numbers are in docs/init.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trainer.config.archs import PPLCNET, RESNET
from trainer.config.list_doubts import UNBALANCED

IMAGENET_RATE, IMAGENET_BATCH = 0.1, 256
"""PaddleClas d178931, ppcls/configs/ImageNet/ResNet/ResNet50_vd.yaml."""
SMALL = 32
"""Images whose shorter side is below are taken for signs such as digits, which mirroring changes."""

_WITH_STRIDES = frozenset({*PPLCNET, *RESNET})
_SCRATCH_BATCH, _SCRATCH_RATE = 16, 0.003
_SMALLEST = 64

PresetName = Literal["fast", "good", "best"]
PRESETS: tuple[PresetName, ...] = ("fast", "good", "best")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Preset:
    """How much a first model may cost.

    PP-LCNet is made for CPUs; its smallest is the one that Paddle trains there in minutes: 3 ms an image of
    64 pixels, where ResNet18 takes 60 to 110 (docs/init.md). What has published weights and what learns from
    scratch are two lists, because strides for small images are known of PP-LCNet and ResNet alone.

    Attributes:
        on_gpu, on_cpu: Networks to go on from weights with, best first.
        scratch_on_gpu, scratch_on_cpu: The network that begins with nothing.
        scratch_steps: Optimizer steps from scratch, whatever the number of images.
        scratch_epochs: The fewest and the most of them.
        tuned_epochs, tuned_steps: The fewest of a training that goes on from weights.
        largest: Side in pixels of what the network sees at most: on GPUs; on CPUs with weights; without.
    """

    on_gpu: tuple[str, ...]
    on_cpu: tuple[str, ...]
    scratch_on_gpu: str
    scratch_on_cpu: str
    scratch_steps: int
    scratch_epochs: tuple[int, int]
    tuned_epochs: int
    tuned_steps: int
    largest: tuple[int, int, int]


_BY_NAME: Mapping[PresetName, _Preset] = {
    "fast": _Preset(
        on_gpu=("PPLCNet_x1_0", "ResNet18_vd"), on_cpu=("PPLCNet_x0_25", "PPLCNet_x0_5"),
        scratch_on_gpu="ResNet18_vd", scratch_on_cpu="PPLCNet_x0_25", scratch_steps=700,
        scratch_epochs=(10, 60), tuned_epochs=8, tuned_steps=120, largest=(160, 96, 64),
    ),
    "good": _Preset(
        on_gpu=("ResNet50_vd",), on_cpu=("PPLCNet_x0_25", "PPLCNet_x0_5", "PPLCNet_x1_0"),
        scratch_on_gpu="ResNet50_vd", scratch_on_cpu="PPLCNet_x0_25", scratch_steps=2000,
        scratch_epochs=(30, 200), tuned_epochs=20, tuned_steps=300, largest=(224, 128, 64),
    ),
    "best": _Preset(
        on_gpu=("PPHGNetV2_B4", "ResNet50_vd"), on_cpu=("PPLCNet_x1_0", "PPLCNet_x0_5", "PPLCNet_x0_25"),
        scratch_on_gpu="ResNet50_vd", scratch_on_cpu="PPLCNet_x0_5", scratch_steps=5000,
        scratch_epochs=(60, 400), tuned_epochs=40, tuned_steps=800, largest=(224, 160, 96),
    ),
}  # fmt: skip


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
        most, fewest: Training images of the largest and of the smallest class; 0 where nobody has counted.
    """

    images: int
    classes: int
    side: int | None
    gpus: int
    ranks: int
    pretrained: bool
    most: int = 0
    fewest: int = 0

    @property
    def is_unbalanced(self) -> bool:
        """Whether small classes need more weight."""
        return self.fewest > 0 and self.most >= UNBALANCED * self.fewest


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
        class_weight: Weigh classes by how few images they have.
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
    class_weight: bool = False
    strides: tuple[int, ...] | None = None
    why: Sequence[str] = field(default=())


def choose_arch(gpus: int, preset: PresetName = "good") -> tuple[str, ...]:
    """Return the networks whose weights to look for, best first: for GPUs, or else for CPUs."""
    chosen = _BY_NAME[preset]
    return chosen.on_gpu if gpus else chosen.on_cpu


def scratch_arch(gpus: int, preset: PresetName = "good") -> str:
    """Return the network where there are no weights."""
    chosen = _BY_NAME[preset]
    return chosen.scratch_on_gpu if gpus else chosen.scratch_on_cpu


def choose_recipe(
    facts: Facts,
    *,
    arch: str,
    preset: PresetName = "good",
    size: int | None = None,
    epochs: int | None = None,
) -> Recipe:
    """Choose everything that is not given.

    Args:
        facts: Of images and machines.
        arch: The network.
        preset: How much the training may cost.
        size: Side in pixels, or None to choose.
        epochs: Number of them, or None to choose.
    """
    size_chosen = size or choose_size(facts, arch, preset)
    chosen = _BY_NAME[preset]
    return (_fine_tuning if facts.pretrained else _from_scratch)(facts, chosen, arch, size_chosen, epochs)


def choose_size(facts: Facts, arch: str, preset: PresetName = "good") -> int:
    """Return the side of what the network sees: the images' own, in whole steps of its stride of 32."""
    on_gpu, tuned_on_cpu, scratch_on_cpu = _BY_NAME[preset].largest
    largest = on_gpu if facts.gpus else tuned_on_cpu if facts.pretrained else scratch_on_cpu
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


def _fine_tuning(facts: Facts, preset: _Preset, arch: str, size: int, epochs: int | None) -> Recipe:
    batch = choose_batch(facts.images, facts.ranks)
    steps = _steps(facts, batch)
    chosen = epochs or max(preset.tuned_epochs, min(100, math.ceil(preset.tuned_steps / steps)))
    return Recipe(
        arch=arch, size=size, batch=batch, optimizer="Momentum", rate=fine_tuning_rate(batch * facts.ranks),
        epochs=chosen, warmup=_warmup(chosen, steps), smoothing=0.1, smallest_area=0.35,
        flip=_may_flip(facts), pretrained=True, drop_last=False, class_weight=facts.is_unbalanced,
        why=(
            f"pretrained: goes on from ImageNet's weights of {arch}, at a tenth of ImageNet's rate",
            f"{chosen} epochs of {steps} steps",
            *_balance(facts),
        ),
    )  # fmt: skip


def _from_scratch(facts: Facts, preset: _Preset, arch: str, size: int, epochs: int | None) -> Recipe:
    batch = choose_batch(facts.images, facts.ranks, largest=64 if facts.images > 20_000 else _SCRATCH_BATCH)
    steps = _steps(facts, batch)
    fewest, most = preset.scratch_epochs
    chosen = epochs or max(fewest, min(most, math.ceil(preset.scratch_steps / steps)))
    drop_last = facts.images >= 4 * batch * facts.ranks
    done = facts.images // (batch * facts.ranks) if drop_last else steps
    # Adam's step does not shrink with the gradient; of larger batches the square root is a safe factor.
    rate = _round(_SCRATCH_RATE * math.sqrt(batch * facts.ranks / _SCRATCH_BATCH))
    return Recipe(
        arch=arch, size=size, batch=batch, optimizer="AdamW", rate=rate, epochs=chosen,
        warmup=_warmup(chosen, steps), smoothing=0.0, smallest_area=0.7, flip=_may_flip(facts),
        pretrained=False, drop_last=drop_last, class_weight=facts.is_unbalanced,
        strides=choose_strides(size, arch),
        why=(
            f"from scratch: there are no weights of {arch} here, and none could be fetched",
            f"{chosen} epochs of {done} steps: what counts from scratch is the number of steps, here about "
            f"{chosen * done:,}",
            *_balance(facts),
        ),
    )  # fmt: skip


def _balance(facts: Facts) -> tuple[str, ...]:
    if not facts.is_unbalanced:
        return ()
    return (
        f"class_weight: auto, because the largest class has {facts.most} images, the smallest {facts.fewest}",
    )


def _steps(facts: Facts, batch: int) -> int:
    return max(1, math.ceil(facts.images / (batch * facts.ranks)))


def _warmup(epochs: int, steps: int) -> int:
    """Return a twentieth of the run, at most 5 epochs, and none of a run of a few steps."""
    return min(5, epochs // 20) or int(epochs > 5 and steps > 1)


def _may_flip(facts: Facts) -> bool:
    return facts.side is None or facts.side >= SMALL


def _round(value: float) -> float:
    return float(f"{value:.3g}")
