"""Makes one function of a list of operations, and the same for images of other sizes and for stages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

import trainer.data.ops.augment
import trainer.data.ops.autoaugment
import trainer.data.ops.basic
import trainer.data.ops.crop_pad
import trainer.data.ops.erasing
import trainer.data.ops.timm
import trainer.data.ops.vision  # noqa: F401  # each registers its operations
from trainer.config.data import SIZED_OPS
from trainer.config.ops import ImageOp, given_pictures
from trainer.config.pipeline import of_stage
from trainer.data.normalization import split_ops
from trainer.data.ops.registry import Pixels, make_operation
from trainer.data.rng import Rng
from trainer.errors import ImageError

Transform = Callable[[bytes, Rng], NDArray[np.float32]]
"""An image file's bytes -> float32 [C, H, W], C-contiguous."""
Uint8Transform = Callable[[bytes, Rng], NDArray[np.uint8]]
"""An image file's bytes -> uint8 [H, W, 3], of which `Normalization.apply` makes what Transform returns."""


def build_transform(ops: Sequence[ImageOp]) -> Transform:
    """Make the transform of `transform_ops`; the channels come first in its result, whatever the list says.

    The transform raises ImageError for bytes that are no image, and for an image that does not fit.

    Args:
        ops: Checked by the config: DecodeImage first, NormalizeImage among them, layouts that fit.
    """
    apply = _chain(ops)
    channels_first = any(op.moves_channels_first() for op in ops)

    def transform(data: bytes, rng: Rng) -> NDArray[np.float32]:
        image = apply(data, rng)
        if not channels_first:
            image = image.transpose(2, 0, 1)
        return np.ascontiguousarray(image, dtype=np.float32)

    return transform


def build_uint8_transform(ops: Sequence[ImageOp]) -> Uint8Transform:
    """Make the transform of all operations but those of `find_normalization`, which is not None for them."""
    head, _ = split_ops(ops)
    apply = _chain(head)
    channels_first = any(op.moves_channels_first() for op in head)

    def transform(data: bytes, rng: Rng) -> NDArray[np.uint8]:
        image = apply(data, rng)
        return image.transpose(1, 2, 0) if channels_first else image

    return transform


def _chain(ops: Sequence[ImageOp]) -> Callable[[bytes, Rng], Pixels]:
    pictures = given_pictures(ops)
    operations = [make_operation(op, picture=picture) for op, picture in zip(ops, pictures, strict=True)]

    def apply(data: bytes, rng: Rng) -> Pixels:
        if not data:
            raise ImageError(expected="an image", got="an empty file")
        image: Pixels = np.frombuffer(data, dtype=np.uint8)
        for operation in operations:
            image = operation(image, rng)
        return image

    return apply


AnyTransform = Transform | Uint8Transform


class Transforms:
    """Transforms by side and stage, each made once; several threads may ask."""

    def __init__(self, ops: Sequence[ImageOp], *, uint8: bool = False) -> None:
        """`uint8`: make transforms that leave the end of the operations to `find_normalization(ops)`."""
        self._ops = ops
        self._build: Callable[[Sequence[ImageOp]], AnyTransform] = (
            build_uint8_transform if uint8 else build_transform
        )
        self._made: dict[tuple[int | None, int | None], AnyTransform] = {(None, None): self._build(ops)}
        self._lock = threading.Lock()

    def choose(self, *, side: int | None = None, stage: int | None = None) -> AnyTransform:
        """Return a transform.

        Args:
            side: Of the square images that it makes, in pixels; None keeps what the list says.
            stage: Of a training whose images grow; None in every other.
        """
        with self._lock:
            if (side, stage) not in self._made:
                ops = self._ops if stage is None else of_stage(self._ops, stage)
                ops = ops if side is None else [_resized(op, side) for op in ops]
                self._made[side, stage] = self._build(ops)
            return self._made[side, stage]


def _resized(op: ImageOp, side: int) -> ImageOp:
    # The size alone is handed on: PaddleClas d178931, ppcls/data/dataloader/multi_scale_dataset.py.
    return type(op).model_validate({"size": side}) if isinstance(op, SIZED_OPS) else op
