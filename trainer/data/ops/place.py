"""Random crops of a size, turns by quarters, and a detour over a smaller image.

Order of the draws: PaddleClas d178931, ppcls/data/preprocess/ops/operators.py.
"""

from __future__ import annotations

import cv2
import numpy as np

from trainer.config.ops_crop_pad import (
    CropImageAtRatio,
    CropWithPadding,
    RandCropImageV2,
    RandomCropImage,
    RandomInterpolationAugment,
    RandomRot90,
)
from trainer.data.ops.areas import draw_area
from trainer.data.ops.registry import Operation, Pixels, cut, implements
from trainer.data.ops.resize import CV2_INTERPOLATION
from trainer.data.rng import Draws

_FIVE = ("nearest", "bilinear", "area", "bicubic", "lanczos")


@implements(RandomCropImage)
def random_crop_image(spec: RandomCropImage) -> Operation:
    """Draw the row, then the column."""
    width, height = spec.size

    def operation(image: Pixels, draws: Draws) -> Pixels:
        top = draws.python.randint(0, max(0, image.shape[0] - height))
        left = draws.python.randint(0, max(0, image.shape[1] - width))
        return cut(image, top=top, left=left, width=width, height=height)

    return operation


@implements(RandCropImageV2)
def rand_crop_image_v2(spec: RandCropImageV2) -> Operation:
    """Draw the row, then the column, of one more than there are: PaddleClas cuts the last ones short."""
    width, height = spec.size

    def operation(image: Pixels, draws: Draws) -> Pixels:
        rows, columns = image.shape[:2]
        if (rows, columns) == (height, width):
            return image
        below, beside = max(0, rows - height), max(0, columns - width)
        top = min(draws.python.randint(0, below + 1), below)
        left = min(draws.python.randint(0, beside + 1), beside)
        return cut(image, top=top, left=left, width=width, height=height)

    return operation


@implements(CropImageAtRatio)
def crop_image_at_ratio(spec: CropImageAtRatio) -> Operation:
    """Resized by OpenCV."""
    size, ratio = spec.size, spec.size / (spec.size + spec.pad)
    interpolation = CV2_INTERPOLATION[spec.interpolation]

    def operation(image: Pixels, draws: Draws) -> Pixels:
        del draws
        height, width = image.shape[:2]
        side = max(1, int(ratio * min(height, width)))
        top, left = (height - side) // 2, (width - side) // 2
        square = image[top : top + side, left : left + side]
        resized: Pixels = cv2.resize(square, (size, size), interpolation=interpolation)
        return resized

    return operation


@implements(CropWithPadding)
def crop_with_padding(spec: CropWithPadding) -> Operation:
    """Draw whether at all, then the area as RandomResizedCrop does."""

    def operation(image: Pixels, draws: Draws) -> Pixels:
        if draws.numpy.random_sample() >= spec.prob:
            return image
        top, left, height, width = draw_area(image, draws, scale=spec.scale, ratio=spec.ratio)
        padded = np.full_like(image, spec.padding_num)
        padded[top : top + height, left : left + width] = image[top : top + height, left : left + width]
        return padded

    return operation


@implements(RandomRot90)
def random_rot_90(spec: RandomRot90) -> Operation:
    """Draw the number of quarters, counter-clockwise, and note it as a label."""

    def operation(image: Pixels, draws: Draws) -> Pixels:
        quarters = draws.python.choice((0, 1, 2, 3))
        draws.labels[spec.label_key] = quarters
        return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image

    return operation


@implements(RandomInterpolationAugment)
def random_interpolation_augment(spec: RandomInterpolationAugment) -> Operation:
    """Draw whether at all, the share of the height, and how to shrink and to enlarge. Resized by OpenCV."""

    def draw_interpolation(draws: Draws) -> int:
        return CV2_INTERPOLATION[_FIVE[draws.numpy.choice(len(_FIVE))]]

    def operation(image: Pixels, draws: Draws) -> Pixels:
        if draws.numpy.random_sample() >= spec.prob:
            return image
        height, width = image.shape[:2]
        side = max(1, int(draws.numpy.uniform(0.2, 1.0) * height))
        small = cv2.resize(image, (side, side), interpolation=draw_interpolation(draws))
        resized: Pixels = cv2.resize(small, (width, height), interpolation=draw_interpolation(draws))
        return resized

    return operation
