"""From uint8 pixels to the numbers that a network takes, apart from the operations before it.

Most lists of operations end in some that make of each number another one by itself: NormalizeImage, ToTensor,
Normalize, and ToCHWImage, which only moves the channels. Of such an end nothing depends on the image, so it
need not be computed where images are read: uint8 is a quarter of the bytes, and a device that has it can
finish it. What the end makes of each of the 256 levels of each channel is found by running the operations
themselves on an image of all levels. The table is therefore theirs bit for bit, whatever their parameters
are, and whoever looks up in it gets the same bits: NumPy, OpenCV, or a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.config.extras import ExtraOp
from trainer.config.ops import ImageOp
from trainer.data.ops.registry import make_operation
from trainer.data.rng import per_sample

_COLOURS = 3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Normalization:
    """What the end of a list of operations makes of uint8 images.

    Attributes:
        table: float32 [C, 256], the number for each level of each channel; C is 3, or 4 where NormalizeImage
            appends a channel of zeros.
    """

    table: NDArray[np.float32]

    @property
    def channels(self) -> int:
        """Of its result."""
        return len(self.table)

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Make float32 [B, C, H, W] of uint8 [B, H, W, 3]."""
        count, height, width, _ = images.shape
        made = np.empty((count, self.channels, height, width), dtype=np.float32)
        for image, planes in zip(images, made, strict=True):
            self.write(image, planes)
        return made

    def write(self, image: NDArray[np.uint8], planes: NDArray[np.float32]) -> None:
        """Fill float32 [C, H, W] from uint8 [H, W, 3]."""
        for source, levels, plane in zip(cv2.split(image), self.table, planes, strict=False):
            cv2.LUT(source, levels, dst=plane)
        planes[_COLOURS:] = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Levels:
    """An image whose numbers are looked up where it is wanted: into a batch's memory, without a copy between.

    Attributes:
        image: uint8 [H, W, 3].
        normalization: What makes float32 [C, H, W] of it.
    """

    image: NDArray[np.uint8]
    normalization: Normalization

    dtype: ClassVar[np.dtype[np.float32]] = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result, [C, H, W]."""
        return self.normalization.channels, *self.image.shape[:2]

    @property
    def size(self) -> int:
        """How many numbers the result has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Of the result."""
        return self.size * self.dtype.itemsize

    def array(self) -> NDArray[np.float32]:
        """Make the result."""
        made = np.empty(self.shape, dtype=np.float32)
        self.normalization.write(self.image, made)
        return made


AnyImage = NDArray[Any] | Levels
"""What a transform makes of an image."""


def write_image(image: AnyImage, place: NDArray[Any]) -> None:
    """Write an image to its place in a batch, which has its shape and dtype."""
    if isinstance(image, Levels):
        image.normalization.write(image.image, place)
    else:
        place[...] = image


def split_ops(ops: Sequence[ImageOp]) -> tuple[Sequence[ImageOp], Sequence[ImageOp]]:
    """Return the operations that need the image, and those at the end that need each number alone.

    The second are none where the first do not make uint8: one of them makes floating-point numbers, or is the
    user's own, which nobody knows of.
    """
    first = len(ops)
    while first and ops[first - 1].is_pointwise():
        first -= 1
    head, tail = ops[:first], ops[first:]
    if any(op.makes_floats or isinstance(op, ExtraOp) for op in head):
        return ops, ()
    return head, tail


def find_normalization(ops: Sequence[ImageOp]) -> Normalization | None:
    """Return what the end of checked operations makes of uint8 images; None where they end otherwise."""
    head, tail = split_ops(ops)
    if not tail:
        return None
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(256, 1, 1), _COLOURS, axis=2)
    image: NDArray[Any] = (
        levels.transpose(2, 0, 1) if any(op.moves_channels_first() for op in head) else levels
    )
    rng = per_sample(0, epoch=0, index=0)  # none of them draws
    for op in tail:
        image = make_operation(op)(image, rng)
    if not any(op.moves_channels_first() for op in ops):
        image = image.transpose(2, 0, 1)
    return Normalization(table=np.ascontiguousarray(image.reshape(len(image), 256), dtype=np.float32))
