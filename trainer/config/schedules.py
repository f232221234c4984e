"""What `Optimizer.lr.name` may be: the learning rate as a function of the step.

PaddleClas d178931, ppcls/optimizer/learning_rate.py. Every schedule but the constant ones warms up linearly
from `warmup_start_lr` over `warmup_epoch` epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from pydantic import ConfigDict, Field, model_validator

from trainer.config.registry import Registry, Spec, named
from trainer.config.scalars import Floats, Ints

NonNegative = Field(default=0.0, ge=0)


class BaseSchedule(Spec):
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


class WarmupSchedule(BaseSchedule):
    """A schedule with a warm-up."""

    warmup_epoch: float = Field(default=0, ge=0)
    """Epochs of linear warm-up, fractions allowed."""
    warmup_start_lr: float = NonNegative
    """Learning rate of the first step."""


class LenientSchedule(WarmupSchedule):
    """PaddleClas swallows parameters of it that do not exist."""

    model_config = ConfigDict(extra="allow")


class RateSchedule(LenientSchedule):
    """It has a learning rate to begin with."""

    learning_rate: float = Field(ge=0)
    """Learning rate after the warm-up."""


class Constant(RateSchedule):
    """The same learning rate at every step."""

    names = ("Constant", "ConstLR")


class Linear(RateSchedule):
    """A polynomial of degree `power` down to `end_lr`."""

    end_lr: float = NonNegative
    power: float = 1.0
    cycle: bool = False


class Step(RateSchedule):
    """Multiply by `gamma` every `step_size` epochs."""

    step_size: float = Field(gt=0)
    gamma: float = 0.1


class MultiStepDecay(RateSchedule):
    """Multiply by `gamma` at each of the milestones."""

    milestones: Ints
    """Epochs."""
    gamma: float = 0.1


class Piecewise(LenientSchedule):
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


class ReduceOnPlateau(LenientSchedule):
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


class Cosine(RateSchedule):
    """Half a cosine from `learning_rate` down to `eta_min`."""

    eta_min: float = NonNegative


class Cyclic(WarmupSchedule):
    """Up to `max_learning_rate` and down again, over and over (Smith, 2017)."""

    base_learning_rate: float = Field(ge=0)
    """At the bottom, and after the warm-up."""
    max_learning_rate: float = Field(ge=0)
    warmup_epoch: float = Field(ge=0)
    """Epochs of linear warm-up; must be given, as there."""
    warmup_start_lr: float = Field(ge=0)
    """Learning rate of the first step; must be given, as there."""
    step_size_up: int = Field(ge=1)
    """Steps from the bottom to the top."""
    step_size_down: int | None = Field(default=None, ge=1)
    """Steps from the top to the bottom; as many where it is not given."""
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    """Whether tops stay, halve each cycle, or fall by `exp_gamma` each step."""
    exp_gamma: float = Field(default=1.0, gt=0)
    scale_fn: None = None
    """A function, which no file can hold."""
    scale_mode: Literal["cycle", "iterations"] = "cycle"
    """No effect without a `scale_fn`."""


class OneCycleLR(WarmupSchedule):
    """Up to `max_learning_rate` and far down, once (Smith and Topin, 2018)."""

    max_learning_rate: float = Field(ge=0)
    """At the top, and after a warm-up."""
    divide_factor: float = Field(default=25.0, gt=0)
    """It begins at `max_learning_rate` divided by it."""
    end_learning_rate: float = Field(default=1e-10, ge=0)
    phase_pct: float = Field(default=0.3, gt=0, lt=1)
    """Share of the run that goes up."""
    anneal_strategy: Literal["cos", "linear"] = "cos"
    three_phase: bool = False
    """Come down to where it began in as many steps as it went up, and only then to the end."""

    @model_validator(mode="after")
    def _phases(self) -> OneCycleLR:
        if self.three_phase and self.phase_pct >= 0.5:
            raise ValueError(f"expected phase_pct below 0.5 with three_phase, got {self.phase_pct}")
        return self


class CosineFixmatch(BaseSchedule):
    """The first `num_cycles` halves of a cosine (FixMatch; Sohn et al., 2020)."""

    learning_rate: float = Field(ge=0)
    num_warmup_steps: int = Field(ge=0)
    """Steps of linear warm-up from 0."""
    num_cycles: float = Field(default=7 / 16, ge=0)


WithRate: TypeAlias = RateSchedule | Piecewise | ReduceOnPlateau | CosineFixmatch
"""Schedules with a `learning_rate`, which may be None."""
SCHEDULES = Registry(
    Constant, Cosine, Linear, Step, MultiStepDecay, Piecewise, Cyclic, OneCycleLR, ReduceOnPlateau,
    CosineFixmatch,
)  # fmt: skip
if TYPE_CHECKING:
    Schedule: TypeAlias = BaseSchedule
else:  # the union that chooses by name exists at run time only
    Schedule = named(SCHEDULES, default="Constant")
