"""When ASHA looks at a trial, and which ones go on (Li et al. 2020, algorithm 2). Pure.

A trial that comes to a milestone (a rung of the paper) is let past it where it is among the best third of
all that have come so far; else it is paused, and goes on as soon as it is among them. The usual short cut is
to end such a trial at once: then it is decided by who happens to come early. That is what lost the winner of
studies whose trials end close together (`benchmarks/sweep_asha.py`).

What is compared is the best evaluation up to the milestone, as the value of a job is its best evaluation:
those of the first epochs go up and down.
"""

from __future__ import annotations

from collections.abc import Mapping

ETA = 3
"""Of the trials that reach a milestone one in so many goes on; the next one is so many times as far."""
_FIRST = 6
"""The first milestone is after one in so many epochs: a study of many trials then takes a third of all
epochs, 1/6 for every trial, another third for a third of them, and the last half for a ninth. The values
after a ninth of the epochs say too little."""


def find_milestones(epochs: int) -> tuple[int, ...]:
    """Return the epochs after which trials are compared, rising; none where there is only one epoch."""
    found, milestone = [], max(1, round(epochs / _FIRST))
    while ETA * milestone <= 2 * epochs:  # in the last third there is nothing to save
        found.append(milestone)
        milestone *= ETA
    return tuple(found)


def value_at(curve: Mapping[int, float], milestone: int, *, goal: str) -> float | None:
    """Return the best evaluation up to the first one at or after a milestone; None where there is none yet.

    Args:
        curve: Value by epochs completed.
        milestone: Epochs.
        goal: `max` or `min`.
    """
    end = min((epoch for epoch in curve if epoch >= milestone), default=None)
    if end is None:
        return None
    values = [value for epoch, value in curve.items() if epoch <= end]
    return max(values) if goal == "max" else min(values)


def best_of(values: Mapping[int, float], *, goal: str, is_last: bool) -> list[int]:
    """Return which trials go on of those that have come to a milestone: the best third, the best first.

    Of equal ones the earlier comes first.

    Args:
        values: By trial.
        goal: `max` or `min`.
        is_last: No other trial will come to it: one goes on, also of fewer than three.
    """
    sign = -1 if goal == "max" else 1
    ranked = sorted(values, key=lambda number: (sign * values[number], number))
    count = len(ranked) // ETA
    return ranked[: max(count, 1) if is_last else count]
