"""AutoAugment, RandAugment and ColorJitter against readings that draw from the seeded modules."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import paddle
import pytest
from PIL import Image, ImageEnhance, ImageOps

from tests.trainer.data.conftest import IDENTITY, draw, encode, run, transform
from trainer.data.draws import Stream

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
        result = operation(encode(draw(seed)), stream.draws).transpose(1, 2, 0)
        assert np.array_equal(result, np.asarray(expected)), seed


def test_auto_augment_applies_the_pair_that_is_drawn() -> None:
    for seed in range(200):
        python = random.Random(seed)
        if python.randint(0, 24) == 13:  # invert with 0.6, then equalize
            expected = Image.fromarray(draw(1)[:, :, ::-1].copy())
            expected = ImageOps.invert(expected) if python.random() < 0.6 else expected
            expected = ImageOps.equalize(expected)
            result = run(encode(draw(1)), {"AutoAugment": None}, IDENTITY, seed=seed)
            assert np.array_equal(result, np.asarray(expected))


def test_auto_augment_goes_through_every_pair() -> None:
    operation, stream = transform({"AutoAugment": {}}, IDENTITY), Stream(0)
    results = {operation(encode(draw(1)), stream.draws).tobytes() for _ in range(200)}
    assert len(results) > 25


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
        result = operation(encode(draw(seed)), stream.draws).transpose(1, 2, 0)
        assert np.array_equal(result, np.asarray(expected)), seed
