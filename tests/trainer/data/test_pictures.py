"""What is computed in another way than by Pillow's own calls, beside these."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from trainer.data.ops import pictures

DRAWS = np.random.default_rng(4)
IMAGES = {
    "noise": DRAWS.integers(0, 256, (37, 53, 3), dtype=np.uint8),
    "smooth": cv2.resize(DRAWS.integers(0, 256, (5, 4, 3), dtype=np.uint8), (60, 41)),
    "one-level": np.full((9, 8, 3), 77, np.uint8),
    "extremes": DRAWS.choice(np.array([0, 255], np.uint8), (31, 30, 3)),
    "three-rows": DRAWS.integers(0, 256, (3, 40, 3), dtype=np.uint8),
    "two-rows": DRAWS.integers(0, 256, (2, 40, 3), dtype=np.uint8),
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("factor", [-0.4, 0.0, 0.1, 0.73, 1.0, 1.3, 1.9])
def test_sharpness_gives_the_bits_of_pillow(name: str, factor: float) -> None:
    picture = Image.fromarray(IMAGES[name])
    expected = ImageEnhance.Sharpness(picture).enhance(factor)
    found = pictures.ENHANCE["sharpness"](picture, factor)
    assert np.array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("degrees", [-30.0, 0.0, 7.3, 30.0, 90.0, 180.0])
def test_turning_on_grey_gives_the_bits_of_a_copy_with_alpha(name: str, degrees: float) -> None:
    picture = Image.fromarray(IMAGES[name])
    turned = picture.convert("RGBA").rotate(degrees)
    expected = Image.composite(turned, Image.new("RGBA", turned.size, (128,) * 4), turned).convert("RGB")
    found = pictures.rotate_on_grey(picture, degrees)
    assert np.array_equal(np.asarray(found), np.asarray(expected))
