"""MixupCutmixHybrid: each image with its mirror place in the batch, the first with the last.

Formulas and order of the draws: PaddleClas d178931, ppcls/data/preprocess/batch_ops/batch_operators.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.config.batch_ops import MixupCutmixHybrid
from trainer.data.rng import Draws

Images = NDArray[np.float32]
Labels = NDArray[Any]
Shares = NDArray[np.float32]


def make_hybrid(
    op: MixupCutmixHybrid, classes: int
) -> Callable[[Images, Labels, Draws], tuple[Images, Labels]]:
    """Make the function of a batch: images float32 [B, C, H, W], which it writes to, and labels int64 [B, 1]
    -> images and labels float32 [B, classes].
    """
    off = op.label_smoothing / classes
    on = 1.0 - op.label_smoothing + off

    def mix(images: Images, labels: Labels, draws: Draws) -> tuple[Images, Labels]:
        plain = np.full((len(labels), classes), off, dtype=np.float32)
        plain[np.arange(len(labels)), labels.reshape(-1)] = on
        shares = _mix_batch(op, images, draws) if op.mode == "batch" else _mix_each(op, images, draws)
        return images, plain * shares + plain[::-1] * (np.float32(1.0) - shares)

    return mix


def _mix_batch(op: MixupCutmixHybrid, images: Images, draws: Draws) -> Shares:
    """Mix all images in one way; returns their own share as [1, 1]."""
    share, cut = 1.0, False
    if draws.numpy.rand() < op.prob:
        cut = draws.numpy.rand() < op.switch_prob if op.mixes and op.cuts else op.cuts
        alpha = op.strength_of_cutmix if cut else op.mixup_alpha
        share = float(draws.numpy.beta(alpha, alpha))
    if share == 1.0:
        return np.ones((1, 1), dtype=np.float32)
    if cut:
        rows, columns, share = _draw_box(op, images.shape, share, draws)
        images[:, :, rows, columns] = images[::-1, :, rows, columns].copy()
    else:
        images[:] = images * np.float32(share) + images[::-1] * np.float32(1.0 - share)
    return np.full((1, 1), share, dtype=np.float32)


def _mix_each(op: MixupCutmixHybrid, images: Images, draws: Draws) -> Shares:
    """Mix each image or each pair in a way of its own; returns their own shares as [B, 1]."""
    count = len(images)
    groups = count // 2 if op.mode == "pair" else count
    drawn, cut = _draw_each(op, groups, draws)
    shares = np.ones(count, dtype=np.float32)
    original = images.copy()
    for group in range(groups):
        share: Any = drawn[group]
        if share == 1.0:
            continue
        members = (group, count - 1 - group) if op.mode == "pair" else (group,)
        if cut[group]:
            rows, columns, share = _draw_box(op, images.shape, share, draws)
        for here in members:
            other = original[count - 1 - here]
            if cut[group]:
                images[here][:, rows, columns] = other[:, rows, columns]
            else:
                images[here] = images[here] * share + other * (np.float32(1.0) - share)
            shares[here] = share
    return shares[:, None]


def _draw_each(op: MixupCutmixHybrid, count: int, draws: Draws) -> tuple[Shares, NDArray[np.bool_]]:
    """Draw own shares, and which of them cut: both ways are drawn for all, as PaddleClas does."""
    cut = np.full(count, op.cuts)
    if op.mixes and op.cuts:
        cut = draws.numpy.rand(count) < op.switch_prob
        of_cut = draws.numpy.beta(op.strength_of_cutmix, op.strength_of_cutmix, size=count)
        drawn = np.where(cut, of_cut, draws.numpy.beta(op.mixup_alpha, op.mixup_alpha, size=count))
    else:
        alpha = op.strength_of_cutmix if op.cuts else op.mixup_alpha
        drawn = draws.numpy.beta(alpha, alpha, size=count)
    touched = draws.numpy.rand(count) < op.prob
    return np.where(touched, drawn.astype(np.float32), np.float32(1.0)), cut


def _draw_box(
    op: MixupCutmixHybrid, shape: tuple[int, ...], share: Any, draws: Draws
) -> tuple[slice, slice, float]:
    """Draw rows and columns of a box, and return them with the share that it leaves."""
    height, width = shape[-2:]
    randint = draws.numpy.randint
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
