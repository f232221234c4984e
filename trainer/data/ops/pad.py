"""Padv2 and Pad."""

from __future__ import annotations

import cv2
import numpy as np

from trainer.config.ops_crop_pad import Pad, Padv2
from trainer.data.ops.registry import Operation, Pixels, describe_shape, implements
from trainer.data.rng import Draws
from trainer.errors import ImageError


@implements(Padv2)
def padv2(spec: Padv2) -> Operation:
    """Make float32 [H, W, 3] in the range that the image has, also where nothing is padded."""
    fill = np.array(spec.fill_value, dtype=np.float32)
    step = spec.size_divisor

    def operation(image: Pixels, draws: Draws) -> Pixels:
        del draws
        rows, columns = image.shape[:2]
        width, height = spec.size or (-(-columns // step) * step, -(-rows // step) * step)
        left, top = _offsets(spec, free=(width - columns, height - rows))
        if left < 0 or top < 0 or left + columns > width or top + rows > height:
            raise ImageError(
                f"expected at most {width} × {height} pixels, got {describe_shape(image)}"
                + (f" at {left}, {top}" if spec.pad_mode == -1 else "")
                + "; resize it before Padv2, or pad to a larger size"
            )
        if (rows, columns) == (height, width):
            return image.astype(np.float32)
        canvas = np.empty((height, width, 3), dtype=np.float32)
        canvas[:] = fill
        canvas[top : top + rows, left : left + columns] = image
        return canvas

    return operation


def _offsets(spec: Padv2, *, free: tuple[int, int]) -> tuple[int, int]:
    """Return x and y of the image, where so many columns and rows are free."""
    if min(free) < 0 or spec.pad_mode == 2:
        return free
    if spec.pad_mode == -1 and free != (0, 0):
        assert spec.offsets is not None
        return spec.offsets
    return (free[0] // 2, free[1] // 2) if spec.pad_mode == 1 else (0, 0)


@implements(Pad)
def pad(spec: Pad) -> Operation:
    """One level for each channel; both backends give the same pixels."""
    by = spec.padding
    levels = tuple(spec.fill)

    def operation(image: Pixels, draws: Draws) -> Pixels:
        del draws
        padded: Pixels = cv2.copyMakeBorder(image, by, by, by, by, cv2.BORDER_CONSTANT, value=levels)
        return padded

    return operation
