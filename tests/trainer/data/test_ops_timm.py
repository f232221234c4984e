"""TimmAutoAugment against a reading that takes the formulas one by one and draws from the seeded modules."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from tests.trainer.data.conftest import IDENTITY, Pixels, draw, encode, run, transform
from tests.trainer.data.test_ops_autoaugment import TABLE_ROWS
from trainer.config.ops_augment import TimmAutoAugment
from trainer.data.rng import Stream

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
        assert np.array_equal(operation(encode(image), stream.rng).transpose(1, 2, 0), expected), seed


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
        assert np.array_equal(operation(encode(image), stream.rng).transpose(1, 2, 0), expected), seed


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
        result = operation(encode(draw(seed)), stream.rng).transpose(1, 2, 0)
        assert np.array_equal(result, np.asarray(expected)), seed


V0 = """
Equalize 8 1 ShearY 8 4|Color 4 9 Equalize 6 3|Color 4 1 Rotate 6 8|Solarize 8 3 Equalize 4 7
Solarize 4 2 Solarize 6 2|Color 2 0 Equalize 8 8|Equalize 4 8 SolarizeAdd 8 3|ShearX 2 9 Rotate 6 8
Color 6 1 Equalize 10 2|Invert 4 9 Rotate 6 0|Equalize 10 9 ShearY 6 3|Color 4 7 Equalize 6 0
Posterize 4 6 AutoContrast 4 7|Solarize 6 8 Color 6 9|Solarize 2 4 Rotate 8 9
Rotate 10 7 TranslateYRel 8 9|ShearX 0 0 Solarize 8 4|ShearY 8 0 Color 6 4|Color 10 0 Rotate 6 2
Equalize 8 4 Equalize 0 8|Equalize 10 4 AutoContrast 6 2|ShearY 4 7 SolarizeAdd 6 7
Posterize 8 2 Solarize 6 10|Solarize 6 8 Equalize 6 1|Color 8 6 Rotate 4 5
"""
PASCAL = {"autocontrast": "AutoContrast", "shearX": "ShearX"}
TABLES = {
    "v0": [row.split() for row in V0.strip().replace("\n", "|").split("|")],
    "original": [
        [PASCAL.get(name1, name1.title()), chance1, step1, PASCAL.get(name2, name2.title()), chance2, step2]
        for chance1, name1, step1, chance2, name2, step2 in TABLE_ROWS
    ],
}


@pytest.mark.parametrize("deviation", [0, 0.5])
@pytest.mark.parametrize("policy", ["original", "originalr", "v0", "v0r"])
def test_timm_s_auto_augment_applies_each_pair(policy: str, deviation: float) -> None:
    text = policy + (f"-mstd{deviation}" if deviation else "")
    operation, stream = transform({"TimmAutoAugment": {"config_str": text}}, IDENTITY), Stream(8)
    random.seed(8)
    table, drawn = TABLES[policy.rstrip("r")], set()
    assert len(table) == 25
    for seed in range(200):
        picture = Image.fromarray(draw(seed % 5)[:, :, ::-1].copy())
        random.random()  # prob
        row = random.choice(range(25))
        drawn.add(row)
        for name, chance, step in (table[row][:3], table[row][3:]):
            if chance != "10" and random.random() > int(chance) / 10:
                continue
            m = magnitude(int(step), deviation)
            if name == "Posterize":
                bits = int(m / 10 * 4)
                kept = {"original": bits + 4, "v0": bits}.get(policy, 4 - bits)
                picture = levels(picture, lambda level, kept=kept: level & 0xFF00 >> kept & 0xFF)
            else:
                picture = changed(picture, name, m, inc=False, far=0.45, how=[BICUBIC])
        result = operation(encode(draw(seed % 5)), stream.rng).transpose(1, 2, 0)
        assert np.array_equal(result, np.asarray(picture)), (row, table[row])
    assert drawn == set(range(25))


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
        ("auto-mstd0.5", "'augmix-…' or one of original, originalr, v0, v0r, got 'auto-mstd0.5'"),
        ("original-m9", "expected parts such as mstd1 in config_str, got 'm9'"),
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
