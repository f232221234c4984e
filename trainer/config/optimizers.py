"""What `Optimizer.name` may be (PaddleClas d178931, ppcls/optimizer/optimizer.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from trainer.config.declaration import STRICT, Catalogue, Declaration, Later, keyed, later, named
from trainer.config.schedules import Schedule


class Regularizer(Declaration):
    """Weight decay that is added to the gradient."""

    name: Literal["L2", "L1"]
    coeff: float = Field(ge=0)


class BaseOptimizer(Declaration):
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


def _form(item: Any) -> str:  # whatever YAML gave
    return "several" if isinstance(item, list | tuple) else "one"


_EXTRA = Later("trainer.config.extra_declarations", "ExtraOptimizer")
OPTIMIZERS = Catalogue(
    Momentum, SGD, *later("trainer.config.optimizers_adaptive", "Adam AdamW AdamWDL RMSProp"),
)  # fmt: skip
if TYPE_CHECKING:
    Optimizer: TypeAlias = BaseOptimizer
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
