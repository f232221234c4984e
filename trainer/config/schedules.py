"""What `Optimizer.lr.name` may be: the learning rate as a function of the step.

PaddleClas d178931, ppcls/optimizer/learning_rate.py. Every schedule but the constant ones warms up linearly
from `warmup_start_lr` over `warmup_epoch` epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from pydantic import Field, model_validator

from trainer.config.declaration import Declaration, named
from trainer.config.scalars import Floats, Ints

NonNegative = Field(default=0.0, ge=0)


class _Warm(Declaration):
    warmup_epoch: float = Field(default=0, ge=0)
    """Epochs of linear warm-up, fractions allowed."""
    warmup_start_lr: float = NonNegative
    """Learning rate of the first step."""
    step_each_epoch: int | None = None
    """Without effect: the loader's own count takes its place, as in PaddleClas."""
    by_epoch: bool = False
    """Move once an epoch instead of once a step."""


class _Based(_Warm):
    learning_rate: float = Field(ge=0)
    """Learning rate after the warm-up."""


class Constant(_Based):
    """The same learning rate at every step."""

    names = ("Constant", "ConstLR")


class Cosine(_Based):
    """Half a cosine from `learning_rate` down to `eta_min`."""

    eta_min: float = NonNegative


class Linear(_Based):
    """A polynomial of degree `power` down to `end_lr`."""

    end_lr: float = NonNegative
    power: float = 1.0
    cycle: bool = False


class Step(_Based):
    """Multiply by `gamma` every `step_size` epochs."""

    step_size: float = Field(gt=0)
    gamma: float = 0.1


class MultiStepDecay(_Based):
    """Multiply by `gamma` at each of the milestones."""

    milestones: Ints
    """Epochs."""
    gamma: float = 0.1


class Piecewise(_Warm):
    """One value from each boundary to the next."""

    decay_epochs: Ints
    values: Floats
    """One more than there are boundaries."""
    learning_rate: float | None = None
    """Where given, PaddleClas ignores boundaries and values and divides it by ten every 30 epochs."""

    @model_validator(mode="after")
    def _lengths(self) -> Piecewise:
        if len(self.values) != len(self.decay_epochs) + 1:
            raise ValueError(
                f"expected {len(self.decay_epochs) + 1} values for {len(self.decay_epochs)} decay_epochs, "
                f"got {len(self.values)}"
            )
        if list(self.decay_epochs) != sorted(set(self.decay_epochs)):
            raise ValueError(f"expected decay_epochs that increase, got {list(self.decay_epochs)}")
        return self


SCHEDULES: tuple[type[Declaration], ...] = (Constant, Cosine, Linear, Step, MultiStepDecay, Piecewise)
if TYPE_CHECKING:
    Schedule: TypeAlias = Constant | Cosine | Linear | Step | MultiStepDecay | Piecewise
else:  # the union that chooses by name exists at run time only
    Schedule = named(SCHEDULES, default="Constant")
