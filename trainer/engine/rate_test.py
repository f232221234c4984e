"""Finds a learning rate by a short range test: the rate grows geometrically until the loss does, too.

The method is Smith's (2017, arXiv:1506.01186, section 3.3), with the rate growing by a constant factor a step
as in fastai's finder. Proposed is the rate at which the smoothed loss falls fastest. Nothing is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from trainer.config.root import TrainConfig
from trainer.data.loader import Batch, Loader
from trainer.engine.ends import DivergedError
from trainer.engine.journal import SilentJournal
from trainer.engine.liveness import Liveness
from trainer.engine.resume import start_from_pretrained
from trainer.engine.run import join_ranks, seed_generators
from trainer.engine.setup import build_setup, load_lists, wrap
from trainer.engine.signals import StopSignal
from trainer.engine.step import Stepper
from trainer.models.weights_store import WeightsStore
from trainer.ranks import Ranks

SMOOTHING = 0.9
"""Weight of the past in the running mean of the losses."""
TOO_HIGH = 4.0
"""The test ends where the smoothed loss is so many times its lowest."""
_EDGE = 5
"""Points at both ends that are not proposed: the first mean is of few steps, the last of a growing loss."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RateTest:
    """What a test saw.

    Attributes:
        rates: Learning rate of each step.
        losses: Smoothed loss of each step.
        proposal: Where the loss falls fastest.
        lowest: Rate at the lowest smoothed loss; training at it or above is near to diverging.
        diverged: Whether the test ended because the loss grew.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    proposal: float
    lowest: float
    diverged: bool


def find_rate(
    config: TrainConfig, *, low: float, high: float, steps: int, store: WeightsStore,
    report: Callable[[int], None] = lambda _: None,
) -> RateTest:  # fmt: skip
    """Train a few steps from the weights that training would begin with.

    Args:
        config: Checked; its schedule is replaced.
        low: Rate of the first step.
        high: Rate of the last step, where the loss does not grow before.
        steps: Optimizer steps.
        store: Where pretrained weights are kept.
        report: Called with the number of steps done.

    Raises:
        DataError: A list or an image is refused.
        WeightsRefusedError: The pretrained weights cannot be had or used.
        DivergedError: The loss grows from the first steps on, or is no number there.
    """
    lists, ranks = load_lists(config), Ranks()
    collective = join_ranks(config, ranks)
    seed_generators(config)
    setup = build_setup(config, lists, ranks=ranks, collective=collective)
    start_from_pretrained(config, setup.model, store=store, journal=SilentJournal())
    growth = (high / low) ** (1 / max(1, steps - 1))
    setup = replace(wrap(setup), schedules=[lambda step: low * growth**step for _ in setup.schedules])
    stepper = Stepper(setup, liveness=Liveness(None, local_rank=0), stop=StopSignal())
    setup.network.train()
    rates: list[float] = []
    losses: list[float] = []
    mean, diverged, parts = 0.0, False, 0.0
    for batch in _endless(setup.train_loader):
        result = stepper.step(batch, step=len(rates))
        parts += result.loss / setup.update_freq
        if not result.applied:
            continue
        mean, parts = SMOOTHING * mean + (1 - SMOOTHING) * parts, 0.0
        smooth = mean / (1 - SMOOTHING ** (len(rates) + 1))  # without the zero that the mean began with
        if not math.isfinite(smooth) or (losses and smooth > TOO_HIGH * min(losses)):
            diverged = True
            break
        rates.append(result.learning_rate)
        losses.append(smooth)
        report(len(rates))
        if len(rates) == steps:
            break
    return _judge(rates, losses, diverged=diverged)


def _judge(rates: list[float], losses: list[float], *, diverged: bool) -> RateTest:
    inner = range(_EDGE, len(losses) - _EDGE)
    if not inner:
        raise DivergedError(
            f"expected a loss that falls at first, got {len(losses)} steps before it grew; lower --from"
        )
    # Steps are equally far apart in log(rate); the slope over both neighbours is steadier than over one.
    steepest = min(inner, key=lambda index: losses[index + 1] - losses[index - 1])
    lowest = min(range(len(losses)), key=losses.__getitem__)
    if lowest < _EDGE:
        raise DivergedError(
            f"expected a loss that falls at first, got its lowest at step {lowest + 1}; lower --from, or "
            "look at the labels and the weights"
        )
    return RateTest(
        rates=tuple(rates), losses=tuple(losses), proposal=float(f"{rates[min(steepest, lowest)]:.2g}"),
        lowest=rates[lowest], diverged=diverged,
    )  # fmt: skip


def _endless(loader: Loader) -> Iterator[Batch]:
    epoch = 0
    while True:
        batches = loader.batches(epoch)
        try:
            yield from batches
        finally:
            batches.close()
        epoch += 1
