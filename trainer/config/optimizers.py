"""What `Optimizer.name` may be (PaddleClas d178931, ppcls/optimizer/optimizer.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from trainer.config.registry import STRICT, Lazy, Registry, Spec, keyed, named
from trainer.config.schedules import Schedule


class Regularizer(Spec):
    """Weight decay that is added to the gradient."""

    name: Literal["L2", "L1"]
    coeff: float = Field(ge=0)


class BaseOptimizer(Spec):
    """What they share."""

    model_config = STRICT

    lr: Schedule
    scope: str = "all"
    """Whose parameters it moves: all, the network's class, one of its layers, or a loss with parameters."""
    regularizer: Regularizer | None = None
    weight_decay: float | None = None
    """L2 decay; `regularizer` wins over it."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Each gradient tensor is cut to this norm by itself, not all together."""


class Momentum(BaseOptimizer):
    """v = momentum × v + g; p −= lr × v."""

    momentum: float = Field(default=0.9, ge=0, lt=1)
    use_nesterov: bool = False
    multi_precision: bool = True
    no_weight_decay_name: str | None = None
    """Space-separated parts of parameter names that are not decayed."""
    one_dim_param_no_weight_decay: bool = False
    """As in PaddleClas it has no effect on Momentum unless `no_weight_decay_name` is given."""


class SGD(BaseOptimizer):
    """p −= lr × g."""

    multi_precision: bool = False


class Adam(BaseOptimizer):
    """Adam (Kingma and Ba, 2015); decay is added to the gradient."""

    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    lazy_mode: bool = False
    """Of sparse gradients, which no network here has."""
    multi_precision: bool = False


class RMSProp(BaseOptimizer):
    """ms = rho × ms + (1 − rho) × g²; v = momentum × v + lr × g / √(ms + epsilon); p −= v."""

    rho: float = Field(default=0.95, ge=0, lt=1)
    epsilon: float = Field(default=1e-6, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    multi_precision: bool = False
    no_weight_decay_name: str | None = None
    """Space-separated parts of parameter names that are not decayed."""
    one_dim_param_no_weight_decay: bool = False


class AdamW(BaseOptimizer):
    """Adam with decoupled weight decay. PaddleClas swallows parameters of it that do not exist."""

    model_config = ConfigDict(extra="allow")

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    multi_precision: bool = False
    no_weight_decay_name: str | None = None
    one_dim_param_no_weight_decay: bool = False

    @model_validator(mode="after")
    def _decoupled(self) -> AdamW:
        if self.regularizer is not None:
            raise ValueError(
                "expected weight_decay, which AdamW keeps apart from the gradient, got regularizer"
            )
        return self


class AdamWDL(BaseOptimizer):
    """AdamW whose learning rate falls from layer to layer towards a transformer's input."""

    model_config = ConfigDict(extra="allow")

    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    layerwise_decay: float | None = Field(default=None, gt=0, le=1)
    """Factor of a layer's learning rate beside that of the layer after it."""
    filter_bias_and_bn: bool = True
    """Let decay leave one-dimensional parameters and biases alone."""

    @model_validator(mode="after")
    def _decoupled(self) -> AdamWDL:
        if self.regularizer is not None:
            raise ValueError(
                "expected weight_decay, which AdamWDL keeps apart from the gradient, got regularizer"
            )
        return self


def _form(item: Any) -> str:  # whatever YAML gave
    return "several" if isinstance(item, list | tuple) else "one"


_EXTRA = Lazy("trainer.config.extras", "ExtraOptimizer")
OPTIMIZERS = Registry(Momentum, SGD, Adam, AdamW, AdamWDL, RMSProp)
if TYPE_CHECKING:
    from trainer.config.extras import ExtraOptimizer

    Optimizer: TypeAlias = BaseOptimizer | ExtraOptimizer
    OptimizerSection: TypeAlias = Optimizer | tuple[Optimizer, ...]
else:  # the unions that choose by name exist at run time only
    Optimizer = named(OPTIMIZERS, extra=_EXTRA)
    _Several = Annotated[
        tuple[keyed(OPTIMIZERS, extra=_EXTRA), ...],
        Field(strict=False, min_length=1),
    ]
    OptimizerSection = Annotated[
        Annotated[Optimizer, Tag("one")] | Annotated[_Several, Tag("several")], Discriminator(_form)
    ]
