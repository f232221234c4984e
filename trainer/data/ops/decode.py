"""DecodeImage."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from trainer.config.ops import DecodeImage
from trainer.data.ops.registry import Operation, Pixels, implements
from trainer.data.rng import Draws
from trainer.errors import ImageError


@implements(DecodeImage)
def decode_image(spec: DecodeImage) -> Operation:
    """OpenCV turns the image as EXIF says, Pillow does not; both drop alpha."""
    channel_first = spec.channel_first and spec.to_np
    decode = _with_cv2 if spec.backend == "cv2" else _with_pil

    def operation(encoded: Pixels, draws: Draws) -> Pixels:
        del draws
        image = decode(encoded, spec.makes_rgb)
        return image.transpose(2, 0, 1) if channel_first else image

    return operation


def _with_cv2(encoded: Pixels, rgb: bool) -> Pixels:
    try:
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    except cv2.error as error:  # an empty file, or one that claims an absurd size
        raise ImageError(f"expected an image, got {encoded.size} bytes that OpenCV refuses") from error
    if image is None:
        raise ImageError(f"expected an image, got {encoded.size} bytes that OpenCV cannot decode")
    # In place, so that the rest of the chain works on contiguous memory (a reversed view costs it 0.5 ms).
    pixels: Pixels = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image) if rgb else image
    return pixels


def _with_pil(encoded: Pixels, rgb: bool) -> Pixels:
    try:
        with Image.open(io.BytesIO(encoded.tobytes())) as opened:
            # A palette with transparency goes by RGBA: the same colours, without Pillow's warning.
            plain = opened.convert("RGBA") if "transparency" in opened.info else opened
            image = np.array(plain.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"expected an image, got {encoded.size} bytes that Pillow cannot decode") from error
    return image if rgb else np.ascontiguousarray(image[:, :, ::-1])
