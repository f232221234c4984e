"""From a list of declared losses to one function of a network's outputs and the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import paddle

from trainer.config import losses as specs
from trainer.config import losses_distillation as pairs
from trainer.config.extras import ExtraLoss, make_extra, refuse
from trainer.config.losses import Loss
from trainer.config.losses_distillation import DistillationPairLoss
from trainer.config.outputs import Outputs, logits_of
from trainer.config.problems import show
from trainer.config.registry import Spec
from trainer.losses import distillation
from trainer.losses.cross_entropy import (
    LogitsLoss,
    make_cross_entropy,
    make_focal,
    make_googlenet,
    make_soft_target,
)
from trainer.losses.features import PairPart
from trainer.losses.multi_label import make_asymmetric, make_multi_label
from trainer.losses.relations import make_relations

LossFunction: TypeAlias = Callable[[Outputs, paddle.Tensor], dict[str, paddle.Tensor]]
"""Outputs and labels -> each loss by its name, and their sum as `loss`.

Labels are int64 [B, 1], float32 [B, K] where images are mixed or have several classes, or float32 [B, 2, K].
"""
Part: TypeAlias = Callable[[Outputs, paddle.Tensor], dict[str, paddle.Tensor]]
"""The same of one loss, without the sum."""


def _of_answer(make: Callable[[Any], LogitsLoss]) -> Callable[[Any], Part]:
    """Make a part of a loss of the logits that are evaluated."""

    def build(spec: Any) -> Part:  # its own spec
        loss = make(spec)
        return lambda outputs, labels: {spec.label: loss(logits_of(outputs), labels)}

    return build


LOSS_BUILDERS: Mapping[type[Spec], Callable[[Any], Part]] = {  # each takes its own spec
    specs.CELoss: _of_answer(make_cross_entropy),
    specs.FocalLoss: _of_answer(make_focal),
    specs.SoftTargetCrossEntropy: _of_answer(make_soft_target),
    specs.GoogLeNetLoss: lambda spec: _named(spec.label, make_googlenet(spec)),
    specs.MultiLabelLoss: _of_answer(make_multi_label),
    specs.MultiLabelAsymmetricLoss: _of_answer(make_asymmetric),
    pairs.DistillationGTCELoss: distillation.make_gt_cross_entropy,
    pairs.DistillationMultiLabelLoss: distillation.make_gt_multi_label,
    pairs.DistillationCELoss: distillation.make_cross_entropy_of_pairs,
    pairs.DistillationDMLLoss: distillation.make_mutual,
    pairs.DistillationDistanceLoss: distillation.make_distance,
    pairs.DistillationKLDivLoss: distillation.make_divergence,
    pairs.DistillationDKDLoss: distillation.make_decoupled,
    pairs.DistillationWSLLoss: distillation.make_weighted,
    pairs.DistillationSKDLoss: distillation.make_spherical,
    pairs.DistillationDISTLoss: distillation.make_correlation,
    pairs.DistillationRKDLoss: make_relations,
    DistillationPairLoss: PairPart,
}


def _make_extra(spec: ExtraLoss) -> LogitsLoss:
    loss = make_extra(spec)

    def checked(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        found = loss(logits, labels)
        if not isinstance(found, paddle.Tensor):
            raise refuse(spec.kind, spec.name, f"expected a tensor to be returned, got {show(found)}")
        return found

    return checked


_ALL: Mapping[type[Spec], Callable[[Any], Part]] = {**LOSS_BUILDERS, ExtraLoss: _of_answer(_make_extra)}


class Losses:
    """The weighted sum of a list of losses.

    As in PaddleClas, of two losses with one name the latter counts, because they are kept by name; of the
    only loss of a list the weight has no effect, and where it has several values, the first is the sum.

    Attributes:
        layers: Networks that losses have of their own, by their place in the list.
    """

    def __init__(self, losses: Sequence[Loss | ExtraLoss]) -> None:
        self._parts = [(_ALL[type(spec)](spec), spec.weight) for spec in losses]
        self.layers: dict[str, paddle.nn.Layer] = {
            str(index): part.layer
            for index, (part, _) in enumerate(self._parts)
            if isinstance(part, PairPart)
        }

    def layers_by_name(self) -> dict[str, list[paddle.nn.Layer]]:
        """Return the losses' networks by what a config calls their loss, outside and inside a pair."""
        found: dict[str, list[paddle.nn.Layer]] = {}
        for part, _ in self._parts:
            if isinstance(part, PairPart):
                for name in part.names:
                    found.setdefault(name, []).append(part.layer)
        return found

    def __call__(self, outputs: Outputs, labels: paddle.Tensor) -> dict[str, paddle.Tensor]:
        """Return each value by its name, and the sum as `loss`."""
        if len(self._parts) == 1:
            values = self._parts[0][0](outputs, labels)
            return {**values, "loss": next(iter(values.values()))}
        values = {
            name: value * weight
            for part, weight in self._parts
            for name, value in part(outputs, labels).items()
        }
        return {**values, "loss": paddle.add_n(list(values.values()))}


def build_loss(losses: Sequence[Loss | ExtraLoss]) -> Losses:
    """Make the weighted sum of a list."""
    return Losses(losses)


def _named(name: str, loss: Callable[[Outputs, paddle.Tensor], paddle.Tensor]) -> Part:
    return lambda outputs, labels: {name: loss(outputs, labels)}
