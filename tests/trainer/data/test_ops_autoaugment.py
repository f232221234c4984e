"""AutoAugment, RandAugment and ColorJitter against readings that draw from the seeded modules."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import paddle
import pytest
from PIL import Image, ImageEnhance, ImageOps

from tests.trainer.data.conftest import IDENTITY, draw, encode, transform
from trainer.data.rng import Stream

NEAREST, BICUBIC = Image.Resampling.NEAREST, Image.Resampling.BICUBIC
NAMES = "shearX shearY translateX translateY rotate color posterize solarize contrast sharpness brightness"
FIRST = [*NAMES.split(), "autocontrast", "equalize", "invert"]
SECOND = [*FIRST[:8], "solarize_add", *FIRST[8:], "cutout"]


def sign() -> int:
    return random.choice([-1, 1])


def moved(image: Image.Image, place: int, value: float, how: Any, fill: int) -> Image.Image:
    matrix = [1.0, 0, 0, 0, 1, 0]
    matrix[place] = value
    return image.transform(image.size, Image.Transform.AFFINE, matrix, how, fillcolor=(fill,) * 3)


def layer(image: Image.Image, form: int, m: float) -> Image.Image:
    name = str(np.random.choice(SECOND if form == 2 else FIRST))
    level, fill = m / 10, 0 if form == 3 else 128
    if name in ("autocontrast", "equalize", "invert"):
        return getattr(ImageOps, name)(image)
    if name in ("color", "contrast", "sharpness", "brightness"):
        factor = 1.8 * level + 0.1 if form == 2 else 1 + 0.9 * level * sign()
        return getattr(ImageEnhance, name.title())(image).enhance(factor)
    if name.startswith("shear"):
        place = 1 if name == "shearX" else 3
        return moved(image, place, 0.3 * level * sign(), NEAREST if form == 2 else BICUBIC, fill)
    if name.startswith("translate"):
        side = image.size[name == "translateY"]
        far = 100 * level if form == 2 else 150 / 331 * level * side
        return moved(
            image, 2 if name[-1] == "X" else 5, far * sign(), BICUBIC if form == 3 else NEAREST, fill
        )
    if name == "rotate":
        degrees = 30 * level * (1 if form == 1 else sign())
        if form == 3:
            return image.rotate(degrees, BICUBIC, fillcolor=(0, 0, 0))
        turned = image.convert("RGBA").rotate(degrees)
        return Image.composite(turned, Image.new("RGBA", image.size, (128,) * 4), turned).convert("RGB")
    pixels = np.array(image)
    if name == "posterize":
        lost = int(4 * level) if form == 3 else 8 - int(4 * level)
        return Image.fromarray((pixels.astype(int) >> lost << lost).astype(np.uint8))
    if name == "solarize":
        threshold = 255 * (1 - level) if form == 3 else 256 * level
        threshold = int(threshold) if form == 2 else threshold
        return Image.fromarray(np.where(pixels < threshold, pixels, 255 - pixels))
    if name == "solarize_add":
        added = np.minimum(pixels.astype(int) + int(110 * level), 255).astype(np.uint8)
        return Image.fromarray(np.where(pixels < 128, added, pixels))
    y, x, reach = (
        np.random.randint(0, image.height + 1),
        np.random.randint(0, image.width + 1),
        int(40 * level),
    )
    rows, columns = np.arange(image.height)[:, None], np.arange(image.width)[None]
    inside = (rows >= y - reach) & (rows < y + reach) & (columns >= x - reach) & (columns < x + reach)
    pixels[inside] = 128
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("name", "form"), [("RandAugment", 1), ("RandAugmentV2", 2), ("RandAugmentV3", 3)])
@pytest.mark.parametrize("magnitude", [2, 7])
def test_rand_augment_draws_in_paddleclas_s_order(name: str, form: int, magnitude: int) -> None:
    operation, stream = transform({name: {"num_layers": 3, "magnitude": magnitude}}, IDENTITY), Stream(4)
    random.seed(4)
    np.random.seed(4)
    for seed in range(50):
        expected = Image.fromarray(draw(seed)[:, :, ::-1].copy())
        for _ in range(3):
            expected = layer(expected, form, magnitude)
        result = operation(encode(draw(seed)), stream.rng).transpose(1, 2, 0)
        assert np.array_equal(result, np.asarray(expected)), seed


# The ImageNet policy of https://arxiv.org/abs/1805.09501, table 9, as PaddleClas has it: chance in tenths,
# operation, step of ten.
TABLE = """
4 posterize 8 6 rotate 9 | 6 solarize 5 6 autocontrast 5 | 8 equalize 8 6 equalize 3
6 posterize 7 6 posterize 6 | 4 equalize 7 2 solarize 4 | 4 equalize 4 8 rotate 8
6 solarize 3 6 equalize 7 | 8 posterize 5 10 equalize 2 | 2 rotate 3 6 solarize 8
6 equalize 8 4 posterize 6 | 8 rotate 8 4 color 0 | 4 rotate 9 6 equalize 2
0 equalize 7 8 equalize 8 | 6 invert 4 10 equalize 8 | 6 color 4 10 contrast 8
8 rotate 8 10 color 2 | 8 color 8 8 solarize 7 | 4 sharpness 7 6 invert 8
6 shearX 5 10 equalize 9 | 4 color 0 6 equalize 3 | 4 equalize 7 2 solarize 4
6 solarize 5 6 autocontrast 5 | 6 invert 4 10 equalize 8 | 6 color 4 10 contrast 8
8 equalize 8 6 equalize 3
"""
TABLE_ROWS = [row.split() for row in TABLE.replace("\n", "|").split("|") if row.strip()]


def policy_step(image: Image.Image, name: str, step: int) -> Image.Image:
    if name in ("autocontrast", "equalize", "invert"):
        return getattr(ImageOps, name)(image)
    if name in ("color", "contrast", "sharpness"):
        return getattr(ImageEnhance, name.title())(image).enhance(1 + 0.1 * step * sign())
    if name == "shearX":
        return moved(image, 1, np.linspace(0, 0.3, 10)[step] * sign(), BICUBIC, 128)
    if name == "rotate":
        turned = image.convert("RGBA").rotate(np.linspace(0, 30, 10)[step])
        return Image.composite(turned, Image.new("RGBA", image.size, (128,) * 4), turned).convert("RGB")
    if name == "posterize":
        return ImageOps.posterize(image, [8, 8, 7, 7, 6, 6, 5, 5, 4, 4][step])
    return ImageOps.solarize(image, np.linspace(256, 0, 10)[step])


def test_auto_augment_applies_each_of_the_25_pairs() -> None:
    assert len(TABLE_ROWS) == 25
    operation, stream = transform({"AutoAugment": None}, IDENTITY), Stream(0)
    random.seed(0)
    applied: dict[int, set[int]] = {row: set() for row in range(25)}
    for seed in range(400):
        expected, did = Image.fromarray(draw(seed % 5)[:, :, ::-1].copy()), []
        row = random.randint(0, 24)
        for place in (0, 3):
            chance, name, step = TABLE_ROWS[row][place : place + 3]
            if random.random() < int(chance) / 10:
                did.append(place)
                expected = policy_step(expected, name, int(step))
        applied[row] |= set(did)
        result = operation(encode(draw(seed % 5)), stream.rng).transpose(1, 2, 0)
        assert np.array_equal(result, np.asarray(expected)), (row, did)
    wanted = {row: {0, 3} for row in range(25)} | {12: {3}}  # one has a chance of 0
    assert applied == wanted


@pytest.mark.parametrize("prob", [2, 0.5])
def test_jitter_gives_paddle_s_pixels(prob: float) -> None:
    keys = {"brightness": 0.4, "contrast": 0.3, "saturation": 1.5, "hue": 0.2}
    operation, stream = transform({"ColorJitter": {"prob": prob, **keys}}, IDENTITY), Stream(2)
    jitter = paddle.vision.transforms.ColorJitter(**keys)
    random.seed(2)
    np.random.seed(2)
    for seed in range(20):
        expected = Image.fromarray(draw(seed)[:, :, ::-1].copy())
        if np.random.random() < prob:
            expected = jitter(expected)
        result = operation(encode(draw(seed)), stream.rng).transpose(1, 2, 0)
        assert np.array_equal(result, np.asarray(expected)), seed
