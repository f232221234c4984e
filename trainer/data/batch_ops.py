"""Operations on whole batches: mixup, cutmix, fmix, the hybrid of timm, and the choice between some of them.

Declared in `trainer.config.batch_ops`. Formulas and order of random numbers: PaddleClas d178931,
ppcls/data/preprocess/batch_ops/batch_operators.py and ppcls/data/preprocess/ops/fmix.py
(https://arxiv.org/abs/2002.12047). Each image is mixed with another of its batch, by a permutation that is
drawn, or, in MixupCutmixHybrid, with its mirror place: the first with the last.
"""

from __future__ import annotations

import math
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
from trainer.data.rng import Rng

Mask = NDArray[np.float64]


def draw_mask(
    rng: Rng, *, height: int, width: int, share: float, decay_power: float, max_soft: float
) -> Mask:
    """Draw a mask [H, W] between 0 and 1, of which `share` is 1.

    Draws the spectrum from NumPy, then from Python whether the number of ones is rounded up.

    Args:
        rng: Where from.
        height: Of the images.
        width: Of the images.
        share: Mean of the mask.
        decay_power: How fast the strength of a frequency falls with it.
        max_soft: Half the share of pixels between 0 and 1, at the edge; less where `share` leaves less.
    """
    levels = _low_frequencies(rng, height, width, decay_power).reshape(-1)
    highest = levels.argsort()[::-1]
    round_up = rng.python.random() > 0.5
    ones = math.ceil(share * levels.size) if round_up else math.floor(share * levels.size)
    soft = max_soft if max_soft <= min(share, 1 - share) else min(share, 1 - share)
    reach = int(levels.size * soft)
    mask = np.zeros(levels.size)
    mask[highest[: ones + reach]] = 1
    mask[highest[ones - reach :]] = 0
    edge = highest[ones - reach : ones + reach]
    mask[edge] = np.linspace(1, 0, len(edge))
    return mask.reshape(height, width)


def _low_frequencies(rng: Rng, height: int, width: int, decay_power: float) -> Mask:
    down = np.fft.fftfreq(height)[:, None]
    across = np.fft.fftfreq(width)[: width // 2 + (2 if width % 2 else 1)]
    frequencies = np.sqrt(across * across + down * down)
    strength = 1 / np.maximum(frequencies, 1 / max(width, height)) ** decay_power
    spectrum = strength[:, :, None] * rng.numpy.randn(1, *frequencies.shape, 2)[0]
    # Its first two rows, not its two parts, are added up as a complex number there, and so here.
    return np.asarray(np.fft.irfftn(spectrum[0] + 1j * spectrum[1], (height, width), axes=(0, 1)))


Images = NDArray[np.float32]
Labels = NDArray[Any]
Shares = NDArray[np.float32]


def blend(images: Images, order: NDArray[np.int64], share: Any, rest: Any) -> Images:
    """Return share · images + rest · images[order].

    Image by image: what two of them take stays in a core's cache, and no batch is made between: 0.09 ms of
    CPU an image of 224 pixels instead of 0.37 for the formula as it is written; the same bits.

    Args:
        images: float32 [B, C, H, W].
        order: int64 [B].
        share: float32, or a mask of it, [H, W].
        rest: As `share`.
    """
    mixed, part = np.empty_like(images), np.empty_like(images[0])
    for image, other, place in zip(images, order, mixed, strict=True):
        np.multiply(image, share, out=place)
        np.multiply(images[other], rest, out=part)
        np.add(place, part, out=place)
    return mixed


def make_hybrid(
    op: MixupCutmixHybrid, classes: int
) -> Callable[[Images, Labels, Rng], tuple[Images, Labels]]:
    """Make the function of a batch: images float32 [B, C, H, W], which it writes to, and labels int64 [B, 1]
    -> images and labels float32 [B, classes].
    """
    off = op.label_smoothing / classes
    on = 1.0 - op.label_smoothing + off

    def mix(images: Images, labels: Labels, rng: Rng) -> tuple[Images, Labels]:
        plain = np.full((len(labels), classes), off, dtype=np.float32)
        plain[np.arange(len(labels)), labels.reshape(-1)] = on
        shares = _mix_batch(op, images, rng) if op.mode == "batch" else _mix_each(op, images, rng)
        return images, plain * shares + plain[::-1] * (np.float32(1.0) - shares)

    return mix


def _mix_batch(op: MixupCutmixHybrid, images: Images, rng: Rng) -> Shares:
    """Mix all images in one way; returns their own share as [1, 1]."""
    share, cut = 1.0, False
    if rng.numpy.rand() < op.prob:
        cut = rng.numpy.rand() < op.switch_prob if op.mixes and op.cuts else op.cuts
        alpha = op.strength_of_cutmix if cut else op.mixup_alpha
        share = float(rng.numpy.beta(alpha, alpha))
    if share == 1.0:
        return np.ones((1, 1), dtype=np.float32)
    if cut:
        rows, columns, share = _draw_box(op, images.shape, share, rng)
        images[:, :, rows, columns] = images[::-1, :, rows, columns].copy()
    else:
        backwards = np.arange(len(images))[::-1]
        images[:] = blend(images, backwards, np.float32(share), np.float32(1.0 - share))
    return np.full((1, 1), share, dtype=np.float32)


def _mix_each(op: MixupCutmixHybrid, images: Images, rng: Rng) -> Shares:
    """Mix each image or each pair in a way of its own; returns their own shares as [B, 1]."""
    count = len(images)
    groups = count // 2 if op.mode == "pair" else count
    drawn, cut = _draw_each(op, groups, rng)
    shares = np.ones(count, dtype=np.float32)
    original = images.copy()
    for group in range(groups):
        share: Any = drawn[group]
        if share == 1.0:
            continue
        members = (group, count - 1 - group) if op.mode == "pair" else (group,)
        if cut[group]:
            rows, columns, share = _draw_box(op, images.shape, share, rng)
        for here in members:
            other = original[count - 1 - here]
            if cut[group]:
                images[here][:, rows, columns] = other[:, rows, columns]
            else:
                images[here] = images[here] * share + other * (np.float32(1.0) - share)
            shares[here] = share
    return shares[:, None]


def _draw_each(op: MixupCutmixHybrid, count: int, rng: Rng) -> tuple[Shares, NDArray[np.bool_]]:
    """Draw own shares, and which of them cut: both ways are drawn for all, as PaddleClas does."""
    cut = np.full(count, op.cuts)
    if op.mixes and op.cuts:
        cut = rng.numpy.rand(count) < op.switch_prob
        of_cut = rng.numpy.beta(op.strength_of_cutmix, op.strength_of_cutmix, size=count)
        drawn = np.where(cut, of_cut, rng.numpy.beta(op.mixup_alpha, op.mixup_alpha, size=count))
    else:
        alpha = op.strength_of_cutmix if op.cuts else op.mixup_alpha
        drawn = rng.numpy.beta(alpha, alpha, size=count)
    touched = rng.numpy.rand(count) < op.prob
    return np.where(touched, drawn.astype(np.float32), np.float32(1.0)), cut


def _draw_box(
    op: MixupCutmixHybrid, shape: tuple[int, ...], share: Any, rng: Rng
) -> tuple[slice, slice, float]:
    """Draw rows and columns of a box, and return them with the share that it leaves."""
    height, width = shape[-2:]
    randint = rng.numpy.randint
    if op.cutmix_minmax is not None:
        least, most = op.cutmix_minmax
        tall = int(randint(int(height * least), max(int(height * most), int(height * least) + 1)))
        wide = int(randint(int(width * least), max(int(width * most), int(width * least) + 1)))
        top, left = int(randint(0, height - tall)), int(randint(0, width - wide))
        bottom, right = top + tall, left + wide
    else:
        side = np.sqrt(1 - share)  # of a share in float32 in float32, as there
        tall, wide = int(height * side), int(width * side)
        row, column = int(randint(0, height)), int(randint(0, width))
        top, bottom = max(row - tall // 2, 0), min(row + tall // 2, height)
        left, right = max(column - wide // 2, 0), min(column + wide // 2, width)
    if op.correct_lam or op.cutmix_minmax is not None:
        share = 1.0 - (bottom - top) * (right - left) / float(height * width)
    return slice(top, bottom), slice(left, right), share


Mixing = Callable[[Images, Labels, Rng], tuple[Images, Labels]]
"""Images float32 [B, C, H, W], which it may write to, and labels int64 [B, 1] -> images and labels
float32 [B, K] (of CutmixOperator float64 where asked for), or both as they were where nothing is to be
mixed."""


def build_mixing(ops: Sequence[Spec], *, classes: int, doubles: bool = False) -> Mixing | None:
    """Make the function of `batch_transform_ops`; None where the list is empty.

    Args:
        ops: One at most, as the config checks.
        classes: Length of a mixed label.
        doubles: Make CutmixOperator's labels float64, as PaddleClas's become with NumPy 2: the share there is
            a NumPy number, not a Python one, which float32 does not take in (NEP 50).
    """
    return _FACTORIES[type(ops[0])](ops[0], classes, doubles) if ops else None


def mix_labels(
    labels: Labels, order: NDArray[np.int64], share: float, *, classes: int, doubles: bool = False
) -> Labels:
    """Return share · onehot + (1 − share) · onehot[order] of labels int64 [B, 1].

    As float32 [B, K], or, with `doubles`, as float64.
    """
    onehot = np.zeros((len(labels), classes), dtype=np.float64 if doubles else np.float32)
    onehot[np.arange(len(labels)), labels.reshape(-1)] = 1.0
    mixed: Labels = onehot * share + onehot[order] * (1.0 - share)
    return mixed


def _mixup(op: MixupOperator, classes: int, doubles: bool) -> Mixing:
    del doubles  # the share is what `beta` returns, a Python number

    def mix(images: Images, labels: Labels, rng: Rng) -> tuple[Images, Labels]:
        order = rng.numpy.permutation(len(images))
        share = float(rng.numpy.beta(op.alpha, op.alpha))
        mixed = blend(images, order, np.float32(share), np.float32(1.0 - share))
        return mixed, mix_labels(labels, order, share, classes=classes)

    return mix


def _cutmix(op: CutmixOperator, classes: int, doubles: bool) -> Mixing:
    def mix(images: Images, labels: Labels, rng: Rng) -> tuple[Images, Labels]:
        order = rng.numpy.permutation(len(images))
        share = float(rng.numpy.beta(op.alpha, op.alpha))
        height, width = images.shape[2:]
        side = float(np.sqrt(1.0 - share))
        half_rows, half_columns = int(height * side) // 2, int(width * side) // 2
        row, column = int(rng.numpy.randint(height)), int(rng.numpy.randint(width))
        top, bottom = max(row - half_rows, 0), min(row + half_rows, height)
        left, right = max(column - half_columns, 0), min(column + half_columns, width)
        images[:, :, top:bottom, left:right] = images[order, :, top:bottom, left:right]
        kept = 1.0 - (bottom - top) * (right - left) / (height * width)
        return images, mix_labels(labels, order, kept, classes=classes, doubles=doubles)

    return mix


def _fmix(op: FmixOperator, classes: int, doubles: bool) -> Mixing:
    del doubles  # as _mixup

    def mix(images: Images, labels: Labels, rng: Rng) -> tuple[Images, Labels]:
        order = rng.numpy.permutation(len(images))
        share = float(rng.numpy.beta(op.alpha + 1 if op.reformulate else op.alpha, op.alpha))
        height, width = images.shape[2:]
        drawn = draw_mask(
            rng, height=height, width=width, share=share, decay_power=op.decay_power, max_soft=op.max_soft
        )
        mask = drawn.astype(np.float32)
        mixed = blend(images, order, mask, np.float32(1.0) - mask)
        return mixed, mix_labels(labels, order, share, classes=classes)

    return mix


def _hybrid(op: MixupCutmixHybrid, classes: int, doubles: bool) -> Mixing:
    del doubles  # its labels are tensors there, which stay float32

    return make_hybrid(op, classes)


def _sample(op: OpSampler, classes: int, doubles: bool) -> Mixing:
    choices = op.choices()
    mixings = [*(_FACTORIES[type(choice)](choice, classes, doubles) for choice, _ in choices), None]
    weights = [prob for _, prob in choices]
    weights.append(max(0.0, 1.0 - sum(weights)))

    def mix(images: Images, labels: Labels, rng: Rng) -> tuple[Images, Labels]:
        (chosen,) = rng.python.choices(mixings, weights=weights, k=1)
        return chosen(images, labels, rng) if chosen is not None else (images, labels)

    return mix


_FACTORIES: Mapping[type[Spec], Callable[[Any, int, bool], Mixing]] = {  # each takes its own spec
    MixupOperator: _mixup, SampledMixup: _mixup, CutmixOperator: _cutmix, SampledCutmix: _cutmix,
    FmixOperator: _fmix, SampledFmix: _fmix, MixupCutmixHybrid: _hybrid, OpSampler: _sample,
}  # fmt: skip
