"""What is saved beside weights and optimizer: how far the run is, so that it goes on from exactly there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from trainer.protocol.codec import MAX_COUNT, Count, UnlessNone, Within, decode, encode

SCHEMA = 1
_WHAT = "state.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerState:
    """Place in an epoch's order of samples.

    Attributes:
        epoch: Index of the order, from 0: of the epoch that is going on, but with `rng: paddleclas`.
        world_size: Number of ranks that the order was padded for; an interrupted epoch keeps it.
        cursor: Samples of that order which are trained on already, padding counted.
        bad_images: How many of this epoch's could not be read, padding left out; others took their place.
        batches: Batches of the epoch that are trained on already, where it may have begun within an order
            (`rng: paddleclas`); None where it began with one, so that the cursor says it.
    """

    epoch: Count
    world_size: Annotated[int, Within(1, MAX_COUNT)]
    cursor: Count
    bad_images: Count = 0
    batches: Annotated[Count | None, UnlessNone()] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LossScale:
    """What mixed precision multiplies the loss by.

    Attributes:
        scale: Above 0.
        incr_count: Steps with finite gradients since it last changed.
        decr_count: Steps with others.
    """

    scale: float
    incr_count: Count
    decr_count: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochSums:
    """What an interrupted epoch has measured so far, so that its means are those of the whole epoch.

    Attributes:
        sums: Of losses and metrics, each times the samples that it is the mean of.
        samples: How many these are.
    """

    sums: Mapping[str, float]
    samples: Annotated[float, Within(0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyStoppingState:
    """How long a run has gone without a better evaluation.

    Attributes:
        metric: What is looked at; of another one the count begins anew.
        best: Its best value, which a later one must pass by `min_delta`.
        best_epoch: Epochs completed when it was reached.
        waited: Evaluations since.
    """

    metric: str
    best: float
    best_epoch: Count
    waited: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """Samples of an epoch's order that made no numbers, and are not trained on (`Global.on_nan: rewind`).

    Attributes:
        epoch: Index of the order, from 0.
        start: Its first place.
        end: The place after its last.
    """

    epoch: Count
    start: Count
    end: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeBudgetState:
    """What `Global.time_budget` has come to.

    Attributes:
        budget_s: Seconds that were asked for; of another budget the choice is made anew.
        of_epochs: Epochs of the config.
        spent_s: Seconds of training so far, those of all attempts.
        epochs: That were chosen; None before.
        at: Where the run was then, in epochs; from there on the schedule is faster.
    """

    budget_s: Annotated[float, Within(0)]
    of_epochs: Count
    spent_s: Annotated[float, Within(0)]
    epochs: Count | None = None
    at: Annotated[float, Within(0)] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainState:
    """State of a run after a step.

    Attributes:
        run_id: 32 hexadecimal digits.
        epoch: Epochs completed.
        step: Optimizer steps completed.
        sampler: Where the next step begins.
        metric: Of the last evaluation, or None before the first.
        best_metric: Highest so far, or None.
        best_epoch: Epochs completed when it was reached, or None.
        plateau: State of a learning rate that follows evaluations; None of any other.
        draws: State of the process-wide stream of `loader.rng: paddleclas`; None with `per_sample`.
        loss_scale: Of mixed precision; None where nothing is scaled.
        measured: Of the epoch that `sampler` is in; None at the beginning of one.
        time_budget: None without `Global.time_budget`.
        early_stopping: None without `Global.early_stopping`, and before the first evaluation.
        left_out: What is not trained on; None for nothing.
    """

    run_id: str
    epoch: Count
    step: Count
    sampler: SamplerState
    metric: float | None = None
    best_metric: float | None = None
    best_epoch: Count | None = None
    draws: str | None = None
    plateau: str | None = None
    loss_scale: LossScale | None = None
    measured: Annotated[EpochSums | None, UnlessNone()] = None
    left_out: Annotated[tuple[LeftOut, ...] | None, UnlessNone()] = None
    early_stopping: Annotated[EarlyStoppingState | None, UnlessNone()] = None
    time_budget: Annotated[TimeBudgetState | None, UnlessNone()] = None


def format_state(state: TrainState) -> str:
    """Write state.json."""
    return json.dumps(encode(state, schema=SCHEMA), indent=2) + "\n"


def parse_state(text: str | bytes) -> TrainState:
    """Read state.json.

    Raises:
        FormatError: It is broken or of another schema.
    """
    # A metric that was no number is none.
    return decode(TrainState, text, where=_WHAT, schema=SCHEMA, nan_as_none=True)
