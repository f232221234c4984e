"""Cutout, HideAndSeek and GridMask, on images [H, W, C].

Order of the draws: PaddleClas d178931, ppcls/data/preprocess/ops/{cutout,hide_and_seek,grid}.py, which do not
work there as they are meant to (docs/paddleclas.md).
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from trainer.config.ops_crop_pad import Cutout, GridMask, HideAndSeek
from trainer.data.ops.registry import Operation, Pixels, implements, own
from trainer.data.rng import Draws

_CELLS = (0, 16, 32, 44, 56)  # sides in pixels; 0 hides nothing
_HIDDEN = 0.5


@implements(Cutout)
def cutout(spec: Cutout) -> Operation:
    """Draw row and column of a square's centre, then its colour where none is given."""
    reach = spec.length // 2

    def operation(image: Pixels, draws: Draws) -> Pixels:
        image = own(image)
        for _ in range(spec.n_holes):
            row, column = draws.numpy.randint(image.shape[0]), draws.numpy.randint(image.shape[1])
            fill = spec.fill_value or tuple(float(draws.python.randint(0, 255)) for _ in range(3))
            image[max(0, row - reach) : row + reach, max(0, column - reach) : column + reach, :3] = fill
        return image

    return operation


@implements(HideAndSeek)
def hide_and_seek(spec: HideAndSeek) -> Operation:
    """Draw the cells' side, then for each cell, row by row, whether it is hidden."""
    del spec

    def operation(image: Pixels, draws: Draws) -> Pixels:
        side = _CELLS[draws.numpy.choice(len(_CELLS))]
        if side == 0:
            return image
        image = own(image)
        for top in range(0, image.shape[0], side):
            for left in range(0, image.shape[1], side):
                if draws.python.random() <= _HIDDEN:
                    image[top : top + side, left : left + side] = 0
        return image

    return operation


@implements(GridMask)
def grid_mask(spec: GridMask) -> Operation:
    """Draw whether at all, the distance, the place down and across, and the angle."""

    def operation(image: Pixels, draws: Draws) -> Pixels:
        if draws.numpy.rand() > spec.prob:
            return image
        distance = draws.numpy.randint(spec.d1, spec.d2)
        bar = int(distance * spec.ratio + 0.5)
        down, across = draws.numpy.randint(distance), draws.numpy.randint(distance)
        height, width = image.shape[:2]
        # Larger than the image, so that it covers it when it is turned.
        rows, columns = int(1.5 * height), int(1.5 * width)
        kept = np.outer(_gaps(rows, distance, down, bar), _gaps(columns, distance, across, bar))
        turned = np.asarray(Image.fromarray(kept).rotate(draws.numpy.randint(spec.rotate)))
        top, left = (rows - height) // 2, (columns - width) // 2
        mask = turned[top : top + height, left : left + width]
        if spec.mode == 1:
            mask = 1 - mask
        hidden: Pixels = (image * mask[:, :, None]).astype(image.dtype)
        return hidden

    return operation


def _gaps(length: int, distance: int, start: int, bar: int) -> Pixels:
    """Return 0 where a bar lies and 1 elsewhere, as uint8 [length]."""
    return ((np.arange(length) - start) % distance >= bar).astype(np.uint8)
