"""RandomErasing."""

from __future__ import annotations

import math

import numpy as np

from trainer.config.ops import RandomErasing
from trainer.data.ops.registry import Operation, Pixels, implements, own
from trainer.data.rng import Draws


@implements(RandomErasing)
def random_erasing(spec: RandomErasing) -> Operation:
    """Draws in PaddleClas's order: whether at all, then area and ratio an attempt, fill, row, column.

    Image [H, W, C], written in place; a fourth channel stays zero.
    """
    largest = 1 / spec.r1
    ratio = (spec.r1, largest)
    if spec.use_log_aspect:
        ratio = (math.log(spec.r1), math.log(largest))

    def operation(image: Pixels, draws: Draws) -> Pixels:
        if draws.python.random() > spec.EPSILON:
            return image
        rows, columns = image.shape[:2]
        for _ in range(spec.attempt):
            area = draws.python.uniform(spec.sl, spec.sh) * (rows * columns)
            aspect = draws.python.uniform(*ratio)
            if spec.use_log_aspect:
                aspect = math.exp(aspect)
            height = int(round(math.sqrt(area * aspect)))  # noqa: RUF046 - as PaddleClas writes it
            width = int(round(math.sqrt(area / aspect)))  # noqa: RUF046
            if height < rows and width < columns:
                fill = _fill(spec, draws, height=height, width=width)
                top = draws.python.randint(0, rows - height)
                left = draws.python.randint(0, columns - width)
                image = own(image)
                image[top : top + height, left : left + width, :3] = fill
                return image
        return image

    return operation


def _fill(spec: RandomErasing, draws: Draws, *, height: int, width: int) -> Pixels:
    if spec.mode == "rand":
        return draws.numpy.normal(size=(1, 1, 3))
    if spec.mode == "pixel":
        return draws.numpy.normal(size=(height, width, 3))
    return np.array(spec.mean)
