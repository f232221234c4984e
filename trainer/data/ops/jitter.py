"""ColorJitter, as paddle.vision 3.3.1 has it for pictures (transforms.py, functional_pil.py)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from trainer.config.ops_augment import ColorJitter, RawColorJitter
from trainer.data.ops import pictures
from trainer.data.ops.pictures import Picture
from trainer.data.ops.registry import Operation, Pixels, implements
from trainer.data.rng import Draws


@implements(ColorJitter)
def color_jitter(spec: ColorJitter) -> Operation:
    """Draw whether at all, then as RawColorJitter does. uint8 [H, W, 3]."""
    jitter = raw_color_jitter(spec)

    def operation(image: Pixels, draws: Draws) -> Pixels:
        return jitter(image, draws) if draws.numpy.random_sample() < spec.prob else image

    return operation


@implements(RawColorJitter)
def raw_color_jitter(spec: RawColorJitter) -> Operation:
    """Draw the order of the four, then a factor for each that is set. uint8 [H, W, 3]."""
    changes = [
        ("brightness", spec.brightness), ("contrast", spec.contrast),
        ("color", spec.saturation), ("hue", spec.hue),
    ]  # fmt: skip

    def operation(image: Pixels, draws: Draws) -> Pixels:
        picture = pictures.to_picture(image)
        order = list(changes)
        draws.python.shuffle(order)
        for name, strength in order:
            if strength == 0:
                continue
            if name == "hue":
                picture = _turn_hue(picture, draws.python.uniform(-strength, strength))
            else:
                factor = draws.python.uniform(max(1 - strength, 0), 1 + strength)
                picture = pictures.ENHANCE[name](picture, factor)
        return pictures.to_pixels(picture)

    return operation


def _turn_hue(picture: Picture, share: float) -> Picture:
    hue, saturation, value = picture.convert("HSV").split()
    turned = (np.array(hue).astype(np.int16) + int(share * 255)) % 256
    bands = (Image.fromarray(turned.astype(np.uint8)), saturation, value)
    return Image.merge("HSV", bands).convert(picture.mode)
