"""Small pictures inside of a page, counted against a budget, so that the page stays small."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.data.encoded import read_encoded
from trainer.errors import ImageError

_MAX_BYTES = 4_500_000
"""Of pictures, as they stand in the page."""


class Pictures:
    """Makes small pictures until the budget is spent; one that is shown twice counts twice."""

    def __init__(
        self, side: int, max_pixels: int, *, max_bytes: int = _MAX_BYTES, most: int | None = None
    ) -> None:
        """Make none yet.

        Args:
            side: Longest side in pixels.
            max_pixels: Images that claim more are not shown.
            max_bytes: Of all pictures, as they stand in the page.
            most: Files that are read, which takes milliseconds each; None for any number.
        """
        self._side, self._max_pixels = side, max_pixels
        self._made: dict[str, str] = {}
        self._left, self._most = max_bytes, most

    def make(self, path: str) -> str:
        """Return a picture as an address that holds it; empty where it cannot be had or would be too much."""
        if self._left <= 0 or not path:
            return ""
        if path not in self._made:
            if self._most is not None and len(self._made) >= self._most:
                return ""
            self._made[path] = self._read(path)
        self._left -= len(self._made[path])
        return self._made[path]

    def _read(self, path: str) -> str:
        try:
            encoded = read_encoded(Path(path), max_pixels=self._max_pixels)
            with Image.open(io.BytesIO(encoded.data)) as opened:
                opened.draft("RGB", (self._side, self._side))
                small = opened.convert("RGBA" if "transparency" in opened.info else "RGB").convert("RGB")
        except (ImageError, OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
            return ""
        return _encode(small, self._side)


def picture_of(pixels: NDArray[np.uint8], side: int) -> str:
    """Return uint8 [H, W, 3], RGB, as an address that holds it, its longest side at most `side`."""
    return _encode(Image.fromarray(pixels), side)


def lay_over(pixels: NDArray[np.uint8], heat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay a map over a picture: where it is high, the picture is red, where it is low, blue and faint.

    Args:
        pixels: uint8 [H, W, 3], RGB.
        heat: uint8 [h, w], of the whole picture.
    """
    height, width = pixels.shape[:2]
    spread = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    colours = cv2.cvtColor(cv2.applyColorMap(spread, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    laid: NDArray[np.uint8] = cv2.addWeighted(pixels, 0.55, colours, 0.45, 0.0)
    return laid


def _encode(small: Image.Image, side: int) -> str:
    small.thumbnail((side, side))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=70, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"
