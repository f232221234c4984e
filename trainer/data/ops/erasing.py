"""What hides parts of an image [H, W, C]: RandomErasing, Cutout, HideAndSeek and GridMask.

Order of random numbers: PaddleClas d178931, ppcls/data/preprocess/ops/{random_erasing,cutout,hide_and_seek,
grid}.py, of which the last three do not work there as they are meant to (docs/paddleclas.md).
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from trainer.config.ops import RandomErasing
from trainer.config.ops_crop_pad import Cutout, GridMask, HideAndSeek
from trainer.data.ops.registry import Operation, Pixels, ensure_writable, implements
from trainer.data.rng import Rng


@implements(RandomErasing)
def random_erasing(spec: RandomErasing) -> Operation:
    """Draws in PaddleClas's order: whether at all, then area and ratio an attempt, fill, row, column.

    Image [H, W, C], written in place; a fourth channel stays zero.
    """
    largest = 1 / spec.r1
    ratio = (spec.r1, largest)
    if spec.use_log_aspect:
        ratio = (math.log(spec.r1), math.log(largest))

    def operation(image: Pixels, rng: Rng) -> Pixels:
        if rng.python.random() > spec.EPSILON:
            return image
        rows, columns = image.shape[:2]
        for _ in range(spec.attempt):
            area = rng.python.uniform(spec.sl, spec.sh) * (rows * columns)
            aspect = rng.python.uniform(*ratio)
            if spec.use_log_aspect:
                aspect = math.exp(aspect)
            height = int(round(math.sqrt(area * aspect)))  # noqa: RUF046 - as PaddleClas writes it
            width = int(round(math.sqrt(area / aspect)))  # noqa: RUF046
            if height < rows and width < columns:
                fill = _fill(spec, rng, height=height, width=width)
                top = rng.python.randint(0, rows - height)
                left = rng.python.randint(0, columns - width)
                image = ensure_writable(image)
                image[top : top + height, left : left + width, :3] = fill
                return image
        return image

    return operation


def _fill(spec: RandomErasing, rng: Rng, *, height: int, width: int) -> Pixels:
    if spec.mode == "rand":
        return rng.numpy.normal(size=(1, 1, 3))
    if spec.mode == "pixel":
        return rng.numpy.normal(size=(height, width, 3))
    return np.array(spec.mean)


_CELLS = (0, 16, 32, 44, 56)  # sides in pixels; 0 hides nothing
_HIDDEN = 0.5


@implements(Cutout)
def cutout(spec: Cutout) -> Operation:
    """Draw row and column of a square's centre, then its colour where none is given. The shape stays."""
    reach = spec.length // 2

    def operation(image: Pixels, rng: Rng) -> Pixels:
        image = ensure_writable(image)
        for _ in range(spec.n_holes):
            row, column = rng.numpy.randint(image.shape[0]), rng.numpy.randint(image.shape[1])
            fill = spec.fill_value or tuple(float(rng.python.randint(0, 255)) for _ in range(3))
            image[max(0, row - reach) : row + reach, max(0, column - reach) : column + reach, :3] = fill
        return image

    return operation


@implements(HideAndSeek)
def hide_and_seek(spec: HideAndSeek) -> Operation:
    """Draw the cells' side, then for each cell, row by row, whether it is hidden."""
    del spec

    def operation(image: Pixels, rng: Rng) -> Pixels:
        side = _CELLS[rng.numpy.choice(len(_CELLS))]
        if side == 0:
            return image
        image = ensure_writable(image)
        for top in range(0, image.shape[0], side):
            for left in range(0, image.shape[1], side):
                if rng.python.random() <= _HIDDEN:
                    image[top : top + side, left : left + side] = 0
        return image

    return operation


@implements(GridMask)
def grid_mask(spec: GridMask) -> Operation:
    """Draw whether at all, the distance, the place down and across, and the angle."""

    def operation(image: Pixels, rng: Rng) -> Pixels:
        if rng.numpy.rand() > spec.prob:
            return image
        distance = rng.numpy.randint(spec.d1, spec.d2)
        bar = int(distance * spec.ratio + 0.5)
        down, across = rng.numpy.randint(distance), rng.numpy.randint(distance)
        height, width = image.shape[:2]
        # Larger than the image, so that it covers it when it is turned.
        rows, columns = int(1.5 * height), int(1.5 * width)
        kept = np.outer(_gaps(rows, distance, down, bar), _gaps(columns, distance, across, bar))
        turned = np.asarray(Image.fromarray(kept).rotate(rng.numpy.randint(spec.rotate)))
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
