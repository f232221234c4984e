"""Mixes the images and labels of one batch, as `batch_transform_ops` says.

Formulas and order of the draws: PaddleClas d178931, ppcls/data/preprocess/batch_ops/batch_operators.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.config.batch_ops import (
    CutmixOperator,
    FmixOperator,
    MixupCutmixHybrid,
    MixupOperator,
    OpSampler,
    SampledCutmix,
    SampledFmix,
    SampledMixup,
)
from trainer.config.registry import Spec
from trainer.data.fmix import draw_mask
from trainer.data.hybrid import make_hybrid
from trainer.data.rng import Draws

Images = NDArray[np.float32]
Labels = NDArray[Any]
Mixing = Callable[[Images, Labels, Draws], tuple[Images, Labels]]
"""Images float32 [B, C, H, W], which it may write to, and labels int64 [B, 1] -> images and labels
float32 [B, K], or both as they were where nothing is to be mixed."""


def build_mixing(ops: Sequence[Spec], *, classes: int) -> Mixing | None:
    """Make the function of `batch_transform_ops`; None where the list is empty.

    Args:
        ops: One at most, as the config checks.
        classes: Length of a mixed label.
    """
    return _FACTORIES[type(ops[0])](ops[0], classes) if ops else None


def mix_labels(labels: Labels, order: NDArray[np.int64], share: float, *, classes: int) -> Images:
    """Return share · onehot + (1 − share) · onehot[order] as float32 [B, K] of labels int64 [B, 1]."""
    onehot = np.zeros((len(labels), classes), dtype=np.float32)
    onehot[np.arange(len(labels)), labels.reshape(-1)] = 1.0
    mixed: Images = onehot * share + onehot[order] * (1.0 - share)
    return mixed


def _mixup(op: MixupOperator, classes: int) -> Mixing:
    def mix(images: Images, labels: Labels, draws: Draws) -> tuple[Images, Labels]:
        order = draws.numpy.permutation(len(images))
        share = float(draws.numpy.beta(op.alpha, op.alpha))
        return share * images + (1.0 - share) * images[order], mix_labels(
            labels, order, share, classes=classes
        )

    return mix


def _cutmix(op: CutmixOperator, classes: int) -> Mixing:
    def mix(images: Images, labels: Labels, draws: Draws) -> tuple[Images, Labels]:
        order = draws.numpy.permutation(len(images))
        share = float(draws.numpy.beta(op.alpha, op.alpha))
        height, width = images.shape[2:]
        side = float(np.sqrt(1.0 - share))
        half_rows, half_columns = int(height * side) // 2, int(width * side) // 2
        row, column = int(draws.numpy.randint(height)), int(draws.numpy.randint(width))
        top, bottom = max(row - half_rows, 0), min(row + half_rows, height)
        left, right = max(column - half_columns, 0), min(column + half_columns, width)
        images[:, :, top:bottom, left:right] = images[order, :, top:bottom, left:right]
        # A Python float, so that NumPy 2 keeps float32; PaddleClas's labels become float64 there.
        kept = 1.0 - (bottom - top) * (right - left) / (height * width)
        return images, mix_labels(labels, order, kept, classes=classes)

    return mix


def _fmix(op: FmixOperator, classes: int) -> Mixing:
    def mix(images: Images, labels: Labels, draws: Draws) -> tuple[Images, Labels]:
        order = draws.numpy.permutation(len(images))
        share = float(draws.numpy.beta(op.alpha + 1 if op.reformulate else op.alpha, op.alpha))
        height, width = images.shape[2:]
        drawn = draw_mask(
            draws, height=height, width=width, share=share, decay_power=op.decay_power, max_soft=op.max_soft
        )
        mask = drawn.astype(np.float32)
        mixed = mask * images + (np.float32(1.0) - mask) * images[order]
        return mixed, mix_labels(labels, order, share, classes=classes)

    return mix


def _sample(op: OpSampler, classes: int) -> Mixing:
    choices = op.choices()
    mixings = [*(_FACTORIES[type(choice)](choice, classes) for choice, _ in choices), None]
    weights = [prob for _, prob in choices]
    weights.append(max(0.0, 1.0 - sum(weights)))

    def mix(images: Images, labels: Labels, draws: Draws) -> tuple[Images, Labels]:
        (chosen,) = draws.python.choices(mixings, weights=weights, k=1)
        return chosen(images, labels, draws) if chosen is not None else (images, labels)

    return mix


_FACTORIES: Mapping[type[Spec], Callable[[Any, int], Mixing]] = {  # each takes its own spec
    MixupOperator: _mixup, SampledMixup: _mixup, CutmixOperator: _cutmix, SampledCutmix: _cutmix,
    FmixOperator: _fmix, SampledFmix: _fmix, MixupCutmixHybrid: make_hybrid, OpSampler: _sample,
}  # fmt: skip
