"""AutoAugment and RandAugment in its four forms.

A policy is a list of pairs of operations, each with its chance and its step of ten. Pairs, levels and the
order of random numbers: PaddleClas d178931, ppcls/data/preprocess/ops/autoaugment.py and randaugment.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.config.ops_augment import AutoAugment, RandAugment, RandAugmentV2, RandAugmentV3, RandAugmentV4
from trainer.data.ops import pictures
from trainer.data.ops.pictures import Colour, Picture, Resample
from trainer.data.ops.registry import Operation, Pixels, implements
from trainer.data.rng import Rng

Step = tuple[float, str, int]  # chance, operation, step

_ORIGINAL = """
    0.4 posterize 8 0.6 rotate 9, 0.6 solarize 5 0.6 autocontrast 5, 0.8 equalize 8 0.6 equalize 3,
    0.6 posterize 7 0.6 posterize 6, 0.4 equalize 7 0.2 solarize 4, 0.4 equalize 4 0.8 rotate 8,
    0.6 solarize 3 0.6 equalize 7, 0.8 posterize 5 1.0 equalize 2, 0.2 rotate 3 0.6 solarize 8,
    0.6 equalize 8 0.4 posterize 6, 0.8 rotate 8 0.4 color 0, 0.4 rotate 9 0.6 equalize 2,
    0.0 equalize 7 0.8 equalize 8, 0.6 invert 4 1.0 equalize 8, 0.6 color 4 1.0 contrast 8,
    0.8 rotate 8 1.0 color 2, 0.8 color 8 0.8 solarize 7, 0.4 sharpness 7 0.6 invert 8,
    0.6 shear_x 5 1.0 equalize 9, 0.4 color 0 0.6 equalize 3, 0.4 equalize 7 0.2 solarize 4,
    0.6 solarize 5 0.6 autocontrast 5, 0.6 invert 4 1.0 equalize 8, 0.6 color 4 1.0 contrast 8,
    0.8 equalize 8 0.6 equalize 3
"""
_V0 = """
    0.8 equalize 1 0.8 shear_y 4, 0.4 color 9 0.6 equalize 3, 0.4 color 1 0.6 rotate 8,
    0.8 solarize 3 0.4 equalize 7, 0.4 solarize 2 0.6 solarize 2, 0.2 color 0 0.8 equalize 8,
    0.4 equalize 8 0.8 solarize_add 3, 0.2 shear_x 9 0.6 rotate 8, 0.6 color 1 1.0 equalize 2,
    0.4 invert 9 0.6 rotate 0, 1.0 equalize 9 0.6 shear_y 3, 0.4 color 7 0.6 equalize 0,
    0.4 posterize 6 0.4 autocontrast 7, 0.6 solarize 8 0.6 color 9, 0.2 solarize 4 0.8 rotate 9,
    1.0 rotate 7 0.8 translate_y 9, 0.0 shear_x 0 0.8 solarize 4, 0.8 shear_y 0 0.6 color 4,
    1.0 color 0 0.6 rotate 2, 0.8 equalize 4 0.0 equalize 8, 1.0 equalize 4 0.6 autocontrast 2,
    0.4 shear_y 7 0.6 solarize_add 7, 0.8 posterize 2 0.6 solarize 10, 0.6 solarize 8 0.6 equalize 1,
    0.8 color 6 0.4 rotate 5
"""


def _pairs(text: str) -> tuple[tuple[Step, Step], ...]:
    rows = (row.split() for row in text.split(","))
    return tuple(
        ((float(one), name, int(step)), (float(other), next_name, int(next_step)))
        for one, name, step, other, next_name, next_step in rows
    )


ORIGINAL = _pairs(_ORIGINAL)
"""Of ImageNet, https://arxiv.org/abs/1805.09501."""
V0 = _pairs(_V0)
"""Of EfficientNet, as timm has it (PaddleClas d178931, ppcls/data/preprocess/ops/timm_autoaugment.py)."""


_BOTH_WAYS = (-1, 1)
_STEPS, _HALF, _GREY = 10, 0.5, (128, 128, 128)
_FAR = 150 / 331
_RANGES = {
    "shear_x": (0, 0.3), "shear_y": (0, 0.3), "translate_x": (0, _FAR), "translate_y": (0, _FAR),
    "rotate": (0, 30), "posterize": (8, 4), "solarize": (256, 0), "cutout": (0, 20),
}  # fmt: skip
"""Levels at the first and at the last step; 0 and 0.9 of the others."""
_Chance = tuple[float, str, float]  # probability, operation, level


@dataclass(frozen=True, kw_only=True, slots=True)
class _Style:
    """How the forms differ in what they do with a level."""

    shear: Resample
    translate: Resample
    fill: Colour
    absolute: bool = False
    """Moves are in pixels, and colours are changed by the level itself, without a direction."""
    rotate: Resample | None = None
    """None turns on grey."""
    rotate_both_ways: bool = True
    hole: int = 128
    """Level of what cutout overwrites."""


@implements(AutoAugment)
def auto_augment(spec: AutoAugment) -> Operation:
    """Draw the pair, then for each of both whether at all and the direction. Image uint8 [H, W, 3]."""
    pairs = [[(chance, name, _level_of(name, step)) for chance, name, step in pair] for pair in ORIGINAL]
    return _one_pair(lambda index: pairs[index], len(pairs), spec.fillcolor)


@implements(RandAugmentV4)
def rand_augment_v4(spec: RandAugmentV4) -> Operation:
    """Draw the pair, then for each of both whether at all and what it draws. Image uint8 [H, W, 3]."""
    del spec
    names = (*_levels(0), "cutout")
    choices = [(_HALF, name, _level_of(name, step)) for name in names for step in range(1, _STEPS)]
    return _one_pair(
        lambda index: [choices[index // len(choices)], choices[index % len(choices)]],
        len(choices) ** 2,
        _GREY,
    )


def _one_pair(pair_of: Callable[[int], Sequence[_Chance]], count: int, fill: Colour) -> Operation:
    style = _Style(
        shear=Resample.BICUBIC, translate=Resample.NEAREST, fill=fill, rotate_both_ways=False, hole=0
    )

    def operation(image: Pixels, rng: Rng) -> Pixels:
        picture = pictures.to_picture(image)
        for chance, name, level in pair_of(rng.python.randint(0, count - 1)):
            if rng.python.random() < chance:
                picture = _apply(name, picture, level, style, rng)
        return pictures.to_pixels(picture)

    return operation


def _level_of(name: str, step: int) -> float:
    """Return the level of one of ten steps, 0 to 9."""
    if name in pictures.PLAIN:
        return 0.0
    low, high = _RANGES.get(name, (0.0, 0.9))
    level = float(np.linspace(low, high, _STEPS)[step])
    return round(level) if name in ("posterize", "cutout") else level


@implements(RandAugment)
def rand_augment(spec: RandAugment) -> Operation:
    """Image uint8 [H, W, 3]."""
    style = _Style(
        shear=Resample.BICUBIC, translate=Resample.NEAREST, fill=spec.fillcolor, rotate_both_ways=False
    )
    return _layers(_levels(spec.magnitude / 10), spec.num_layers, style)


@implements(RandAugmentV3)
def rand_augment_v3(spec: RandAugmentV3) -> Operation:
    """Image uint8 [H, W, 3]."""
    resample = Resample.BICUBIC if spec.interpolation == "bicubic" else Resample.BILINEAR
    style = _Style(shear=resample, translate=resample, rotate=resample, fill=spec.fillcolor)
    level = spec.magnitude / 10
    levels = _levels(level) | {"posterize": 8 - int(4.0 * level), "solarize": 255.0 * (1 - level)}
    return _layers(levels, spec.num_layers, style)


@implements(RandAugmentV2)
def rand_augment_v2(spec: RandAugmentV2) -> Operation:
    """Image uint8 [H, W, 3]."""
    style = _Style(
        shear=Resample.NEAREST,
        translate=Resample.NEAREST,
        fill=spec.fillcolor,
        absolute=True,
        hole=spec.fillcolor[0],
    )
    level = spec.magnitude / 10
    plain = _levels(level)
    strong = 1.8 * level + 0.1
    levels = {
        "shear_x": plain["shear_x"], "shear_y": plain["shear_y"], "translate_x": 100.0 * level,
        "translate_y": 100.0 * level, "rotate": plain["rotate"], "color": strong,
        "posterize": plain["posterize"], "solarize": int(256.0 * level), "solarize_add": int(110.0 * level),
        "contrast": strong, "sharpness": strong, "brightness": strong,
        "autocontrast": 0, "equalize": 0, "invert": 0, "cutout": int(40 * level),
    }  # fmt: skip
    return _layers(levels, spec.num_layers, style)


def _levels(level: float) -> dict[str, float]:
    """Levels by name, in the order in which they are drawn."""
    far, colour = 150.0 / 331 * level, 0.9 * level
    return {
        "shear_x": 0.3 * level, "shear_y": 0.3 * level, "translate_x": far, "translate_y": far,
        "rotate": 30 * level, "color": colour, "posterize": int(4.0 * level), "solarize": 256.0 * level,
        "contrast": colour, "sharpness": colour, "brightness": colour,
        "autocontrast": 0, "equalize": 0, "invert": 0,
    }  # fmt: skip


def _layers(levels: Mapping[str, float], layers: int, style: _Style) -> Operation:
    names = list(levels)

    def operation(image: Pixels, rng: Rng) -> Pixels:
        picture = pictures.to_picture(image)
        for _ in range(layers):
            name = names[rng.numpy.choice(len(names))]
            picture = _apply(name, picture, levels[name], style, rng)
        return pictures.to_pixels(picture)

    return operation


def _apply(name: str, picture: Picture, level: float, style: _Style, rng: Rng) -> Picture:
    if name in pictures.PLAIN:
        return pictures.PLAIN[name](picture)
    if name in pictures.ENHANCE:
        factor = level if style.absolute else 1 + level * rng.python.choice(_BOTH_WAYS)
        return pictures.ENHANCE[name](picture, factor)
    if name in ("posterize", "solarize_add"):
        change = pictures.posterize if name == "posterize" else pictures.solarize_add
        return change(picture, int(level))
    if name == "solarize":
        return pictures.solarize(picture, level)
    if name == "cutout":
        return _cut_out(picture, int(level), style.hole, rng)
    return _move(name, picture, level, style, rng)


def _move(name: str, picture: Picture, level: float, style: _Style, rng: Rng) -> Picture:
    if name == "rotate":
        degrees = level * rng.python.choice(_BOTH_WAYS) if style.rotate_both_ways else level
        if style.rotate is None:
            return pictures.rotate_on_grey(picture, degrees)
        return pictures.rotate(picture, degrees, resample=style.rotate, fill=style.fill)
    kind, axis = name.split("_")
    if kind == "shear":
        factor = level * rng.python.choice(_BOTH_WAYS)
        return pictures.shear(picture, axis, factor, resample=style.shear, fill=style.fill)
    side = 1 if style.absolute else picture.size[0 if axis == "x" else 1]
    pixels = level * side * rng.python.choice(_BOTH_WAYS)
    return pictures.translate(picture, axis, pixels, resample=style.translate, fill=style.fill)


def _cut_out(picture: Picture, reach: int, grey: int, rng: Rng) -> Picture:
    """Fill a square about a random point; `reach` is half its side."""
    row = rng.numpy.randint(0, picture.height + 1)
    column = rng.numpy.randint(0, picture.width + 1)
    pixels = pictures.to_pixels(picture)
    pixels[max(0, row - reach) : row + reach, max(0, column - reach) : column + reach] = grey
    return pictures.to_picture(pixels)
