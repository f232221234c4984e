"""Where the time of a training goes, on this rank: measured here, published, written down and said."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from trainer.checkpoints.state import TimeBudgetState, TrainState
from trainer.engine.liveness import Liveness
from trainer.engine.run_log import RunLog
from trainer.engine.setup import Setup
from trainer.engine.time_budget import Choice, TimeBudget
from trainer.protocol.durations import format_duration
from trainer.protocol.limits import usable_cores
from trainer.protocol.step_times import StepTimes, find_waiting

_WINDOW_S, _WINDOW_STEPS = 10.0, 5
"""What is published is of at least so many steps, and of so many seconds or a printed step."""
_PARTS = ("step_s", "wait_s", "copy_s", "peers_s", "fetch_s")


class _Sums:
    """Seconds of some steps, by part."""

    def __init__(self) -> None:
        self.steps = 0
        self.seconds = dict.fromkeys(_PARTS, 0.0)

    def add(self, parts: Mapping[str, float]) -> None:
        self.steps += 1
        for name, seconds in parts.items():
            self.seconds[name] += seconds

    def times(self, room: StepTimes) -> StepTimes:
        """Return the means of the steps, beside what `room` says of all else."""
        count = max(1, self.steps)
        means: dict[str, Any] = {name: max(0.0, seconds / count) for name, seconds in self.seconds.items()}
        return dataclasses.replace(room, steps=self.steps, **means)


class Timekeeper:
    """Of one rank. `Global.time_budget` chooses by what it measures."""

    def __init__(
        self, setup: Setup, state: TrainState, *, liveness: Liveness, clock: Callable[[], float]
    ) -> None:
        """`clock` measures in seconds."""
        self._setup = setup
        self._liveness = liveness
        self.clock = clock
        wanted = setup.options.run.time_budget is not None
        self._budget = TimeBudget(setup, state, clock=clock) if wanted else None
        self._window, self._epoch = _Sums(), _Sums()
        self._room = StepTimes(
            steps=0, step_s=0.0, wait_s=0.0, copy_s=0.0, peers_s=0.0, fetch_s=0.0, eval_s=0.0, save_s=0.0,
            workers=0, ranks=max(1, setup.ranks.ranks_here), cores=usable_cores(),
        )  # fmt: skip

    def begin_epoch(self) -> None:
        """Be told that the steps of an epoch begin."""
        self._epoch = _Sums()
        if self._budget is not None:
            self._budget.epoch_begins()

    def add(
        self, *, step_s: float, read_s: float, copy_s: float, peers_s: float, fetch_s: float, printed: bool
    ) -> None:
        """Be told of a step; `read_s` is from asking for the batch to having it, copying included."""
        parts = dict(zip(_PARTS, (step_s, max(0.0, read_s - copy_s), copy_s, peers_s, fetch_s), strict=True))
        self._window.add(parts)
        self._epoch.add(parts)
        window = self._window
        if window.steps >= _WINDOW_STEPS and (printed or window.seconds["step_s"] >= _WINDOW_S):
            self._liveness.times = self._window.times(self._measure_room())
            self._window = _Sums()

    def step_done(self, step: int) -> Choice | None:
        """Be told that `step` optimizer steps are done; says what the time budget has chosen, if anything."""
        return self._budget.step_done(step) if self._budget is not None else None

    def epoch_done(self, completed: int, *, is_saved: bool = False) -> Choice | None:
        """Be told that an epoch is done; says what the time budget has chosen, if anything."""
        return self._budget.epoch_done(completed, is_saved=is_saved) if self._budget is not None else None

    def evaluated(self, since_s: float) -> None:
        """Be told when an evaluation began that is over now."""
        took_s = self.clock() - since_s
        self._room = dataclasses.replace(self._room, eval_s=self._room.eval_s + took_s)
        if self._budget is not None:
            self._budget.evaluated(took_s)

    def saved(self, since_s: float) -> None:
        """Be told when a save began that no longer keeps the training."""
        took_s = self.clock() - since_s
        self._room = dataclasses.replace(self._room, save_s=self._room.save_s + took_s)
        if self._budget is not None:
            self._budget.saved(took_s)

    def tell_epoch(self, run_log: RunLog, *, epoch: int, epochs: int, step: int) -> None:
        """Write down where the time of an epoch's steps went, and say where they waited for images."""
        times = self._epoch.times(self._measure_room())
        parts = {name: round(getattr(times, name), 6) for name in _PARTS}
        run_log.row(
            "times", epoch=epoch, step=step, steps=times.steps, **parts, compute_s=round(times.compute_s, 6),
            eval_s=round(times.eval_s, 6), save_s=round(times.save_s, 6), workers=times.workers,
        )  # fmt: skip
        found = find_waiting(times, saves_decoding=self._setup.train_loader.saves_decoding)
        if found is not None:
            run_log.say(f"[Train][Epoch {epoch}/{epochs}]{found.sentence}; {found.fix}")

    def say_end(self, run_log: RunLog) -> None:
        """Say how a time budget was kept, where there is one."""
        if self._budget is not None:
            budget, spent = (format_duration(s) for s in (self._budget.budget_s, self._budget.spent_s))
            run_log.say(f"time budget {budget}: took {spent}")

    def budget_state(self) -> TimeBudgetState | None:
        """Return what a checkpoint keeps of the time budget."""
        return self._budget.state() if self._budget is not None else None

    def _measure_room(self) -> StepTimes:
        return dataclasses.replace(self._room, workers=self._setup.train_loader.worker_count)
