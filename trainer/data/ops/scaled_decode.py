"""`loader.decode: fast`: decodes a JPEG at a half, a quarter or an eighth of its size, where that is enough.

A JPEG is stored as blocks of 8 × 8 frequencies, and of the low ones alone a decoder makes a smaller image for
less work than the whole one. So where the operation after DecodeImage cuts a part out and makes it smaller,
the part is chosen first, on the true size and with the same random numbers; then the image is decoded as
small as it can be without that the part has to be enlarged; then the part is resized from there. Pixels
differ from those of the whole image: the decoder averages where OpenCV's bilinear resizing only samples, and
the part begins at the nearest whole pixel of the smaller image (docs/performance.md has measured it).

Decoded whole, as with `decode: exact`: what is no JPEG, what is not large enough, and with backend cv2 what
EXIF tells to turn, because its size is known only after that.
"""

from __future__ import annotations

import io

import cv2
from PIL import Image

from trainer.config.ops import DecodeImage
from trainer.data.encoded import read_jpeg_size
from trainer.data.ops.basic import decode_image, read_with_cv2, read_with_pil
from trainer.data.ops.registry import ChooseWindow, Operation, Pixels, Resize, Window
from trainer.data.rng import Rng

_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_BGR, _RGB = cv2.IMREAD_COLOR_BGR, cv2.IMREAD_COLOR_RGB
_ORIENTATION = 0x0112
_UPRIGHT = (None, 1)


def decode_window(spec: DecodeImage, choose: ChooseWindow, resize: Resize) -> Operation:
    """Encoded file uint8 [n] -> the part that `choose` chooses, resized; uint8 [H, W, 3].

    Args:
        spec: The operation before; makes channels last.
        choose: From the size of the whole image.
        resize: The part, which may be of a smaller image.
    """
    decode_whole = decode_image(spec)
    with_cv2 = spec.backend == "cv2"

    def decode_smaller(encoded: Pixels, factor: int) -> Pixels:
        if not with_cv2:
            return read_with_pil(encoded, spec.makes_rgb, factor=factor)
        flags = _REDUCED[factor]  # with the bit for BGR, which has to give way to that for RGB
        return read_with_cv2(encoded, flags & ~_BGR | _RGB if spec.makes_rgb else flags)

    def operation(encoded: Pixels, rng: Rng) -> Pixels:
        data = encoded.tobytes()
        found = read_jpeg_size(data)
        if found is not None and not (with_cv2 and _is_turned(data)):
            width, height = found
            window = choose(height, width, rng)
            factor = _factor(window)
            image = decode_smaller(encoded, factor) if factor > 1 else decode_whole(encoded, rng)
            if image.shape[:2] == (-(-height // factor), -(-width // factor)):
                part = (
                    window
                    if factor == 1
                    else _scaled(window, factor, rows=len(image), columns=image.shape[1])
                )
                return resize(part.cut(image), window.size, rng)
        # Chosen again where a decoder thinks otherwise of the size than the header does.
        image = decode_whole(encoded, rng)
        height, width = image.shape[:2]
        window = choose(height, width, rng)
        return resize(window.cut(image), window.size, rng)

    return operation


def _factor(window: Window) -> int:
    """Return by how much the image may be made smaller so that its part is at least as large as its size."""
    width, height = window.size
    return next((by for by in (8, 4, 2) if window.width >= by * width and window.height >= by * height), 1)


def _scaled(window: Window, factor: int, *, rows: int, columns: int) -> Window:
    """Return the nearest part of a smaller image of `rows` and `columns`, not smaller than its size."""
    top, height = _nearest(window.top, window.height, factor, least=window.size[1], most=rows)
    left, width = _nearest(window.left, window.width, factor, least=window.size[0], most=columns)
    return Window(top=top, left=left, height=height, width=width, size=window.size)


def _nearest(start: int, length: int, factor: int, *, least: int, most: int) -> tuple[int, int]:
    first = (start + factor // 2) // factor
    wanted = max(min(least, most), (length + factor // 2) // factor)
    first = min(first, most - wanted) if wanted <= most else 0
    return first, min(wanted, most)


def _is_turned(data: bytes) -> bool:
    """Tell whether OpenCV would turn a JPEG."""
    if b"Exif\0" not in data[: 1 << 16]:
        return False
    try:
        with Image.open(io.BytesIO(data)) as opened:
            return opened.getexif().get(_ORIENTATION) not in _UPRIGHT
    except Exception:  # noqa: BLE001 - Pillow raises nearly anything of a broken header
        return True
