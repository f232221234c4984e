"""AugMix, RandAugmentV4, RandomApply, BlurImage and PCALighting against readings of the specification."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import paddle
import pytest
from PIL import Image, ImageEnhance, ImageOps

from tests.trainer.data.conftest import IDENTITY, Pixels, agree, draw, encode, run, transform
from trainer.data.rng import Stream

BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


def affine(image: Image.Image, place: int, value: float, how: Any, fill: int) -> Image.Image:
    matrix = [1.0, 0, 0, 0, 1, 0]
    matrix[place] = value
    return image.transform(image.size, Image.Transform.AFFINE, matrix, how, fillcolor=(fill,) * 3)


def signed(value: float, draw_one: Callable[[], float]) -> float:
    return -value if draw_one() > 0.5 else value


def mixed_step(image: Image.Image, name: str, severity: float) -> Image.Image:
    if name in ("autocontrast", "equalize"):
        return getattr(ImageOps, name)(image)
    level = np.random.uniform(low=0.1, high=severity)
    if name == "posterize":
        return ImageOps.posterize(image, 4 - int(level * 4 / 10))
    if name == "solarize":
        return ImageOps.solarize(image, 256 - int(level * 256 / 10))
    if name == "rotate":
        return image.rotate(signed(int(level * 30 / 10), np.random.uniform), resample=BILINEAR)
    if name.startswith("shear"):
        place = 1 if name == "shear_x" else 3
        return affine(image, place, signed(level * 0.3 / 10, np.random.uniform), BILINEAR, 0)
    side = image.size[name == "translate_y"] / 3
    far = signed(int(level * side / 10), np.random.random)
    return affine(image, 2 if name == "translate_x" else 5, far, BILINEAR, 0)


@pytest.mark.parametrize(
    "keys",
    [
        {"prob": 1.0, "aug_prob_coeff": 1.0, "aug_severity": 7},
        {"prob": 0.6, "mixture_width": 2, "mixture_depth": -1, "aug_severity": 3},
    ],
    ids=["one deep", "random depth"],
)
def test_augmix_mixes_chains_as_paddleclas_does(keys: dict[str, Any]) -> None:
    names = ["autocontrast", "equalize", "posterize", "rotate", "solarize"]
    names += ["shear_x", "shear_y", "translate_x", "translate_y"]
    alpha, width = keys.get("aug_prob_coeff", 0.1), keys.get("mixture_width", 3)

    def reading(image: Pixels) -> Pixels:
        if random.random() > keys["prob"]:
            return image
        shares = np.float32(np.random.dirichlet([alpha] * width))
        whole = np.float32(np.random.beta(alpha, alpha))
        total = np.zeros(image.shape)
        for share in shares:
            chained = Image.fromarray(image)
            for _ in range(
                keys.get("mixture_depth", 1) if "mixture_depth" not in keys else np.random.randint(1, 4)
            ):
                chained = mixed_step(chained, str(np.random.choice(names)), keys["aug_severity"])
            total += np.multiply(share, np.asarray(chained), dtype=np.float32)
        return (np.multiply(1 - whole, image, dtype=np.float32) + whole * total).astype(np.uint8)

    agree([{"AugMix": keys}], reading, images=40, seed=2)


V4 = ["shearX", "shearY", "translateX", "translateY", "rotate", "color", "posterize", "solarize", "contrast"]
V4 += ["sharpness", "brightness", "autocontrast", "equalize", "invert", "cutout"]


def v4_step(image: Image.Image, name: str, step: int) -> Image.Image:
    if name in ("autocontrast", "equalize", "invert"):
        return getattr(ImageOps, name)(image)
    if name in ("color", "contrast", "sharpness", "brightness"):
        factor = 1 + step / 10 * random.choice([-1, 1])
        return getattr(ImageEnhance, name.title())(image).enhance(factor)
    if name.startswith("shear"):
        value = np.linspace(0, 0.3, 10)[step] * random.choice([-1, 1])
        return affine(image, 1 if name == "shearX" else 3, value, BICUBIC, 128)
    if name.startswith("translate"):
        far = np.linspace(0, 150 / 331, 10)[step] * image.size[name[-1] == "Y"] * random.choice([-1, 1])
        return affine(image, 2 if name == "translateX" else 5, far, Image.Resampling.NEAREST, 128)
    if name == "rotate":
        turned = image.convert("RGBA").rotate(np.linspace(0, 30, 10)[step])
        return Image.composite(turned, Image.new("RGBA", image.size, (128,) * 4), turned).convert("RGB")
    if name == "posterize":
        return ImageOps.posterize(image, [8, 8, 7, 7, 6, 6, 5, 5, 4, 4][step])
    if name == "solarize":
        return ImageOps.solarize(image, np.linspace(256, 0, 10)[step])
    y, x = np.random.randint(0, image.height + 1), np.random.randint(0, image.width + 1)
    reach = [0, 2, 4, 7, 9, 11, 13, 16, 18, 20][step]
    pixels = np.array(image)
    pixels[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach] = 0
    return Image.fromarray(pixels)


def test_the_fourth_rand_augment_draws_one_of_all_pairs() -> None:
    seen = set()

    def reading(image: Pixels) -> Pixels:
        picture = Image.fromarray(image)
        number = random.randint(0, 135**2 - 1)
        for index in (number // 135, number % 135):
            name, step = V4[index // 9], 1 + index % 9
            if random.random() < 0.5:
                seen.add(name)
                picture = v4_step(picture, name, step)
        return np.asarray(picture)

    agree([{"RandAugmentV4": None}], reading, images=150)
    assert seen == set(V4)


def test_some_operations_are_applied_together_or_not_at_all() -> None:
    keys = {"brightness": 0.4, "hue": 0.1}
    jitter = paddle.vision.transforms.ColorJitter(**keys)

    def reading(image: Pixels) -> Pixels:
        if np.random.rand(1) > 0.6:
            return image
        picture = jitter(Image.fromarray(image))
        return np.asarray(picture if random.random() >= 0.5 else ImageOps.grayscale(picture).convert("RGB"))

    inner = [{"RawColorJitter": keys}, {"RandomGrayscale": {"p": 0.5}}]
    agree([{"RandomApply": {"p": 0.6, "transforms": inner}}], reading)


def test_an_image_is_blurred_and_its_label_says_so() -> None:
    operation = transform({"BlurImage": {"ratio": 0.6, "motion_max_angle": 20}}, IDENTITY)
    seen = set()
    for seed in range(24):
        rng = Stream(seed).rng
        result = operation(encode(draw(seed)), rng).transpose(1, 2, 0)
        random.seed(seed)
        np.random.seed(seed)
        image = draw(seed)[:, :, ::-1].copy()
        way = "sharp" if random.random() > 0.6 else random.choice(["gaussian", "motion"])
        if way == "gaussian":
            size = np.random.choice(np.arange(5, 12, 2)), np.random.choice(np.arange(5, 12, 2))
            image = cv2.GaussianBlur(image, [int(side) for side in size], 0)
        elif way == "motion":
            length = int(np.random.choice(np.arange(5, 12, 2)))
            angle = np.random.choice(np.arange(-20, 20))
            turn = cv2.getRotationMatrix2D((length / 2, length / 2), float(angle), 1)
            kernel = cv2.warpAffine(np.eye(length), turn, (length, length)) / length
            blurred = cv2.filter2D(image, -1, kernel)
            image = cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX)
        assert np.array_equal(result, image), way
        assert rng.labels == {"blur_image": int(way != "sharp")}
        seen.add(way)
    assert seen == {"sharp", "gaussian", "motion"}


def test_light_of_imagenet_s_colours_is_added() -> None:
    values = [0.2175, 0.0188, 0.0045]
    vectors = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    for seed in range(5):
        strengths = np.random.RandomState(seed).normal(0, 0.1, size=3)
        result = run(encode(draw(1)), {"PCALighting": {}}, IDENTITY, seed=seed)
        for channel, vector in enumerate(vectors):
            light = sum(v * s * e for v, s, e in zip(vector, strengths, values, strict=True))
            expected = draw(1)[:, :, 2 - channel] + light
            np.testing.assert_allclose(result[:, :, channel], expected, atol=3e-5)
