"""Fits the length of a training into a time: fewer epochs, and the schedule of the rate run through faster.

`Global.time_budget` shortens the schedule, not the run. A run that is merely cut off at a time ends with
a learning rate that never came down. So the number of epochs is chosen once, as early as the speed is known,
and what is left of the schedule is run through so much faster: with N epochs in the config, E of them chosen
and p0 the place of the choice (in epochs, a fraction), the rate at place p is that which the config has at

    p0 + (p − p0) · (N − p0) / (E − p0)

which is continuous at p0 and ends where the config's schedule ends. It is the same for every schedule, by
step or by epoch, with its warm-up, so that none of them has to know of it.

When: rank 0 looks at its clock twice. After a few steps, where an epoch turns out so long that hardly any
fit: with an evaluation estimated, since a choice after the first epoch would come too late. Else after the
first whole epoch, with its evaluation and its save measured. Its answer is handed to all ranks, and stands in
the state, so that a resumed run keeps it: two measurements never give the same number.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import paddle

from trainer.checkpoints.state import TimeBudgetState, TrainState
from trainer.config.sections import GlobalSection
from trainer.engine.setup import LoopOptions, Setup
from trainer.optim.schedules import Shortenable
from trainer.protocol.durations import format_duration

RESERVE = 0.05
"""Share of the budget that is left for what was not measured: a slower hour, a slower disk."""
SKIPPED, MEASURED = 3, 20
"""Steps that are left out at the beginning, where memory and kernels are found, and that are measured."""
FEW = 3
"""Where fewer epochs fit than this, the choice is made within the first one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochCost:
    """What an epoch takes.

    Attributes:
        train_s: Its steps.
        eval_s: An evaluation, where one is due after it.
        save_s: A checkpoint.
    """

    train_s: float
    eval_s: float
    save_s: float


def is_due(run: GlobalSection, completed: int, *, evaluates: bool) -> bool:
    """Tell whether an evaluation comes after so many epochs."""
    # The last epoch always: a run that is shorter than its interval would end without a metric, and
    # without best weights to predict with.
    due = completed % run.eval_interval == 0 or completed == run.epochs
    return evaluates and due and completed > run.start_eval_epoch - 1


def fit_epochs(
    run: GlobalSection, cost: EpochCost, *, evaluates: bool, at: float, left_s: float
) -> tuple[int, float]:
    """Return how many epochs end in a time, at least the one that is going on, and what they still take.

    Args:
        run: Its `epochs` are the most that are given.
        cost: Of an epoch.
        evaluates: Whether there are evaluations at all.
        at: Where the run is, in epochs: 2.25 is a quarter of the third.
        left_s: Seconds that are left.
    """
    completed, chosen, taken_s = int(at), 0, 0.0
    before_s = 0.0  # of all epochs but the last
    for epochs in range(completed + 1 if at > completed else max(1, completed), run.epochs + 1):
        ends = run.model_copy(update={"epochs": epochs})
        last_s = cost.eval_s if is_due(ends, epochs, evaluates=evaluates) and epochs > completed else 0.0
        whole_s = before_s + last_s + (epochs - at) * cost.train_s + (epochs - completed) * cost.save_s
        if chosen and whole_s > left_s:
            break
        chosen, taken_s = epochs, whole_s
        if epochs > completed and is_due(run, epochs, evaluates=evaluates) and epochs != run.epochs:
            before_s += cost.eval_s
    return chosen, taken_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What rank 0 has chosen, and what it says of it."""

    epochs: int
    at: float
    said: str


class TimeBudget:
    """Measures and chooses; every rank has one and calls the same functions in the same order."""

    def __init__(self, setup: Setup, state: TrainState, *, clock: Callable[[], float]) -> None:
        """Begin to measure.

        Args:
            setup: With `Global.time_budget`; its epochs are those of the config, or were chosen before.
            state: Where the run is; what earlier attempts have spent counts.
            clock: Measures in seconds.
        """
        options = setup.options
        run, found = options.run, state.time_budget
        assert run.time_budget is not None
        self.budget_s = run.time_budget
        chosen = found is not None and found.budget_s == run.time_budget and found.epochs == run.epochs
        self._decided = found if chosen else None
        self._of_epochs = found.of_epochs if found is not None and chosen else run.epochs
        self._spent_s = found.spent_s if found is not None else 0.0
        self._run = run
        self._per_epoch = options.steps_per_epoch
        self._evaluates = setup.eval_loader is not None
        self._eval_share = 0.0  # of an epoch's steps, if an image takes as long as in training
        if setup.eval_loader is not None:
            trained = len(setup.train_loader.samples) * options.batches / len(setup.train_loader)
            self._eval_share = len(setup.eval_loader.samples) / max(1.0, trained)
        self._collective = setup.collective
        self._clock = clock
        self._began_s = self._last_s = clock()
        self._steps = 0
        self._measured_s = 0.0
        self._eval_s: float | None = None
        self._save_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether nothing has been chosen yet."""
        return self._decided is None

    @property
    def spent_s(self) -> float:
        """Seconds that all attempts have trained, as far as their checkpoints know."""
        return self._spent_s + self._clock() - self._began_s

    def state(self) -> TimeBudgetState:
        """Return what a checkpoint keeps."""
        if self._decided is not None:
            return replace(self._decided, spent_s=self.spent_s)
        return TimeBudgetState(budget_s=self.budget_s, of_epochs=self._of_epochs, spent_s=self.spent_s)

    def epoch_begins(self) -> None:
        """Be told that the steps of an epoch begin."""
        self._last_s = self._now()

    def step_done(self, step: int) -> Choice | None:
        """Be told that `step` steps are done since the beginning of the run; choose where few epochs fit."""
        if not self.is_open:
            return None
        self._steps += 1
        exact = self._steps in (SKIPPED, SKIPPED + MEASURED)
        now_s = self._now() if exact else self._clock()
        if SKIPPED < self._steps <= SKIPPED + MEASURED:
            self._measured_s += now_s - self._last_s
        self._last_s = now_s
        if self._steps != SKIPPED + MEASURED:
            return None
        cost = self._cost()
        at = step / self._per_epoch
        epochs, more_s = self._fit(cost, at)
        few = at < epochs < min(at + FEW, self._of_epochs)
        choice = Choice(epochs=epochs, at=at, said=self._say(cost, epochs, more_s))
        return self._hand_out(choice if few or more_s > self._left_s else None)

    def evaluated(self, seconds: float) -> None:
        """Be told what an evaluation took."""
        self._eval_s = seconds

    def saved(self, seconds: float) -> None:
        """Be told how long a checkpoint kept the training."""
        self._save_s = seconds

    def epoch_done(self, completed: int, *, is_saved: bool = False) -> Choice | None:
        """Choose after an epoch, where nothing is chosen and enough was measured.

        Args:
            completed: Epochs completed.
            is_saved: The epoch's checkpoint is written. Before, only an end is chosen, which it must know.
        """
        if not self.is_open or not self._steps:
            return None
        cost = self._cost()
        epochs, more_s = self._fit(cost, float(completed))
        is_measured = self._steps >= SKIPPED + MEASURED or epochs < completed + FEW
        choice = None
        if epochs == completed or (is_saved and is_measured):
            said = self._say(cost, epochs, more_s)
            choice = Choice(epochs=epochs, at=float(completed), said=said)
        return self._hand_out(choice)

    def _cost(self) -> EpochCost:
        measured = min(self._steps, SKIPPED + MEASURED) - SKIPPED
        # Where an epoch is shorter than what is left out, its first steps are all that there is.
        step_s = self._measured_s / measured if measured > 0 else self.spent_s / self._steps
        train_s = step_s * self._per_epoch
        eval_s = self._eval_s if self._eval_s is not None else self._eval_share * train_s
        return EpochCost(train_s=train_s, eval_s=eval_s, save_s=self._save_s)

    @property
    def _left_s(self) -> float:
        return self.budget_s * (1 - RESERVE) - self.spent_s

    def _fit(self, cost: EpochCost, at: float) -> tuple[int, float]:
        whole = self._run.model_copy(update={"epochs": self._of_epochs})
        return fit_epochs(whole, cost, evaluates=self._evaluates, at=at, left_s=self._left_s)

    def _now(self) -> float:
        if self._run.on_gpu and paddle.is_compiled_with_cuda():
            paddle.device.synchronize()  # steps are only sent off before; twice a run
        return self._clock()

    def _hand_out(self, choice: Choice | None) -> Choice | None:
        own = None if choice is None else json.dumps([choice.epochs, choice.at, choice.said])
        text = self._collective.broadcast_text(own)
        if text is None:
            return None
        epochs, at, said = json.loads(text)
        self._decided = TimeBudgetState(
            budget_s=self.budget_s, of_epochs=self._of_epochs, spent_s=0.0, epochs=epochs, at=at
        )
        return Choice(epochs=epochs, at=at, said=said)

    def _say(self, cost: EpochCost, epochs: int, more_s: float) -> str:
        beside = [
            f"{what} {format_duration(seconds)}"
            for what, seconds in (("evaluation", cost.eval_s), ("checkpoint", cost.save_s))
            if seconds >= 1
        ]
        guessed = "about " if self._eval_s is None and cost.eval_s >= 1 else ""
        with_these = f" ({guessed}{' and '.join(beside)} in it)" if beside else ""
        epoch_s = cost.train_s + cost.eval_s + cost.save_s
        head = (
            f"time budget {format_duration(self.budget_s)}: an epoch takes {format_duration(epoch_s)}"
            f"{with_these}"
        )
        late_s = self.spent_s + more_s - self.budget_s
        if late_s > 0:
            return (
                f"warning: {head}, and the one that is going on ends about {format_duration(late_s)} late: "
                f"the run ends after it; Global.iter_per_epoch makes an epoch shorter"
            )
        if epochs == self._of_epochs:
            return f"{head}: all {epochs} epochs fit, nothing is shortened"
        fit = f"{epochs} of {self._of_epochs} epochs fit"
        return f"{head}: {fit}, and the learning rate's schedule ends with them"


def matching(options: LoopOptions, state: TrainState) -> TimeBudgetState | None:
    """Return what a state knows of the budget that is asked for now; None where that is another one."""
    found, run = state.time_budget, options.run
    if found is None or found.budget_s != run.time_budget or found.of_epochs != run.epochs:
        return None
    return found


def shorten(setup: Setup, epochs: int, at: float) -> Setup:
    """Have a run end after `epochs`, and the schedules with it, from the place `at` (in epochs) on."""
    run = setup.options.run
    for schedule in setup.schedules:
        if isinstance(schedule, Shortenable):
            schedule.shorten(epochs=epochs, of_epochs=run.epochs, at=at)
    return replace(setup, options=replace(setup.options, run=run.model_copy(update={"epochs": epochs})))


def restore_budget(setup: Setup, state: TrainState) -> Setup:
    """Go on with the epochs that were chosen before, where they were for the same budget."""
    found = matching(setup.options, state)
    if found is None or found.epochs is None or found.at is None:
        return setup
    return shorten(setup, found.epochs, found.at)
