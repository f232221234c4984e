"""NormalizeImage and ToCHWImage."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.config.ops import NormalizeImage, ToCHWImage
from trainer.data.ops.registry import Operation, Pixels, implements
from trainer.data.rng import Draws

_LEVELS = np.arange(256, dtype=np.uint8)


@implements(NormalizeImage)
def normalize_image(spec: NormalizeImage) -> Operation:
    """Look pixels up in a table a channel, which the formula makes: same bits, a sixth of the time."""
    channel_axis = 0 if spec.order == "chw" else 2
    scale = np.float32(spec.scale if spec.scale is not None else 1.0 / 255.0)
    mean, std = _three(spec.mean), _three(spec.std)

    def formula(image: Pixels, mean: NDArray[np.float32], std: NDArray[np.float32]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = (image.astype(np.float32) * scale - mean) / std
        return _through_float16(result) if spec.output_fp16 else result

    tables = [formula(_LEVELS, mean[channel], std[channel]) for channel in range(3)]
    shape = (3, 1, 1) if channel_axis == 0 else (1, 1, 3)

    def operation(image: Pixels, draws: Draws) -> Pixels:
        del draws
        if image.dtype == np.uint8:
            planes = _look_up(image, channel_axis, tables, channels=spec.channel_num)
            return planes if channel_axis == 0 else planes.transpose(1, 2, 0)
        result = formula(image, mean.reshape(shape), std.reshape(shape))
        if spec.channel_num == 3:
            return result
        zeros = np.zeros_like(np.take(result, [0], axis=channel_axis))
        joined: Pixels = np.concatenate((result, zeros), axis=channel_axis)
        return joined

    return operation


@implements(ToCHWImage)
def to_chw_image(spec: ToCHWImage) -> Operation:
    """Move the channels to the front, without copying."""
    del spec

    def operation(image: Pixels, draws: Draws) -> Pixels:
        del draws
        moved: Pixels = image.transpose(2, 0, 1)
        return moved

    return operation


def _look_up(
    image: Pixels, channel_axis: int, tables: Sequence[NDArray[np.float32]], *, channels: int
) -> NDArray[np.float32]:
    """Fill [C, H, W] memory, which is what the network takes, whatever the layout of the image is."""
    if channel_axis == 0:
        sources = [np.ascontiguousarray(image[channel]) for channel in range(3)]
    else:
        sources = list(cv2.split(image))
    planes = np.empty((channels, *sources[0].shape), dtype=np.float32)
    for source, table, plane in zip(sources, tables, planes, strict=False):
        cv2.LUT(source, table, dst=plane)
    planes[3:] = 0
    return planes


def _three(values: Sequence[float]) -> NDArray[np.float32]:
    return np.broadcast_to(np.array(values).astype(np.float32), 3)


def _through_float16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # The rounding of PaddleClas's half-precision images; batches stay float32.
    return values.astype(np.float16).astype(np.float32)
