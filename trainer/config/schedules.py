"""What `Optimizer.lr.name` may be: the learning rate as a function of the step.

PaddleClas d178931, ppcls/optimizer/learning_rate.py. Every schedule but the constant ones warms up linearly
from `warmup_start_lr` over `warmup_epoch` epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from pydantic import ConfigDict, Field

from trainer.config.declaration import Catalogue, Declaration, later, named

NonNegative = Field(default=0.0, ge=0)


class Paced(Declaration):
    """How often it moves."""

    follows_metric: ClassVar[bool] = False
    """It moves with the metric of the evaluations, instead of being a function of the step."""

    by_epoch: bool = False
    """Move once an epoch instead of once a step."""
    step_each_epoch: int | None = None
    """No effect: as in PaddleClas, the run's own number is taken."""
    last_epoch: Literal[-1] = -1
    """The step before the first one. A run that goes on takes it from its checkpoint."""
    verbose: bool = False
    """No effect: the learning rate stands in every log line."""


class Warm(Paced):
    """A schedule with a warm-up."""

    warmup_epoch: float = Field(default=0, ge=0)
    """Epochs of linear warm-up, fractions allowed."""
    warmup_start_lr: float = NonNegative
    """Learning rate of the first step."""


class Swallowing(Warm):
    """PaddleClas swallows parameters of it that do not exist."""

    model_config = ConfigDict(extra="allow")


class Based(Swallowing):
    """It has a learning rate to begin with."""

    learning_rate: float = Field(ge=0)
    """Learning rate after the warm-up."""


class Cosine(Based):
    """Half a cosine from `learning_rate` down to `eta_min`."""

    eta_min: float = NonNegative


_CYCLIC, _DECAY = "trainer.config.schedules_cyclic", "trainer.config.schedules_decay"
SCHEDULES = Catalogue(
    *later(_DECAY, {"Constant": ("Constant", "ConstLR")}), Cosine,
    *later(_DECAY, "Linear Step MultiStepDecay Piecewise"), *later(_CYCLIC, "Cyclic OneCycleLR"),
    *later(_DECAY, "ReduceOnPlateau"), *later(_CYCLIC, "CosineFixmatch"),
)  # fmt: skip
if TYPE_CHECKING:
    Schedule: TypeAlias = Paced
else:  # the union that chooses by name exists at run time only
    Schedule = named(SCHEDULES, default="Constant")
