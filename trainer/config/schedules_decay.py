"""Schedules that stay, fall in steps or evenly, and the one that follows a metric."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from trainer.config.scalars import Floats, Ints
from trainer.config.schedules import Based, NonNegative, Swallowing


class Constant(Based):
    """The same learning rate at every step."""

    names = ("Constant", "ConstLR")


class Linear(Based):
    """A polynomial of degree `power` down to `end_lr`."""

    end_lr: float = NonNegative
    power: float = 1.0
    cycle: bool = False


class Step(Based):
    """Multiply by `gamma` every `step_size` epochs."""

    step_size: float = Field(gt=0)
    gamma: float = 0.1


class MultiStepDecay(Based):
    """Multiply by `gamma` at each of the milestones."""

    milestones: Ints
    """Epochs."""
    gamma: float = 0.1


class Piecewise(Swallowing):
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


class ReduceOnPlateau(Swallowing):
    """Multiply by `factor` where the metric of the evaluations has not become better for a while.

    It follows the first metric of Metric.Eval, of the weights that are trained.
    """

    follows_metric = True

    learning_rate: float = Field(ge=0)
    """At first."""
    mode: Literal["min", "max"] = "min"
    """Whether less or more is better; of an accuracy, more."""
    factor: float = Field(default=0.1, gt=0, lt=1)
    patience: int = Field(default=10, ge=0)
    """Evaluations in a row that may be no better."""
    threshold: float = Field(default=1e-4, ge=0)
    """What is better by less is no better."""
    threshold_mode: Literal["rel", "abs"] = "rel"
    """Whether the threshold is a share of the best so far, or a number."""
    cooldown: int = Field(default=0, ge=0)
    """Evaluations after a reduction that do not count."""
    min_lr: float = NonNegative
    epsilon: float = Field(default=1e-8, ge=0)
    """Reductions by no more than it are left out."""

    @model_validator(mode="after")
    def _by_evaluation(self) -> ReduceOnPlateau:
        if not self.by_epoch:
            raise ValueError("expected by_epoch: True, because it moves with evaluations; add it")
        if self.warmup_epoch:
            raise ValueError(f"expected no warm-up, with which PaddleClas fails, got {self.warmup_epoch:g}")
        return self
