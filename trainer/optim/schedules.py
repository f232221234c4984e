"""Learning rate as a pure function of the optimizer step, so that nothing needs saving.

Formulas: PaddleClas d178931, ppcls/optimizer/learning_rate.py. `warmup_epoch` W and the epochs after it are
turned into steps by S = steps an epoch; at step t < W·S the rate rises linearly from `warmup_start_lr`, after
it the schedule proper runs from 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from trainer.config import schedules as specs
from trainer.config.registry import Spec
from trainer.config.schedules import Schedule
from trainer.optim.plateau import Plateau

Rate: TypeAlias = Callable[[float], float]
"""Position after the warm-up, in steps -> learning rate."""


def _constant(spec: specs.Constant, **_: float) -> Rate:
    return lambda _: spec.learning_rate


def _cosine(spec: specs.Cosine, *, total: float, per_epoch: float, **_: float) -> Rate:
    del per_epoch
    if total <= 0:
        return lambda _: spec.learning_rate
    span = spec.learning_rate - spec.eta_min
    return lambda u: spec.eta_min + span * (1 + math.cos(math.pi * u / total)) / 2


def _linear(spec: specs.Linear, *, total: float, per_epoch: float, **_: float) -> Rate:
    del per_epoch
    if total <= 0:
        return lambda _: spec.learning_rate

    def rate(u: float) -> float:
        end = total * max(1, math.ceil(u / total)) if spec.cycle else total
        share = 1 - min(u, end) / end
        return float((spec.learning_rate - spec.end_lr) * share**spec.power + spec.end_lr)

    return rate


def _step(spec: specs.Step, *, total: float, per_epoch: float, **_: float) -> Rate:
    del total
    every = max(1, int(spec.step_size * per_epoch))
    return lambda u: float(spec.learning_rate * spec.gamma ** (u // every))


def _multi_step(spec: specs.MultiStepDecay, *, total: float, per_epoch: float, **_: float) -> Rate:
    del total
    bounds = [milestone * per_epoch for milestone in spec.milestones]
    return lambda u: float(spec.learning_rate * spec.gamma ** sum(u >= bound for bound in bounds))


def _piecewise(spec: specs.Piecewise, *, total: float, per_epoch: float, **_: float) -> Rate:
    epochs, values = list(spec.decay_epochs), list(spec.values)
    if spec.learning_rate is not None:  # as there: it replaces them by a tenth every 30 epochs
        count = int(total / per_epoch) // 30 if per_epoch else 0
        epochs = [30 * (index + 1) for index in range(count)]
        values = [spec.learning_rate * 0.1**index for index in range(count + 1)]
    bounds = [epoch * per_epoch for epoch in epochs]
    return lambda u: values[sum(u >= bound for bound in bounds)]


def _cyclic(spec: specs.Cyclic, **_: float) -> Rate:
    # paddle.optimizer.lr.CyclicLR, Paddle 3.3.1
    up = spec.step_size_up
    whole = up + (spec.step_size_down or up)
    height = spec.max_learning_rate - spec.base_learning_rate

    def rate(u: float) -> float:
        cycle, place = divmod(u, whole)
        share = place / up if place <= up else (whole - place) / (whole - up)
        scale = {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": spec.exp_gamma**u}[spec.mode]
        return float(spec.base_learning_rate + height * share * scale)

    return rate


def _one_cycle(spec: specs.OneCycleLR, *, steps: float, **_: float) -> Rate:
    # paddle.optimizer.lr.OneCycleLR, Paddle 3.3.1; PaddleClas counts all steps of the run for it.
    first, top, end = (
        spec.max_learning_rate / spec.divide_factor,
        spec.max_learning_rate,
        spec.end_learning_rate,
    )
    up = spec.phase_pct * steps - 1
    ends, rates = [0, up, steps - 1], [first, top, end]
    if spec.three_phase:
        ends, rates = [0, up, 2 * up, steps - 1], [first, top, first, end]

    def rate(u: float) -> float:
        phase = next((index for index, at in enumerate(ends[1:-1]) if u <= at), len(ends) - 2)
        span = ends[phase + 1] - ends[phase]
        share = (u - ends[phase]) / span if span else 1.0
        if spec.anneal_strategy == "cos":
            share = (1 - math.cos(math.pi * share)) / 2
        return rates[phase] + (rates[phase + 1] - rates[phase]) * share

    return rate


def _cosine_fixmatch(spec: specs.CosineFixmatch, *, steps: float, **_: float) -> Rate:
    warm = spec.num_warmup_steps

    def rate(u: float) -> float:
        if u < warm:
            return spec.learning_rate * u / warm
        progress = (u - warm) / max(1, steps - warm)
        return spec.learning_rate * max(0.0, math.cos(math.pi * spec.num_cycles * progress))

    return rate


SCHEDULE_BUILDERS: Mapping[type[Spec], Callable[..., Rate | Plateau]] = {
    specs.Constant: _constant,
    specs.Cosine: _cosine,
    specs.Linear: _linear,
    specs.Step: _step,
    specs.MultiStepDecay: _multi_step,
    specs.Piecewise: _piecewise,
    specs.Cyclic: _cyclic,
    specs.OneCycleLR: _one_cycle,
    specs.CosineFixmatch: _cosine_fixmatch,
    specs.ReduceOnPlateau: lambda spec, **_: Plateau(spec),
}


class Shortenable:
    """A learning rate whose rest can be run through faster (`trainer.engine.time_budget` says how)."""

    def __init__(self, rate: Callable[[float], float], *, steps_per_epoch: int) -> None:
        """`rate` takes any place, in steps, between steps too."""
        self._rate = rate
        self._per_epoch = steps_per_epoch
        self._at, self._faster = 0.0, 1.0

    def __call__(self, step: int) -> float:
        """Return the learning rate that optimizer step `step` uses."""
        at = self._at * self._per_epoch
        return self._rate(step if step <= at else at + (step - at) * self._faster)

    def shorten(self, *, epochs: int, of_epochs: int, at: float) -> None:
        """Come to the end of `of_epochs` after `epochs`, from the place `at` on, all in epochs."""
        self._at = at
        self._faster = (of_epochs - at) / (epochs - at) if epochs > at else 1.0


def build_schedule(spec: Schedule, *, epochs: int, steps_per_epoch: int) -> Shortenable | Plateau:
    """Return the learning rate that optimizer step t, from 0, uses.

    Args:
        spec: Declared schedule.
        epochs: Of the whole run.
        steps_per_epoch: Optimizer steps.
    """
    per_epoch = 1 if spec.by_epoch else steps_per_epoch
    warm_epochs = min(spec.warmup_epoch, epochs) if isinstance(spec, specs.WarmupSchedule) else 0
    warm = round(warm_epochs * per_epoch)
    builder: Any = SCHEDULE_BUILDERS[type(spec)]  # each takes its own spec
    rate: Rate | Plateau = builder(
        spec, total=(epochs - warm_epochs) * per_epoch, per_epoch=per_epoch, steps=epochs * steps_per_epoch
    )
    if isinstance(rate, Plateau):
        return rate
    base = spec.max_learning_rate if isinstance(spec, specs.OneCycleLR) else rate(0)
    start = spec.warmup_start_lr if isinstance(spec, specs.WarmupSchedule) else 0.0

    def at(step: float) -> float:
        position = step // steps_per_epoch if spec.by_epoch else step
        if position < warm:
            return float(start + (base - start) * position / warm)
        return rate(position - warm)

    return Shortenable(at, steps_per_epoch=steps_per_epoch)
