"""From a declared optimizer to Paddle's, with decay as PaddleClas applies it.

The engine sets the learning rate before every step, so no scheduler is attached. A regulariser that a model
put on a parameter itself wins over the optimizer's (facts of paddle.optimizer, Paddle 3.3.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import paddle
from paddle import nn
from paddle.regularizer import L1Decay, L2Decay

from trainer.config import optimizers as specs
from trainer.config.extras import ExtraOptimizer, make_extra, refuse
from trainer.config.optimizers import Optimizer, Regularizer
from trainer.config.problems import ConfigError, Problem
from trainer.config.registry import Spec


class Trained(Protocol):
    """A layer, or some of the parameters of several."""

    def parameters(self) -> Iterable[paddle.Tensor]:
        """Return them."""

    def named_parameters(self) -> Iterable[tuple[str, paddle.Tensor]]:
        """Return them after their structured names."""


_INITIAL_LR = 0.001  # replaced before the first step


def build_optimizer(spec: Optimizer | ExtraOptimizer, model: Trained) -> paddle.optimizer.Optimizer:
    """Make the optimizer of all trainable parameters of `model`."""
    if isinstance(spec, ExtraOptimizer):
        return _extra(spec, model)
    return OPTIMIZER_BUILDERS[type(spec)](spec, model)


# `multi_precision` is not handed on: it keeps float32 copies of 16-bit weights. `AMP` with O2 makes them,
# and `trainer.engine.precision` asks for the copies there. Of float32 weights there are none to keep, and
# Paddle still asks twice a weight and step, in Python: 0.25 ms a step of 92 weights.


def _momentum(spec: specs.Momentum, model: Trained) -> paddle.optimizer.Optimizer:
    # Without names that are not decayed, PaddleClas ignores one_dim_param_no_weight_decay here.
    names = (spec.no_weight_decay_name or "").split()
    plain = _undecayed(model, names, one_dim=spec.one_dim_param_no_weight_decay) if names else set()
    _spare(model, plain)
    return paddle.optimizer.Momentum(
        learning_rate=_INITIAL_LR, momentum=spec.momentum, use_nesterov=spec.use_nesterov,
        parameters=_trainable(model), weight_decay=_decay(spec.regularizer, spec.weight_decay),
        grad_clip=_clip(spec.clip_norm),
    )  # fmt: skip


def _sgd(spec: specs.SGD, model: Trained) -> paddle.optimizer.Optimizer:
    return paddle.optimizer.SGD(
        learning_rate=_INITIAL_LR, parameters=_trainable(model),
        weight_decay=_decay(spec.regularizer, spec.weight_decay), grad_clip=_clip(spec.clip_norm),
    )  # fmt: skip


def _adam(spec: specs.Adam, model: Trained) -> paddle.optimizer.Optimizer:
    return paddle.optimizer.Adam(
        learning_rate=_INITIAL_LR, beta1=spec.beta1, beta2=spec.beta2, epsilon=spec.epsilon,
        parameters=_trainable(model), weight_decay=_decay(spec.regularizer, spec.weight_decay),
        grad_clip=_clip(spec.clip_norm), lazy_mode=spec.lazy_mode,
    )  # fmt: skip


def _rmsprop(spec: specs.RMSProp, model: Trained) -> paddle.optimizer.Optimizer:
    names = (spec.no_weight_decay_name or "").split()
    _spare(model, _undecayed(model, names, one_dim=spec.one_dim_param_no_weight_decay))
    return paddle.optimizer.RMSProp(
        learning_rate=_INITIAL_LR, rho=spec.rho, epsilon=spec.epsilon, momentum=spec.momentum,
        parameters=_trainable(model), weight_decay=_decay(spec.regularizer, spec.weight_decay),
        grad_clip=_clip(spec.clip_norm),
    )  # fmt: skip


def _adamw(spec: specs.AdamW, model: Trained) -> paddle.optimizer.Optimizer:
    names = (spec.no_weight_decay_name or "").split()
    plain = _undecayed(model, names, one_dim=spec.one_dim_param_no_weight_decay)
    coefficient = spec.weight_decay or 0.0
    return paddle.optimizer.AdamW(
        learning_rate=_INITIAL_LR, beta1=spec.beta1, beta2=spec.beta2, epsilon=spec.epsilon,
        parameters=_trainable(model), weight_decay=coefficient, grad_clip=_clip(spec.clip_norm),
        apply_decay_param_fun=lambda name: name not in plain,
    )  # fmt: skip


def _adamwdl(spec: specs.AdamWDL, model: Trained) -> paddle.optimizer.Optimizer:
    apply_layer_rates(model, decay=spec.layerwise_decay or 1.0)
    plain = {
        parameter.name
        for key, parameter in model.named_parameters()
        if spec.filter_bias_and_bn and (len(parameter.shape) == 1 or key.endswith(".bias"))
    }
    return paddle.optimizer.AdamW(
        learning_rate=_INITIAL_LR, beta1=spec.beta1, beta2=spec.beta2, epsilon=spec.epsilon,
        parameters=_trainable(model), weight_decay=spec.weight_decay or 0.0, grad_clip=_clip(spec.clip_norm),
        apply_decay_param_fun=lambda name: name not in plain,
    )  # fmt: skip


def apply_layer_rates(model: Trained, *, decay: float) -> None:
    """Multiply learning rates by decay^(layers − layer), and before the layers by decay^(layers + 1).

    PaddleClas d178931, ppcls/optimizer/optimizer.py (AdamWDL): layers are a transformer's `blocks.i`; what
    has `embed`, `token`, `conv1` or `ln_pre` in its name comes before them, all else after.

    Raises:
        ConfigError: The network has no such layers.
    """
    if decay == 1.0:
        return
    found = {key: _layer_of(key) for key, _ in model.named_parameters()}
    layers = 1 + max((layer for layer in found.values() if layer is not None), default=-1)
    if layers == 0:
        message = "expected none beside a network without blocks.0, blocks.1 …; take AdamW"
        raise ConfigError([Problem(file="config", path=("Optimizer", "layerwise_decay"), message=message)])
    for key, parameter in model.named_parameters():
        layer = found[key]
        before = any(part in key for part in ("embed", "token", "conv1", "ln_pre"))
        power = layers - layer if layer is not None else layers + 1 if before else 0
        parameter.optimize_attr["learning_rate"] *= decay**power


def _layer_of(key: str) -> int | None:
    match = re.match(r"blocks\.(\d+)\.", key)
    return int(match[1]) if match else None


def _extra(spec: ExtraOptimizer, model: Trained) -> paddle.optimizer.Optimizer:
    made = make_extra(spec, learning_rate=_INITIAL_LR, parameters=_trainable(model))
    if not isinstance(made, paddle.optimizer.Optimizer):
        raise refuse("optimizer", spec.name, f"expected a paddle.optimizer.Optimizer, got {made!r}")
    return made


OPTIMIZER_BUILDERS: Mapping[
    type[Spec], Callable[[Any, Trained], paddle.optimizer.Optimizer]
] = {  # each takes its own spec
    specs.Momentum: _momentum,
    specs.SGD: _sgd,
    specs.Adam: _adam,
    specs.AdamW: _adamw,
    specs.AdamWDL: _adamwdl,
    specs.RMSProp: _rmsprop,
}


def _trainable(model: Trained) -> list[paddle.Tensor]:
    return [parameter for parameter in model.parameters() if not parameter.stop_gradient]


def _undecayed(model: Trained, parts: list[str], *, one_dim: bool) -> set[str]:
    """Return automatic names of parameters that are not decayed; `parts` are sought in structured names."""
    return {
        parameter.name
        for key, parameter in model.named_parameters()
        if any(part in key for part in parts) or (one_dim and len(parameter.shape) == 1)
    }


def _spare(model: Trained, names: set[str]) -> None:
    for parameter in _trainable(model):
        if parameter.name in names:  # not by parameter groups, with which Paddle forgets lr_mult_list
            parameter.regularizer = L2Decay(0.0)


def _decay(regularizer: Regularizer | None, weight_decay: float | None) -> L1Decay | L2Decay | float | None:
    if regularizer is None:
        return weight_decay
    return (L2Decay if regularizer.name == "L2" else L1Decay)(regularizer.coeff)


def _clip(norm: float | None) -> nn.ClipGradByNorm | None:
    return None if norm is None else nn.ClipGradByNorm(norm)
