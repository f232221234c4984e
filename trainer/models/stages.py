"""What a network changes where images grow while it trains."""

from __future__ import annotations

import paddle
from paddle import nn


def set_stage(model: paddle.nn.Layer, stage: int) -> float | None:
    """Set the dropout of a head that has a rate for each stage, and return it; None where there is none.

    PaddleClas 4fdcda7, ppcls/engine/train/train_progressive.py: layers of the class `Head` with `_dropout`
    and a list `dropout_rate`, as EfficientNetV2's.
    """
    found: float | None = None
    for layer in model.sublayers(include_self=True):
        dropout, rates = getattr(layer, "_dropout", None), getattr(layer, "dropout_rate", None)
        if (
            type(layer).__name__ == "Head"
            and isinstance(dropout, nn.Dropout)
            and isinstance(rates, list | tuple)
        ):
            dropout.p = found = float(rates[stage])
    return found
