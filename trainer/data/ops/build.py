"""Makes one function of a list of operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

import trainer.data.ops.apply
import trainer.data.ops.blur
import trainer.data.ops.chains
import trainer.data.ops.decode
import trainer.data.ops.erase
import trainer.data.ops.flip
import trainer.data.ops.hide
import trainer.data.ops.jitter
import trainer.data.ops.normalize
import trainer.data.ops.pad
import trainer.data.ops.place
import trainer.data.ops.policies
import trainer.data.ops.resize
import trainer.data.ops.timm
import trainer.data.ops.vision  # noqa: F401  # each registers its operations
from trainer.config.ops import ImageOp, given_pictures
from trainer.data.ops.registry import Pixels, make_operation
from trainer.data.rng import Draws
from trainer.errors import ImageError

Transform = Callable[[bytes, Draws], NDArray[np.float32]]
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

    def transform(data: bytes, draws: Draws) -> NDArray[np.float32]:
        if not data:
            raise ImageError("expected an image, got an empty file")
        image: Pixels = np.frombuffer(data, dtype=np.uint8)
        for operation in operations:
            image = operation(image, draws)
        if not channels_first:
            image = image.transpose(2, 0, 1)
        return np.ascontiguousarray(image, dtype=np.float32)

    return transform
