"""RandFlipImage."""

from __future__ import annotations

import cv2

from trainer.config.ops import RandFlipImage
from trainer.data.ops.registry import Operation, Pixels, implements
from trainer.data.rng import Draws


@implements(RandFlipImage)
def rand_flip_image(spec: RandFlipImage) -> Operation:
    """Flip where a draw of 0 or 1 gives 1."""

    def operation(image: Pixels, draws: Draws) -> Pixels:
        if draws.python.randint(0, 1) == 0:
            return image
        flipped: Pixels = cv2.flip(image, spec.flip_code)
        return flipped

    return operation
