"""What Pillow does to a picture, as the automatic augmentations call it; no draws are made here.

Semantics: PaddleClas d178931, ppcls/data/preprocess/ops/timm_autoaugment.py and randaugment.py.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from trainer.data.ops.registry import Pixels

Picture = Image.Image
Resample = Image.Resampling
Colour = tuple[int, ...]
Change = Callable[[Picture], Picture]
"""A change that needs no number."""
Enhance = Callable[[Picture, float], Picture]
"""A change of a strength; 1 leaves the picture as it is."""

PLAIN: dict[str, Change] = {
    "autocontrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "invert": ImageOps.invert,
}


def _sharpness(picture: Picture, factor: float) -> Picture:
    """Blend with what ImageFilter.SMOOTH makes of it: each level five times, its eight neighbours, over 13.

    The sums are whole numbers, and none of them over 13 ends in a half: so there is one way to round them,
    and OpenCV gives Pillow's bits for a tenth of the time. Pillow leaves the edge alone.
    """
    pixels = np.asarray(picture)
    if pixels.ndim != 3 or min(pixels.shape[:2]) < 3:
        return ImageEnhance.Sharpness(picture).enhance(factor)
    smooth = cv2.filter2D(pixels, cv2.CV_8U, _SMOOTH)
    smooth[0], smooth[-1], smooth[:, 0], smooth[:, -1] = pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]
    return Image.blend(Image.fromarray(smooth), picture, factor)


_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], dtype=np.float32) / 13
ENHANCE: dict[str, Enhance] = {
    "color": lambda picture, factor: ImageEnhance.Color(picture).enhance(factor),
    "contrast": lambda picture, factor: ImageEnhance.Contrast(picture).enhance(factor),
    "brightness": lambda picture, factor: ImageEnhance.Brightness(picture).enhance(factor),
    "sharpness": _sharpness,
}


def to_picture(image: Pixels) -> Picture:
    """Make a picture of uint8 [H, W, 3]."""
    return Image.fromarray(np.ascontiguousarray(image))


def to_pixels(picture: Picture) -> Pixels:
    """Make uint8 [H, W, 3], which may be written to, of a picture."""
    return np.array(picture)


def shear(picture: Picture, axis: str, factor: float, *, resample: Resample, fill: Colour) -> Picture:
    """Move each row (axis `x`) or column (`y`) by `factor` times its number."""
    matrix = (1, factor, 0, 0, 1, 0) if axis == "x" else (1, 0, 0, factor, 1, 0)
    return _affine(picture, matrix, resample, fill)


def translate(picture: Picture, axis: str, pixels: float, *, resample: Resample, fill: Colour) -> Picture:
    """Move everything to the left (axis `x`) or up (`y`)."""
    matrix = (1, 0, pixels, 0, 1, 0) if axis == "x" else (1, 0, 0, 0, 1, pixels)
    return _affine(picture, matrix, resample, fill)


def rotate(picture: Picture, degrees: float, *, resample: Resample, fill: Colour) -> Picture:
    """Turn counter-clockwise about the centre."""
    return picture.rotate(degrees, resample, fillcolor=fill)


def rotate_on_grey(picture: Picture, degrees: float) -> Picture:
    """Turn counter-clockwise, to the nearest pixels; what is not covered becomes grey.

    PaddleClas turns a copy with alpha and lays it over half-transparent grey, whose alpha it then drops. To
    the nearest pixel alpha is all or nothing, so that filling with grey makes the same picture.
    """
    return picture.rotate(degrees, fillcolor=(128,) * len(picture.getbands()))


def posterize(picture: Picture, bits: int) -> Picture:
    """Keep the highest bits of each level; 0 bits give black.

    Pillow 13 refuses 0 bits, where older ones gave black; PaddleClas then takes another image.
    """
    mask = 0 if bits <= 0 else 256 - 2 ** (8 - min(bits, 8))
    return picture.point([level & mask for level in range(256)] * len(picture.getbands()))


def solarize(picture: Picture, threshold: float) -> Picture:
    """Invert the levels from `threshold` on."""
    return ImageOps.solarize(picture, threshold)  # type: ignore[arg-type]  # it compares; levels are whole


def solarize_add(picture: Picture, addition: int) -> Picture:
    """Add to the levels below 128, up to 255."""
    table = [min(255, level + addition) if level < 128 else level for level in range(256)]
    return picture.point(table * len(picture.getbands()))


def _affine(picture: Picture, matrix: tuple[float, ...], resample: Resample, fill: Colour) -> Picture:
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, resample, fillcolor=fill)
