"""Schedules that go up and down; see `trainer.config.schedules`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from trainer.config.schedules import Paced, Warm


class Cyclic(Warm):
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


class OneCycleLR(Warm):
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


class CosineFixmatch(Paced):
    """The first `num_cycles` halves of a cosine (FixMatch; Sohn et al., 2020)."""

    learning_rate: float = Field(ge=0)
    num_warmup_steps: int = Field(ge=0)
    """Steps of linear warm-up from 0."""
    num_cycles: float = Field(default=7 / 16, ge=0)
