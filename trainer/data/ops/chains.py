"""AugMix, as PaddleClas has it besides timm's.

Operations, levels and the order of draws: PaddleClas d178931,
ppcls/data/preprocess/ops/{operators,functional}.py.
"""

from __future__ import annotations

import numpy as np

from trainer.config.ops_augment import AugMix
from trainer.data.ops import pictures
from trainer.data.ops.pictures import Picture, Resample
from trainer.data.ops.registry import Operation, Pixels, implements
from trainer.data.rng import Draws

_NAMES = (
    "autocontrast", "equalize", "posterize", "rotate", "solarize", "shear_x", "shear_y", "translate_x",
    "translate_y",
)  # fmt: skip
_BLACK = (0, 0, 0)


@implements(AugMix)
def aug_mix(spec: AugMix) -> Operation:
    """Draw whether at all, the shares of the chains, that of all of them, then what each chain draws.

    Image uint8 [H, W, 3].
    """
    alpha, width = spec.aug_prob_coeff, spec.mixture_width

    def operation(image: Pixels, draws: Draws) -> Pixels:
        if draws.python.random() > spec.prob:
            return image
        shares = np.float32(draws.numpy.dirichlet([alpha] * width))
        whole = np.float32(draws.numpy.beta(alpha, alpha))
        mixed = np.zeros(image.shape)
        for share in shares:
            chained = pictures.to_picture(image)
            for _ in range(spec.mixture_depth if spec.mixture_depth > 0 else draws.numpy.randint(1, 4)):
                name = _NAMES[draws.numpy.choice(len(_NAMES))]
                chained = _apply(name, chained, spec.aug_severity, draws)
            # float32 products are added up in float64, as NumPy 2 does it there.
            mixed += share * np.asarray(chained, dtype=np.float32)
        kept = (np.float32(1) - whole) * image.astype(np.float32)
        blended: Pixels = (kept + whole * mixed).astype(np.uint8)
        return blended

    return operation


def _apply(name: str, picture: Picture, severity: float, draws: Draws) -> Picture:
    """Draw the strength, then the direction."""
    if name in pictures.PLAIN:
        return pictures.PLAIN[name](picture)
    level = draws.numpy.uniform(0.1, severity)
    if name == "posterize":
        return pictures.posterize(picture, 4 - int(level * 4 / 10))
    if name == "solarize":
        return pictures.solarize(picture, 256 - int(level * 256 / 10))
    if name == "rotate":
        degrees = _either(int(level * 30 / 10), draws)
        return pictures.rotate(picture, degrees, resample=Resample.BILINEAR, fill=_BLACK)
    kind, axis = name.split("_")
    if kind == "shear":
        factor = _either(level * 0.3 / 10, draws)
        return pictures.shear(picture, axis, factor, resample=Resample.BILINEAR, fill=_BLACK)
    side = picture.size[0 if axis == "x" else 1]
    pixels = _either(int(level * (side / 3) / 10), draws)
    return pictures.translate(picture, axis, pixels, resample=Resample.BILINEAR, fill=_BLACK)


def _either(value: float, draws: Draws) -> float:
    return -value if draws.numpy.random_sample() > 0.5 else value
