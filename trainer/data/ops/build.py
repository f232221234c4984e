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
from trainer.data.ops.registry import Pixels, make_operation
from trainer.data.rng import Rng
from trainer.errors import ImageError

Transform = Callable[[bytes, Rng], NDArray[np.float32]]
"""An image file's bytes -> float32 [C, H, W], C-contiguous."""


def build_transform(ops: Sequence[ImageOp]) -> Transform:
    """Make the transform of `transform_ops`; the channels come first in its result, whatever the list says.

    The transform raises ImageError for bytes that are no image, and for an image that does not fit.

    Args:
        ops: Checked by the config: DecodeImage first, NormalizeImage among them, layouts that fit.
    """
    pictures = given_pictures(ops)
    operations = [make_operation(op, picture=picture) for op, picture in zip(ops, pictures, strict=True)]
    channels_first = any(op.moves_channels_first() for op in ops)

    def transform(data: bytes, rng: Rng) -> NDArray[np.float32]:
        if not data:
            raise ImageError(expected="an image", got="an empty file")
        image: Pixels = np.frombuffer(data, dtype=np.uint8)
        for operation in operations:
            image = operation(image, rng)
        if not channels_first:
            image = image.transpose(2, 0, 1)
        return np.ascontiguousarray(image, dtype=np.float32)

    return transform


class Transforms:
    """Transforms by side and stage, each made once; several threads may ask."""

    def __init__(self, ops: Sequence[ImageOp]) -> None:
        self._ops = ops
        self._made: dict[tuple[int | None, int | None], Transform] = {(None, None): build_transform(ops)}
        self._lock = threading.Lock()

    def choose(self, *, side: int | None = None, stage: int | None = None) -> Transform:
        """Return a transform.

        Args:
            side: Of the square images that it makes, in pixels; None keeps what the list says.
            stage: Of a training whose images grow; None in every other.
        """
        with self._lock:
            if (side, stage) not in self._made:
                ops = self._ops if stage is None else of_stage(self._ops, stage)
                ops = ops if side is None else [_resized(op, side) for op in ops]
                self._made[side, stage] = build_transform(ops)
            return self._made[side, stage]


def _resized(op: ImageOp, side: int) -> ImageOp:
    # The size alone is handed on: PaddleClas d178931, ppcls/data/dataloader/multi_scale_dataset.py.
    return type(op).model_validate({"size": side}) if isinstance(op, SIZED_OPS) else op
