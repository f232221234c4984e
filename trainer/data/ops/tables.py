"""Policies of AutoAugment: pairs of operations, each with its chance and its step of ten."""

from __future__ import annotations

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
