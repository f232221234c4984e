"""TimmAutoAugment against a reading that takes the formulas one by one and draws from the seeded modules."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from tests.trainer.data.conftest import IDENTITY, Pixels, draw, encode, run, transform
from trainer.config.ops_augment import TimmAutoAugment
from trainer.data.draws import Stream

RAND = (
    "AutoContrast Equalize Invert Rotate Posterize Solarize SolarizeAdd Color Contrast Brightness Sharpness"
)
RAND_NAMES = [*RAND.split(), "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"]
MIX = "AutoContrast Color Contrast Brightness Sharpness Equalize Rotate Posterize Solarize ShearX ShearY"
MIX_NAMES = [*MIX.split(), "TranslateXRel", "TranslateYRel"]
FILL = (124, 116, 104)  # the means of ImageNet
BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


def sign() -> int:
    return -1 if random.random() > 0.5 else 1


def levels(image: Image.Image, function: Callable[[int], int]) -> Image.Image:
    table = np.array([function(level) for level in range(256)], dtype=np.uint8)
    return Image.fromarray(table[np.asarray(image)])


def changed(
    image: Image.Image, name: str, m: float, *, inc: bool, far: float, how: list[Image.Resampling]
) -> Image.Image:
    if name in ("AutoContrast", "Equalize", "Invert"):
        return getattr(ImageOps, name.lower())(image)
    if name in ("Color", "Contrast", "Brightness", "Sharpness"):
        factor = 1 + 0.9 * m / 10 * sign() if inc else 1.8 * m / 10 + 0.1
        return getattr(ImageEnhance, name)(image).enhance(factor)
    if name == "Posterize":
        kept = int(m / 10 * 4)
        mask = 0xFF00 >> (4 - kept if inc else kept) & 0xFF
        return levels(image, lambda level: level & mask)
    if name == "Solarize":
        threshold = int(m / 10 * 256)
        threshold = 256 - threshold if inc else threshold
        return levels(image, lambda level: level if level < threshold else 255 - level)
    if name == "SolarizeAdd":
        return levels(image, lambda level: min(255, level + int(m / 10 * 110)) if level < 128 else level)
    width, height = image.size
    if name == "Rotate":
        degrees = m / 10 * 30 * sign()
        return image.rotate(degrees, random.choice(how) if len(how) > 1 else how[0], fillcolor=FILL)
    matrix = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    if name.startswith("Shear"):
        matrix[1 if name == "ShearX" else 3] = m / 10 * 0.3 * sign()
    else:
        share = m / 10 * far * sign()
        matrix[2 if name == "TranslateXRel" else 5] = share * (width if name == "TranslateXRel" else height)
    resample = random.choice(how) if len(how) > 1 else how[0]
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample, fillcolor=FILL)


def magnitude(mean: float, deviation: float) -> float:
    return min(10.0, max(0.0, random.gauss(mean, deviation) if deviation else mean))


def rand(image: Pixels, *, m: float, n: int, std: float, inc: bool, how: Any, p: Any = None) -> Pixels:
    picture = Image.fromarray(image)
    random.random()  # prob
    for name in np.random.choice(RAND_NAMES, n, replace=p is None, p=p):
        if random.random() <= 0.5:
            picture = changed(picture, name, magnitude(m, std), inc=inc, far=0.45, how=how)
    return np.asarray(picture)


@pytest.mark.parametrize(
    ("policy", "interpolation", "reading"),
    [
        ("rand-m9-mstd0.5-inc1", "bicubic", {"m": 9, "n": 2, "std": 0.5, "inc": True, "how": [BICUBIC]}),
        ("rand-m7-mstd0.5-inc1", "random",
         {"m": 7, "n": 2, "std": 0.5, "inc": True, "how": [BILINEAR, BICUBIC]}),
        ("rand-m15-n5-mstd1-inc1", "bilinear", {"m": 15, "n": 5, "std": 1.0, "inc": True, "how": [BILINEAR]}),
        ("rand", "bicubic", {"m": 10, "n": 2, "std": 0, "inc": False, "how": [BICUBIC]}),
        ("rand-m4-n3", "bicubic", {"m": 4, "n": 3, "std": 0, "inc": False, "how": [BICUBIC]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_timm_s_rand_augment_draws_in_paddleclas_s_order(
    policy: str, interpolation: str, reading: dict[str, Any]
) -> None:
    op = {"TimmAutoAugment": {"config_str": policy, "interpolation": interpolation, "img_size": 224}}
    operation, stream = transform(op, IDENTITY), Stream(11)
    random.seed(11)
    np.random.seed(11)
    for seed in range(60):
        image = draw(seed)
        expected = rand(image[:, :, ::-1].copy(), **reading)
        assert np.array_equal(operation(encode(image), stream.draws).transpose(1, 2, 0), expected), seed


def test_weights_draw_without_repeating() -> None:
    weights = {"Rotate": 300, "ShearX": 200, "ShearY": 200, "TranslateXRel": 100, "TranslateYRel": 100}
    weights |= {"Color": 25, "Sharpness": 25, "AutoContrast": 25, "Posterize": 0, "Invert": 0}
    p = np.array([weights.get(name, 5) / 1000 for name in RAND_NAMES])
    operation = transform({"TimmAutoAugment": {"config_str": "rand-m6-n4-w0"}}, IDENTITY)
    stream = Stream(1)
    random.seed(1)
    np.random.seed(1)
    for seed in range(30):
        image = draw(seed)
        expected = rand(image[:, :, ::-1].copy(), m=6, n=4, std=0, inc=False, how=[BICUBIC], p=p / np.sum(p))
        assert np.array_equal(operation(encode(image), stream.draws).transpose(1, 2, 0), expected), seed


@pytest.mark.parametrize("blended", [False, True])
def test_timm_s_augmix_mixes_chains_as_paddleclas_does(blended: bool) -> None:
    text = f"augmix-m5-w2-mstd0.5{'-b1' if blended else ''}"
    operation, stream = transform({"TimmAutoAugment": {"config_str": text}}, IDENTITY), Stream(5)
    random.seed(5)
    np.random.seed(5)
    for seed in range(20):
        picture = Image.fromarray(draw(seed)[:, :, ::-1].copy())
        random.random()
        shares = np.float32(np.random.dirichlet([1.0, 1.0]))
        whole = np.float32(np.random.beta(1.0, 1.0))
        chains = []
        for _ in range(2):
            chain = picture
            for name in np.random.choice(MIX_NAMES, np.random.randint(1, 4)):
                chain = changed(chain, name, magnitude(5, 0.5), inc=True, far=0.3, how=[BICUBIC])
            chains.append(chain)
        if blended:
            last = shares[1] * whole
            first = shares[0] * whole / (1 - last)
            expected = Image.blend(Image.blend(picture, chains[0], float(first)), chains[1], float(last))
        else:
            mixed = sum(s * np.asarray(c, dtype=np.float32) for s, c in zip(shares, chains, strict=True))
            expected = Image.blend(picture, Image.fromarray(np.uint8(np.clip(mixed, 0, 255))), float(whole))
        result = operation(encode(draw(seed)), stream.draws).transpose(1, 2, 0)
        assert np.array_equal(result, np.asarray(expected)), seed


def test_no_bits_left_give_black_instead_of_another_image() -> None:
    op = {"TimmAutoAugment": {"config_str": "rand-m10-n1-inc1"}}
    assert any(not run(encode(draw(1)), op, IDENTITY, seed=seed).any() for seed in range(120))


def test_an_image_is_left_alone_where_prob_says_so() -> None:
    op = {"TimmAutoAugment": {"prob": 0.5, "config_str": "rand-m9-n8"}}
    kept = [
        np.array_equal(run(encode(draw(1)), op, IDENTITY, seed=s), draw(1)[:, :, ::-1]) for s in range(20)
    ]
    drawn = [random.Random(seed).random() >= 0.5 for seed in range(20)]
    assert kept == drawn


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("auto-mstd0.5", "expected config_str of 'rand-…' or 'augmix-…', got 'auto-mstd0.5'"),
        ("original", "for the ImageNet policy use the operation AutoAugment"),
        ("rand-m9.5", "got 'm9.5'"),
        ("rand-x3", "expected parts such as m1, n1, w1, mstd1, inc1"),
        ("rand-mstd", "got 'mstd'"),
        ("rand-m9-m8", "expected m once"),
        ("rand-m9-inc0", "PaddleClas takes inc0 for inc1"),
        ("rand-w1", "expected w0 or no w"),
        ("rand-w0-n14", "expected at most n13 with w0"),
        ("augmix-w0", "expected w and a above 0"),
    ],
)
def test_a_policy_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"config_str") as caught:
        TimmAutoAugment.model_validate({"config_str": text})
    assert why in str(caught.value)
