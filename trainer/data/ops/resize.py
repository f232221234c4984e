"""Resizing and cropping: ResizeImage, CropImage, RandCropImage."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from trainer.config.ops import Backend, CropImage, Interpolation, RandCropImage, ResizeImage
from trainer.data.ops.registry import Operation, Pixels, describe_shape, implements
from trainer.data.rng import Draws
from trainer.errors import ImageError

CV2_INTERPOLATION = {
    "nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA,
    "bicubic": cv2.INTER_CUBIC, "lanczos": cv2.INTER_LANCZOS4,
}  # fmt: skip
PIL_INTERPOLATION = {
    "nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC, "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS, "hamming": Image.Resampling.HAMMING,
}  # fmt: skip
_RANDOM = ("bilinear", "bicubic")

Resize = Callable[[Pixels, tuple[int, int], Draws], Pixels]
"""An image and its new (width, height) -> the resized image."""


@implements(ResizeImage)
def resize_image(spec: ResizeImage) -> Operation:
    """To `size`, or so that the shorter side has `resize_short` pixels."""
    resize = _make_resize(spec.backend, spec.interpolation)
    size, short = spec.size, spec.resize_short

    def operation(image: Pixels, draws: Draws) -> Pixels:
        if short is None:
            assert size is not None
            return resize(image, size, draws)
        height, width = image.shape[:2]
        factor = float(short) / min(width, height)
        return resize(image, (int(round(width * factor)), int(round(height * factor))), draws)  # noqa: RUF046

    return operation


@implements(CropImage)
def crop_image(spec: CropImage) -> Operation:
    """Cut the centre out, without copying."""
    width, height = spec.size

    def operation(image: Pixels, draws: Draws) -> Pixels:
        del draws
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        if top < 0 or left < 0:
            raise ImageError(
                f"expected at least {width} × {height} pixels to crop, got {describe_shape(image)}; "
                "resize it before CropImage"
            )
        return image[top : top + height, left : left + width]

    return operation


@implements(RandCropImage)
def rand_crop_image(spec: RandCropImage) -> Operation:
    """Draws in PaddleClas's order: aspect ratio, area, x, y, then an interpolation that is random."""
    resize = _make_resize(spec.backend, spec.interpolation)
    size, scale, ratio = spec.size, spec.scale, spec.ratio
    log_ratio = (math.log(ratio[0]), math.log(ratio[1]))

    def operation(image: Pixels, draws: Draws) -> Pixels:
        height, width = image.shape[:2]
        if spec.use_log_aspect:
            aspect = math.exp(draws.python.uniform(*log_ratio))
        else:
            aspect = draws.python.uniform(*ratio)
        bound = min((width / height) / aspect, (height / width) * aspect)
        area = width * height * draws.python.uniform(min(scale[0], bound), min(scale[1], bound))
        crop_width = max(1, int(math.sqrt(area * aspect)))
        crop_height = max(1, int(math.sqrt(area / aspect)))
        left = draws.python.randint(0, width - crop_width)
        top = draws.python.randint(0, height - crop_height)
        return resize(image[top : top + crop_height, left : left + crop_width], size, draws)

    return operation


def _make_resize(backend: Backend, interpolation: Interpolation | None) -> Resize:
    one = _with_cv2 if backend == "cv2" else _with_pil
    name = interpolation or "bilinear"

    def resize(image: Pixels, size: tuple[int, int], draws: Draws) -> Pixels:
        return one(image, size, draws.python.choice(_RANDOM) if name == "random" else name)

    return resize


def _with_cv2(image: Pixels, size: tuple[int, int], interpolation: str) -> Pixels:
    resized: Pixels = cv2.resize(image, size, interpolation=CV2_INTERPOLATION[interpolation])
    return resized


def _with_pil(image: Pixels, size: tuple[int, int], interpolation: str) -> Pixels:
    return np.array(
        Image.fromarray(np.ascontiguousarray(image)).resize(size, PIL_INTERPOLATION[interpolation])
    )
