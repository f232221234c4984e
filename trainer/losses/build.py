"""From a list of declared losses to one function of a network's outputs and the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import paddle

from trainer.config import losses as declared
from trainer.config.declaration import Declaration
from trainer.config.extras import make_extra
from trainer.config.losses import ExtraLoss, Loss
from trainer.config.outputs import Outputs, answer_of
from trainer.losses.cross_entropy import LogitsLoss, make_cross_entropy, make_googlenet, make_soft_target
from trainer.losses.multi_label import make_asymmetric, make_multi_label

LossFunction: TypeAlias = Callable[[Outputs, paddle.Tensor], dict[str, paddle.Tensor]]
"""Outputs and labels -> each loss by its name, and their sum as `loss`.

Labels are int64 [B, 1], float32 [B, K] where images are mixed or have several classes, or float32 [B, 2, K].
"""
Part: TypeAlias = Callable[[Outputs, paddle.Tensor], paddle.Tensor]


def _of_answer(make: Callable[[Any], LogitsLoss]) -> Callable[[Any], Part]:
    def build(spec: Any) -> Part:  # its own declaration
        loss = make(spec)
        return lambda outputs, labels: loss(answer_of(outputs), labels)

    return build


LOSS_BUILDERS: Mapping[type[Declaration], Callable[[Any], Part]] = {  # each takes its own declaration
    declared.CELoss: _of_answer(make_cross_entropy),
    declared.SoftTargetCrossEntropy: _of_answer(make_soft_target),
    declared.GoogLeNetLoss: make_googlenet,
    declared.MultiLabelLoss: _of_answer(make_multi_label),
    declared.MultiLabelAsymmetricLoss: _of_answer(make_asymmetric),
}
_ALL: Mapping[type[Declaration], Callable[[Any], Part]] = {**LOSS_BUILDERS, ExtraLoss: _of_answer(make_extra)}


def build_loss(losses: Sequence[Loss | ExtraLoss]) -> LossFunction:
    """Make the weighted sum.

    As in PaddleClas, the weight of the only loss of a list has no effect, and of two losses with one name the
    latter counts, because they are kept by name.
    """
    parts = [(spec.label, spec.weight if len(losses) > 1 else 1.0, _ALL[type(spec)](spec)) for spec in losses]

    def total(outputs: Outputs, labels: paddle.Tensor) -> dict[str, paddle.Tensor]:
        values = {name: part(outputs, labels) * weight for name, weight, part in parts}
        return {**values, "loss": paddle.add_n(list(values.values()))}

    return total
