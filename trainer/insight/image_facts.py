"""What is measured of one image file: what its header says, how its pixels are spread, how it looks.

Everything about an image that a data report needs is one record of `FACTS`, some 650 bytes, taken in one
decoding; so a hundred thousand images are 65 MB, compared as columns, and a record is kept in the cache as it
stands.

What an image looks like is told twice:

* `looks`, 64 bits of a perceptual hash: the signs, about their median, of the 8 × 8 lowest frequencies of a
  cosine transform of 32 × 32 grey pixels (C. Zauner, "Implementation and Benchmarking of Perceptual Image
  Hash Functions", 2010, section 3.2.1). Copies that were scaled, compressed again or brightened differ in few
  bits, so that they are found without comparing every image with every other. The first coefficient, the mean
  brightness, does not count.
* `thumb`, 24 × 24 grey pixels: what the hash proposes is compared by these, since 64 bits alone take two
  pictures of the same composition for one.

`mirrored` is the hash of the image turned left to right: a mirrored cosine is itself with the sign of every
odd frequency turned, so no second transform is needed.

The hash is a dozen lines above `cv2.dct`; a library for it would bring scipy and wavelets for the same bits.
"""

from __future__ import annotations

import io
from hashlib import blake2b
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

THUMB = 24
_HASHED, _KEPT = 32, 8
_SHARPNESS_AT = 256
"""Longest side at which sharpness is measured: it depends on the scale."""
_EXIF_ORIENTATION = 0x0112

FACTS = np.dtype(
    [
        ("width", "<u4"), ("height", "<u4"),  # pixels, as stored
        ("format", "S8"), ("mode", "S8"),  # as Pillow calls them: JPEG, RGB; empty where it knows no header
        ("turned", "?"),  # EXIF says that it is to be turned or mirrored
        ("frames", "<u4"),
        ("digest", "u1", 16),  # of the file's bytes
        ("brightness", "<f4"),  # mean of grey, 0 to 255
        ("contrast", "<f4"),  # standard deviation of grey, 0 to 128
        ("colour", "<f4"),  # mean over all pixels of the largest less the smallest channel, 0 to 255
        ("sharpness", "<f4"),  # variance of the Laplacian of grey, at a longest side of at most 256
        ("looks", "<u8"), ("mirrored", "<u8"),
        ("thumb", "u1", THUMB * THUMB),
    ]
)  # fmt: skip
"""A record an image."""
Facts: TypeAlias = NDArray[np.void]
"""Records of `FACTS`: [N], or one of them."""
VERSION = 1
"""Of `FACTS` and of how it is measured: kept records of another one are measured anew."""


def measure(encoded: bytes, pixels: NDArray[np.uint8]) -> Facts:
    """Measure an image.

    Args:
        encoded: The file.
        pixels: uint8 [H, W, 3], RGB, what it was decoded to.

    Returns:
        One record of `FACTS`, of shape [].
    """
    facts = np.zeros((), dtype=FACTS)
    _read_header(encoded, facts)
    if not facts["width"]:
        facts["height"], facts["width"] = pixels.shape[:2]
    facts["digest"] = np.frombuffer(blake2b(encoded, digest_size=16).digest(), dtype=np.uint8)
    longest = max(pixels.shape[:2])
    small = pixels
    if longest > _SHARPNESS_AT:
        scale = _SHARPNESS_AT / longest
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(grey)
    facts["brightness"], facts["contrast"] = mean[0, 0], deviation[0, 0]
    red, green, blue = cv2.split(small)
    largest, smallest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    facts["colour"] = cv2.mean(cv2.subtract(largest, smallest))[0]
    facts["sharpness"] = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))[1][0, 0] ** 2
    facts["looks"], facts["mirrored"] = _hash(grey)
    facts["thumb"] = cv2.resize(grey, (THUMB, THUMB), interpolation=cv2.INTER_AREA).ravel()
    return facts


def _read_header(encoded: bytes, facts: Facts) -> None:
    try:
        with Image.open(io.BytesIO(encoded)) as opened:
            facts["width"], facts["height"] = opened.size
            facts["format"], facts["mode"] = (opened.format or "").encode(), opened.mode.encode()
            facts["frames"] = getattr(opened, "n_frames", 1)
            facts["turned"] = opened.getexif().get(_EXIF_ORIENTATION, 1) not in (0, 1)
    except Exception:  # noqa: BLE001 - Pillow's readers raise nearly anything; OpenCV has decoded it
        return


def _hash(grey: NDArray[np.uint8]) -> tuple[int, int]:
    """Return 64 bits for a grey image, and those that its mirror image has."""
    small = cv2.resize(grey, (_HASHED, _HASHED), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_KEPT, :_KEPT].copy()
    low[0, 0] = 0.0
    mirrored = low.copy()
    mirrored[:, 1::2] *= -1
    return _bits(low), _bits(mirrored)


def _bits(values: NDArray[np.float32]) -> int:
    above = values > np.median(values)
    return int.from_bytes(np.packbits(above).tobytes(), "big")
