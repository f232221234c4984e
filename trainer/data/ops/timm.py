"""TimmAutoAugment: timm's RandAugment, AugMix and AutoAugment, as PaddleClas has them.

Levels, operations, weights and the order of draws: PaddleClas d178931,
ppcls/data/preprocess/ops/timm_autoaugment.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from trainer.config.ops_augment import TimmAutoAugment, parse_policy
from trainer.data.ops import pictures
from trainer.data.ops.autoaugment import ORIGINAL, V0
from trainer.data.ops.pictures import Colour, Picture, Resample
from trainer.data.ops.registry import Operation, Pixels, implements
from trainer.data.rng import Rng

_RANDOM = (Resample.BILINEAR, Resample.BICUBIC)
_RESAMPLE = {"bilinear": (Resample.BILINEAR,), "bicubic": (Resample.BICUBIC,), "random": _RANDOM}

_RAND = (
    "autocontrast", "equalize", "invert", "rotate", "posterize", "solarize", "solarize_add", "color",
    "contrast", "brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
_AUGMIX = (
    "autocontrast", "color", "contrast", "brightness", "sharpness", "equalize", "rotate", "posterize",
    "solarize", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
_WEIGHTS = {
    "rotate": 0.3, "shear_x": 0.2, "shear_y": 0.2, "translate_x": 0.1, "translate_y": 0.1, "color": 0.025,
    "sharpness": 0.025, "autocontrast": 0.025, "solarize": 0.005, "solarize_add": 0.005, "contrast": 0.005,
    "brightness": 0.005, "equalize": 0.005, "posterize": 0.0, "invert": 0.0,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class _Settings:
    """What all operations of a policy share."""

    probability: float
    """That an operation which was chosen is applied."""
    magnitude: int
    """Mean of the magnitude, of 10."""
    deviation: float
    increasing: bool
    """Stronger with the magnitude, in both directions."""
    posterize: str = ""
    """Which bits are kept: `increasing` and `original` fewer and 4 more, else as many as the level says."""
    translate: float
    """Largest move, as a share of the picture's side."""
    resamples: Sequence[Resample]
    fill: Colour

    def resample(self, rng: Rng) -> Resample:
        return rng.python.choice(self.resamples) if len(self.resamples) > 1 else self.resamples[0]


@implements(TimmAutoAugment)
def timm_auto_augment(spec: TimmAutoAugment) -> Operation:
    """Draw whether at all, then what the policy draws. Image uint8 [H, W, 3]."""
    kind, values = parse_policy(spec.config_str)
    augmix = kind == "augmix"
    settings = _Settings(
        probability=1.0 if augmix else 0.5,
        magnitude=int(values.get("m", 3 if augmix else 10)),
        deviation=values.get("mstd", 0.0),
        increasing=augmix or "inc" in values,
        translate=0.3 if augmix else 0.45,
        resamples=_RESAMPLE[spec.interpolation],
        fill=tuple(min(255, round(255 * mean)) for mean in spec.mean),
    )
    if kind in ("rand", "augmix"):
        augment = _augmix(settings, values) if augmix else _rand_augment(settings, values)
    else:
        augment = _policy(settings, kind)

    def operation(image: Pixels, rng: Rng) -> Pixels:
        if rng.python.random() >= spec.prob:
            return image
        return pictures.to_pixels(augment(pictures.to_picture(image), rng))

    return operation


def _rand_augment(settings: _Settings, values: dict[str, float]) -> Callable[[Picture, Rng], Picture]:
    weights = None
    if "w" in values:
        weights = np.array([_WEIGHTS[name] for name in _RAND])
        weights = weights / np.sum(weights)
    layers = int(values.get("n", 2))

    def augment(picture: Picture, rng: Rng) -> Picture:
        for index in rng.numpy.choice(len(_RAND), layers, replace=weights is None, p=weights):
            picture = _apply(_RAND[index], picture, settings, rng)
        return picture

    return augment


def _policy(settings: _Settings, kind: str) -> Callable[[Picture, Rng], Picture]:
    posterize = {"original": "original", "v0": ""}.get(kind, "increasing")
    pairs = [
        [
            (name, replace(settings, probability=chance, magnitude=step, posterize=posterize))
            for chance, name, step in pair
        ]
        for pair in (V0 if kind.startswith("v0") else ORIGINAL)
    ]

    def augment(picture: Picture, rng: Rng) -> Picture:
        for name, ensure_writable in rng.python.choice(pairs):
            picture = _apply(name, picture, ensure_writable, rng)
        return picture

    return augment


def _augmix(settings: _Settings, values: dict[str, float]) -> Callable[[Picture, Rng], Picture]:
    alpha, width, depth = values.get("a", 1.0), int(values.get("w", 3)), int(values.get("d", 0))

    def chain(picture: Picture, rng: Rng) -> Picture:
        length = depth or rng.numpy.randint(1, 4)
        for index in rng.numpy.choice(len(_AUGMIX), length, replace=True):
            picture = _apply(_AUGMIX[index], picture, settings, rng)
        return picture

    def augment(picture: Picture, rng: Rng) -> Picture:
        shares = np.float32(rng.numpy.dirichlet([alpha] * width))
        whole = np.float32(rng.numpy.beta(alpha, alpha))
        if "b" in values:
            result = picture
            for share in _one_by_one(shares * whole):
                result = Image.blend(result, chain(picture, rng), float(share))
            return result
        mixed = np.zeros((picture.height, picture.width, 3), dtype=np.float32)
        for share in shares:
            mixed += share * np.asarray(chain(picture, rng), dtype=np.float32)
        mixture = Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))
        return Image.blend(picture, mixture, float(whole))

    return augment


def _one_by_one(shares: Pixels) -> Pixels:
    """Weights of blends one after the other that leave each chain with its share."""
    left, weights = 1.0, []
    for share in shares[::-1]:
        weights.append(share / left)
        left *= 1 - weights[-1]
    return np.array(weights[::-1], dtype=np.float32)


def _apply(name: str, picture: Picture, settings: _Settings, rng: Rng) -> Picture:
    """Draws in PaddleClas's order: whether at all, magnitude, direction, interpolation."""
    if settings.probability < 1 and rng.python.random() > settings.probability:
        return picture
    magnitude: float = settings.magnitude
    if settings.deviation > 0:
        magnitude = rng.python.gauss(magnitude, settings.deviation)
    level = min(10.0, max(0, magnitude)) / 10.0
    if name in pictures.PLAIN:
        return pictures.PLAIN[name](picture)
    if name in pictures.ENHANCE:
        factor = 1.0 + _either(level * 0.9, rng) if settings.increasing else level * 1.8 + 0.1
        return pictures.ENHANCE[name](picture, factor)
    if name in ("posterize", "solarize", "solarize_add"):
        return _change_levels(name, picture, level, settings)
    return _move(name, picture, level, settings, rng)


def _change_levels(name: str, picture: Picture, level: float, settings: _Settings) -> Picture:
    increasing = settings.increasing
    if name == "posterize":
        bits = int(level * 4)
        kept = {"original": bits + 4, "increasing": 4 - bits}.get(settings.posterize, bits)
        return pictures.posterize(picture, 4 - bits if increasing else kept)
    if name == "solarize":
        return pictures.solarize(picture, 256 - int(level * 256) if increasing else int(level * 256))
    return pictures.solarize_add(picture, int(level * 110))


def _move(name: str, picture: Picture, level: float, settings: _Settings, rng: Rng) -> Picture:
    if name == "rotate":
        degrees = _either(level * 30.0, rng)
        return pictures.rotate(picture, degrees, resample=settings.resample(rng), fill=settings.fill)
    kind, axis = name.split("_")
    if kind == "shear":
        factor = _either(level * 0.3, rng)
        return pictures.shear(picture, axis, factor, resample=settings.resample(rng), fill=settings.fill)
    pixels = _either(level * settings.translate, rng) * picture.size[0 if axis == "x" else 1]
    return pictures.translate(picture, axis, pixels, resample=settings.resample(rng), fill=settings.fill)


def _either(value: float, rng: Rng) -> float:
    return -value if rng.python.random() > 0.5 else value
