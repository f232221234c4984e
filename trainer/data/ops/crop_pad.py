"""Crops of a size, pads, turns by quarters, and a detour over a smaller image.

Declared in `trainer.config.ops_crop_pad`. Order of random numbers: PaddleClas d178931,
ppcls/data/preprocess/ops/operators.py; the random area is that of RandomResizedCrop (paddle 3.3.1,
python/paddle/vision/transforms/transforms.py).
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from trainer.config.ops_crop_pad import (
    CropImageAtRatio,
    CropWithPadding,
    Pad,
    Padv2,
    RandCropImageV2,
    RandomCropImage,
    RandomInterpolationAugment,
    RandomRot90,
)
from trainer.data.ops.basic import CV2_INTERPOLATION
from trainer.data.ops.registry import Operation, Pixels, cut, describe_shape, implements
from trainer.data.rng import Rng
from trainer.errors import ImageError

_TRIES = 10
Range = tuple[float, float]


def draw_area(height: int, width: int, rng: Rng, *, scale: Range, ratio: Range) -> tuple[int, int, int, int]:
    """Draw top, left, height and width of a part of an image.

    Each try draws area and aspect ratio; one that fits draws row and column. The centre where none fits.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        rng: Where from.
        scale: Share of the image's area.
        ratio: Width by height; its logarithm is drawn evenly.
    """
    log_ratio = (math.log(ratio[0]), math.log(ratio[1]))
    for _ in range(_TRIES):
        area = rng.numpy.uniform(*scale) * (height * width)
        aspect = math.exp(rng.numpy.uniform(*log_ratio))
        wide, tall = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < tall <= height:
            top = rng.python.randint(0, height - tall)
            left = rng.python.randint(0, width - wide)
            return top, left, tall, wide
    wide, tall = width, height
    if width / height < ratio[0]:
        tall = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        wide = max(1, round(height * ratio[1]))
    return (height - tall) // 2, (width - wide) // 2, tall, wide


_FIVE = ("nearest", "bilinear", "area", "bicubic", "lanczos")


@implements(RandomCropImage)
def random_crop_image(spec: RandomCropImage) -> Operation:
    """[H, W, C] -> [height, width, C] of `size`, a view. Draw the row, then the column."""
    width, height = spec.size

    def operation(image: Pixels, rng: Rng) -> Pixels:
        top = rng.python.randint(0, max(0, image.shape[0] - height))
        left = rng.python.randint(0, max(0, image.shape[1] - width))
        return cut(image, top=top, left=left, width=width, height=height)

    return operation


@implements(RandCropImageV2)
def rand_crop_image_v2(spec: RandCropImageV2) -> Operation:
    """[H, W, C] -> [height, width, C] of `size`, a view.

    Draw the row, then the column, of one more than there are: PaddleClas cuts the last ones short.
    """
    width, height = spec.size

    def operation(image: Pixels, rng: Rng) -> Pixels:
        rows, columns = image.shape[:2]
        if (rows, columns) == (height, width):
            return image
        below, beside = max(0, rows - height), max(0, columns - width)
        top = min(rng.python.randint(0, below + 1), below)
        left = min(rng.python.randint(0, beside + 1), beside)
        return cut(image, top=top, left=left, width=width, height=height)

    return operation


@implements(CropImageAtRatio)
def crop_image_at_ratio(spec: CropImageAtRatio) -> Operation:
    """[H, W, C] -> [size, size, C]: the centre square's share `size / (size + pad)`, resized by OpenCV."""
    size, ratio = spec.size, spec.size / (spec.size + spec.pad)
    interpolation = CV2_INTERPOLATION[spec.interpolation]

    def operation(image: Pixels, rng: Rng) -> Pixels:
        del rng
        height, width = image.shape[:2]
        side = max(1, int(ratio * min(height, width)))
        top, left = (height - side) // 2, (width - side) // 2
        square = image[top : top + side, left : left + side]
        resized: Pixels = cv2.resize(square, (size, size), interpolation=interpolation)
        return resized

    return operation


@implements(CropWithPadding)
def crop_with_padding(spec: CropWithPadding) -> Operation:
    """[H, W, C] -> the same shape, of which a random part stays and the rest is `padding_num`.

    Draw whether at all, then the area as RandomResizedCrop does.
    """

    def operation(image: Pixels, rng: Rng) -> Pixels:
        if rng.numpy.random_sample() >= spec.prob:
            return image
        rows, columns = image.shape[:2]
        top, left, height, width = draw_area(rows, columns, rng, scale=spec.scale, ratio=spec.ratio)
        padded = np.full_like(image, spec.padding_num)
        padded[top : top + height, left : left + width] = image[top : top + height, left : left + width]
        return padded

    return operation


@implements(RandomRot90)
def random_rot_90(spec: RandomRot90) -> Operation:
    """[H, W, C] -> the same, or [W, H, C]. Draw the quarters, counter-clockwise, and note them as a label."""

    def operation(image: Pixels, rng: Rng) -> Pixels:
        quarters = rng.python.choice((0, 1, 2, 3))
        rng.labels[spec.label_key] = quarters
        return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image

    return operation


@implements(RandomInterpolationAugment)
def random_interpolation_augment(spec: RandomInterpolationAugment) -> Operation:
    """Draw whether at all, the share of the height, and how to shrink and to enlarge. Resized by OpenCV."""

    def draw_interpolation(rng: Rng) -> int:
        return CV2_INTERPOLATION[_FIVE[rng.numpy.choice(len(_FIVE))]]

    def operation(image: Pixels, rng: Rng) -> Pixels:
        if rng.numpy.random_sample() >= spec.prob:
            return image
        height, width = image.shape[:2]
        side = max(1, int(rng.numpy.uniform(0.2, 1.0) * height))
        small = cv2.resize(image, (side, side), interpolation=draw_interpolation(rng))
        resized: Pixels = cv2.resize(small, (width, height), interpolation=draw_interpolation(rng))
        return resized

    return operation


@implements(Padv2)
def padv2(spec: Padv2) -> Operation:
    """Make float32 [H, W, 3] in the range that the image has, also where nothing is padded."""
    fill = np.array(spec.fill_value, dtype=np.float32)
    step = spec.size_divisor

    def operation(image: Pixels, rng: Rng) -> Pixels:
        del rng
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
    """[H, W, C] -> [H + 2 padding, W + 2 padding, C], one level for each channel; both backends agree."""
    by = spec.padding
    levels = tuple(spec.fill)

    def operation(image: Pixels, rng: Rng) -> Pixels:
        del rng
        padded: Pixels = cv2.copyMakeBorder(image, by, by, by, by, cv2.BORDER_CONSTANT, value=levels)
        return padded

    return operation
