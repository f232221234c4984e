"""Stopping all ranks after one and the same step. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from trainer.node.messages import RankState
from trainer.protocol.heartbeat import Phase

_START = Phase.START.name.lower()
BEYOND = 2  # the furthest rank may be inside the next step already and must see the request before its end


def is_computing(states: Iterable[RankState]) -> bool:
    """Say whether any rank has got beyond its start, so that there may be something to save."""
    return any(state.recorded and state.phase != _START for state in states)


def choose_stop_step(states: Iterable[RankState], *, steps_per_s: float, lead_s: float) -> int:
    """Return the step after which all ranks are to stop.

    Two beyond the furthest rank, and as many more as ranks take while the request travels: a rank that
    passed the step before it saw the request would wait in a collective for peers that have stopped.

    Args:
        states: Of all ranks, fresh.
        steps_per_s: How fast they go, or 0 while unknown.
        lead_s: Time that the request may take to reach every board.
    """
    furthest = max((state.step for state in states), default=0)
    return furthest + BEYOND + math.ceil(max(0.0, steps_per_s) * lead_s)


class Speedometer:
    """Measures the steps per second of the furthest rank between reports."""

    def __init__(self) -> None:
        self.steps_per_s = 0.0
        self._step = 0
        self._at_s: float | None = None

    def take(self, states: Iterable[RankState], *, now_s: float) -> None:
        """Take a report; ones that follow within a tenth of a second are put together."""
        step = max((state.step for state in states if state.recorded), default=None)
        if step is None:
            return
        if self._at_s is None:
            self._step, self._at_s = step, now_s
        elif now_s - self._at_s >= 0.1 and step >= self._step:
            self.steps_per_s = (step - self._step) / (now_s - self._at_s)
            self._step, self._at_s = step, now_s
