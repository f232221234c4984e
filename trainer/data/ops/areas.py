"""The random area of RandomResizedCrop (paddle 3.3.1, python/paddle/vision/transforms/transforms.py)."""

from __future__ import annotations

import math

from trainer.data.ops.registry import Pixels
from trainer.data.rng import Draws

_TRIES = 10
Range = tuple[float, float]


def draw_area(image: Pixels, draws: Draws, *, scale: Range, ratio: Range) -> tuple[int, int, int, int]:
    """Draw top, left, height and width of a part of an image [H, W, C].

    Each try draws area and aspect ratio; one that fits draws row and column. The centre where none fits.

    Args:
        image: Whose part.
        draws: Where from.
        scale: Share of the image's area.
        ratio: Width by height; its logarithm is drawn evenly.
    """
    height, width = image.shape[:2]
    log_ratio = (math.log(ratio[0]), math.log(ratio[1]))
    for _ in range(_TRIES):
        area = draws.numpy.uniform(*scale) * (height * width)
        aspect = math.exp(draws.numpy.uniform(*log_ratio))
        wide, tall = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < tall <= height:
            top = draws.python.randint(0, height - tall)
            left = draws.python.randint(0, width - wide)
            return top, left, tall, wide
    wide, tall = width, height
    if width / height < ratio[0]:
        tall = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        wide = max(1, round(height * ratio[1]))
    return (height - tall) // 2, (width - wide) // 2, tall, wide
