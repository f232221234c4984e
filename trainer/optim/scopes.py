"""Several optimizers in one training, each of its own part of what is trained.

PaddleClas d178931, ppcls/optimizer/__init__.py: a scope is `all`; the class of the network; one of the
network's layers by its name; or, where it ends with `Loss`, the class of a loss with parameters. Parameters
in no scope are not moved. There a scope that names nothing trains nothing in silence, and a parameter in two
scopes is moved twice; here both are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import paddle
from paddle import nn

from trainer.config.optimizers import Optimizer
from trainer.config.problems import ConfigError, KeyPath, Problem, format_path
from trainer.optim.optimizer import Trained, build_optimizer

Layers = Mapping[str, Sequence[nn.Layer]]
_ALL_LOSSES = "CombinedLoss"
_LOSS = "Loss"


class Part:
    """Some of the parameters of a model."""

    def __init__(self, named: Sequence[tuple[str, paddle.Tensor]]) -> None:
        self._named = named

    def parameters(self) -> list[paddle.Tensor]:
        """Return them."""
        return [parameter for _, parameter in self._named]

    def named_parameters(self) -> Iterator[tuple[str, paddle.Tensor]]:
        """Return them after their structured names."""
        return iter(self._named)


def build_optimizers(
    specs: Sequence[tuple[KeyPath, Optimizer]], model: nn.Layer, losses: Layers, *, name: str
) -> list[paddle.optimizer.Optimizer]:
    """Make the optimizers of a config; what is in no scope is frozen.

    Args:
        specs: Each after its place in the config.
        model: With the networks of its losses.
        losses: Those networks by the names of their losses.
        name: Of the model in the config.

    Raises:
        ConfigError: A scope has no parameters, or some of another optimizer's.
    """
    parts = find_parts(specs, model, losses, name=name)
    moved = {parameter.name for part in parts for parameter in part.parameters()}
    for parameter in model.parameters():
        if parameter.name not in moved:
            parameter.stop_gradient = True
    return [build_optimizer(spec, part) for (_, spec), part in zip(specs, parts, strict=True)]


def find_parts(
    specs: Sequence[tuple[KeyPath, Optimizer]], model: nn.Layer, losses: Layers, *, name: str
) -> list[Trained]:
    """Return what each optimizer of a config moves; all problems are told at once.

    Raises:
        ConfigError: As `build_optimizers`.
    """
    problems: list[Problem] = []
    parts: list[Trained] = []
    owners: dict[str, KeyPath] = {}
    keys = {tensor.name: key for key, tensor in model.named_parameters()}
    for path, spec in specs:
        part = _find(spec.scope, model, losses, name=name)
        parts.append(part)
        own = {tensor.name for tensor in part.parameters() if not tensor.stop_gradient}
        twice = [tensor for tensor in keys if tensor in own and tensor in owners]
        message = None
        if twice:
            first = owners[twice[0]]
            message = (
                f"expected parameters that no other optimizer moves, got {spec.scope!r}, of which "
                f"{format_path(first)} moves {len(twice)}, such as {keys[twice[0]]}; name other layers"
            )
        elif not own and spec.scope != "all":
            known = ["all", *losses, *(child for child, _ in model.named_children())]
            message = (
                f"expected a scope with parameters to train, such as {', '.join(known)}, got {spec.scope!r}"
            )
        if message is not None:
            problems.append(Problem(file="config", path=(*path, "scope"), message=message))
        owners = {**dict.fromkeys(own, path), **owners}
    if problems:
        raise ConfigError(problems)
    return parts


def _find(scope: str, model: nn.Layer, losses: Layers, *, name: str) -> Trained:
    layers: Mapping[str, Trained] = {**dict(model.named_sublayers()), "all": model}
    if scope.endswith(_LOSS):
        return _join(_every(losses) if scope == _ALL_LOSSES else losses.get(scope, ()))
    if scope in (type(model).__name__, name) or re.match(re.escape(scope) + r"[\d_]", name):
        apart = {tensor.name for tensor in _join(_every(losses)).parameters()}
        return Part([(key, tensor) for key, tensor in model.named_parameters() if tensor.name not in apart])
    return layers.get(scope, Part(()))


def _every(losses: Layers) -> list[nn.Layer]:
    return [layer for layers in losses.values() for layer in layers]


def _join(layers: Sequence[nn.Layer]) -> Part:
    named = {tensor.name: (key, tensor) for layer in layers for key, tensor in layer.named_parameters()}
    return Part(list(named.values()))
