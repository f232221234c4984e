"""Images as a network sees them, made pictures again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.config.ops import DecodeImage, ImageOp
from trainer.data.normalization import find_normalization


def show_images(images: NDArray[np.float32], ops: Sequence[ImageOp]) -> tuple[NDArray[np.uint8], bool]:
    """Return normalised images as pictures, and whether that is exactly what was normalised.

    Args:
        images: float32 [B, C, H, W].
        ops: That made them; the table of their end (`find_normalization`) is turned round. Where they have
            no such end, each image is stretched over all brightnesses.

    Returns:
        uint8 [B, H, W, 3], RGB.
    """
    planes = images[:, :3].astype(np.float64)
    normalization = find_normalization(ops)
    if normalization is not None:
        table = normalization.table[: planes.shape[1]].astype(np.float64)
        low, high = table[:, 0].reshape(1, -1, 1, 1), table[:, 255].reshape(1, -1, 1, 1)
    else:
        low = planes.min(axis=(1, 2, 3), keepdims=True)
        high = planes.max(axis=(1, 2, 3), keepdims=True)
    span = np.where(high == low, 1.0, high - low)
    pictures = np.clip(np.rint(255 * (planes - low) / span), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    if pictures.shape[3] == 1:
        pictures = np.repeat(pictures, 3, axis=3)
    if any(isinstance(op, DecodeImage) and not op.makes_rgb for op in ops):
        pictures = pictures[..., ::-1]
    return np.ascontiguousarray(pictures), normalization is not None
