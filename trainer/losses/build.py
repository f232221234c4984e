"""From a list of declared losses to one function of logits and labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import paddle

from trainer.config.declaration import Declaration
from trainer.config.extras import make_extra
from trainer.config.losses import CELoss, ExtraLoss, Loss
from trainer.losses.cross_entropy import make_cross_entropy

LossFunction: TypeAlias = Callable[[paddle.Tensor, paddle.Tensor], dict[str, paddle.Tensor]]
"""Logits float32 [B, K] and labels int64 [B, 1] -> each loss by its name, and their sum as `loss`."""

LOSS_BUILDERS: Mapping[type[Declaration], Callable[[Any], Any]] = {  # each takes its own declaration
    CELoss: make_cross_entropy,
}
_ALL: Mapping[type[Declaration], Callable[[Any], Any]] = {**LOSS_BUILDERS, ExtraLoss: make_extra}


def build_loss(losses: Sequence[Loss]) -> LossFunction:
    """Make the weighted sum.

    As in PaddleClas, the weight of the only loss of a list has no effect, and of two losses with one name the
    latter counts, because they are kept by name.
    """
    parts = [(spec.label, spec.weight if len(losses) > 1 else 1.0, _ALL[type(spec)](spec)) for spec in losses]

    def total(logits: paddle.Tensor, labels: paddle.Tensor) -> dict[str, paddle.Tensor]:
        values = {name: part(logits, labels) * weight for name, weight, part in parts}
        return {**values, "loss": paddle.add_n(list(values.values()))}

    return total
