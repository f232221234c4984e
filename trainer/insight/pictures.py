"""Small pictures inside of a page, counted against a budget, so that the page stays small."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from trainer.data.encoded import read_encoded
from trainer.errors import ImageError

_MAX_BYTES = 4_500_000
"""Of pictures, as they stand in the page."""


class Pictures:
    """Makes small pictures until the budget is spent."""

    def __init__(self, side: int, max_pixels: int) -> None:
        self._side, self._max_pixels = side, max_pixels
        self._made: dict[str, str] = {}
        self._left = _MAX_BYTES

    def make(self, path: str) -> str:
        """Return a picture as an address that holds it; empty where it cannot be had or would be too much."""
        if path not in self._made:
            made = self._read(path) if self._left > 0 and path else ""
            self._left -= len(made)
            self._made[path] = made
        return self._made[path]

    def _read(self, path: str) -> str:
        try:
            encoded = read_encoded(Path(path), max_pixels=self._max_pixels)
            with Image.open(io.BytesIO(encoded.data)) as opened:
                opened.draft("RGB", (self._side, self._side))
                small = opened.convert("RGBA" if "transparency" in opened.info else "RGB").convert("RGB")
        except (ImageError, OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
            return ""
        small.thumbnail((self._side, self._side))
        written = io.BytesIO()
        small.save(written, "JPEG", quality=70, optimize=True)
        return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"
