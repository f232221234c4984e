"""What is saved beside weights and optimizer: how far the run is, so that it goes on from exactly there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

from trainer.protocol.codec import (
    MAX_COUNT,
    FormatError,
    need,
    need_object,
    need_or_none,
)
from trainer.protocol.untrusted import parse_object

SCHEMA = 1
_WHAT = "state.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerState:
    """Place in an epoch's order of samples.

    Attributes:
        epoch: Index of the epoch that is going on, from 0.
        world_size: Number of ranks that the order was padded for; an interrupted epoch keeps it.
        cursor: Samples of that order which are trained on already, padding counted.
        bad_images: How many of them could not be read, padding left out; others took their place.
    """

    epoch: int
    world_size: int
    cursor: int
    bad_images: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class LossScale:
    """What mixed precision multiplies the loss by.

    Attributes:
        scale: Above 0.
        incr_count: Steps with finite gradients since it last changed.
        decr_count: Steps with others.
    """

    scale: float
    incr_count: int
    decr_count: int


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
    """

    run_id: str
    epoch: int
    step: int
    sampler: SamplerState
    metric: float | None = None
    best_metric: float | None = None
    best_epoch: int | None = None
    draws: str | None = None
    plateau: str | None = None
    loss_scale: LossScale | None = None


def format_state(state: TrainState) -> str:
    """Write state.json."""
    return json.dumps({"schema": SCHEMA, **dataclasses.asdict(state)}, indent=2) + "\n"


def parse_state(text: str | bytes) -> TrainState:
    """Read state.json.

    Raises:
        FormatError: It is broken or of another schema.
    """
    document = parse_object(text, where=_WHAT, nan_as_none=True)  # of a metric that was no number
    if need(document, "schema", int, what=_WHAT) != SCHEMA:
        raise FormatError(f"{_WHAT}: schema: expected {SCHEMA}, got {document['schema']!r}")
    sampler = need_object(document, "sampler", what=_WHAT)
    return TrainState(
        run_id=need(document, "run_id", str, what=_WHAT),
        epoch=need(document, "epoch", int, what=_WHAT, least=0, most=MAX_COUNT),
        step=need(document, "step", int, what=_WHAT, least=0, most=MAX_COUNT),
        sampler=SamplerState(
            epoch=need(sampler, "epoch", int, what=_WHAT, least=0, most=MAX_COUNT),
            world_size=need(sampler, "world_size", int, what=_WHAT, least=1, most=MAX_COUNT),
            cursor=need(sampler, "cursor", int, what=_WHAT, least=0, most=MAX_COUNT),
            bad_images=need_or_none(sampler, "bad_images", int, what=_WHAT, least=0, most=MAX_COUNT) or 0,
        ),
        metric=need_or_none(document, "metric", float, what=_WHAT),
        best_metric=need_or_none(document, "best_metric", float, what=_WHAT),
        best_epoch=need_or_none(document, "best_epoch", int, what=_WHAT, least=0, most=MAX_COUNT),
        draws=need_or_none(document, "draws", str, what=_WHAT),
        plateau=need_or_none(document, "plateau", str, what=_WHAT),
        loss_scale=_parse_scale(document) if document.get("loss_scale") is not None else None,
    )


def _parse_scale(document: Mapping[str, object]) -> LossScale:
    found, what = need_object(document, "loss_scale", what=_WHAT), f"{_WHAT}: loss_scale"
    return LossScale(
        scale=need(found, "scale", float, what=what),
        incr_count=need(found, "incr_count", int, what=what, least=0, most=MAX_COUNT),
        decr_count=need(found, "decr_count", int, what=what, least=0, most=MAX_COUNT),
    )
