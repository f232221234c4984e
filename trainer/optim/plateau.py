"""The one learning rate that is no function of the step: it follows the evaluations, and has a state."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from trainer.config.schedules import ReduceOnPlateau
from trainer.protocol.codec import decode, encode


@dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    # No defaults: a state that lacks one of these is broken, and would make the rate fall at another time.
    rate: float
    best: float | None
    worse: int  # evaluations in a row
    cooling: int  # evaluations that do not count yet


class Plateau:
    """A learning rate that falls where evaluations become no better.

    Rule: paddle.optimizer.lr.ReduceOnPlateau, Paddle 3.3.1 (a test compares).
    """

    def __init__(self, spec: ReduceOnPlateau) -> None:
        self._spec = spec
        self._state = _State(rate=spec.learning_rate, best=None, worse=0, cooling=0)

    def __call__(self, step: int) -> float:
        """Return the learning rate of now, whatever the step."""
        del step
        return self._state.rate

    def observe(self, metric: float) -> None:
        """Take an evaluation in."""
        spec, state = self._spec, self._state
        if state.cooling:
            self._state = dataclasses.replace(state, cooling=state.cooling - 1)
            return
        if state.best is None or self._is_better(metric, state.best):
            state = dataclasses.replace(state, best=metric, worse=0)
        else:
            state = dataclasses.replace(state, worse=state.worse + 1)
        if state.worse > spec.patience:
            lower = max(state.rate * spec.factor, spec.min_lr)
            rate = lower if state.rate - lower > spec.epsilon else state.rate
            state = dataclasses.replace(state, rate=rate, worse=0, cooling=spec.cooldown)
        self._state = state

    def state(self) -> str:
        """Write down where it is."""
        return json.dumps(encode(self._state))

    def restore(self, text: str) -> None:
        """Go on from a state.

        Raises:
            FormatError: It is broken.
        """
        self._state = decode(_State, text, where="state.json: plateau", nan_as_none=True)

    def _is_better(self, metric: float, best: float) -> bool:
        spec = self._spec
        margin = best * spec.threshold if spec.threshold_mode == "rel" else spec.threshold
        return metric < best - margin if spec.mode == "min" else metric > best + margin
