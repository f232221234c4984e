"""The trials of a study in optuna's journal: claimed, measured, pruned, ended.

The journal is the only truth about trials. It is a file of lines that are appended
(optuna.storages.journal); every change here is made under one lock of the study's folder, which the system
frees when its holder is killed, and is one line of the journal or a few that can be repeated. So a driver
may be killed between any two of them, and another one finds either the state before or the state after.

A trial belongs to the study and not to a driver. It is claimed when it has a number and all its values;
from those two the names and run ids of its jobs follow, so that whoever looks at it next knows which jobs
there are to be. There is no lease, and none expires: every driver looks after all trials, and what two do
at once is the same.

What is drawn depends on the study's seed and the trial's number, and with `tpe` on what the journal holds
then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from launcher.errors import UsageError
from launcher.sweep.asha import best_of, find_milestones, value_at
from launcher.sweep.journal import open_journal, quiet
from launcher.sweep.space import Dimension, Value
from launcher.sweep.study import Study
from trainer.protocol import installation
from trainer.protocol.file_locks import hold_new

if TYPE_CHECKING:
    import optuna

_LOCK, _START_LOCK = ".lock", ".start.lock"
_STOP, _VALUES, _REASON, _SLOT, _RESUMED = "stop_at", "values", "reason", "slot:", "resumed:"
_PASSED, _PAUSED, _RESTS, _DUE = "passed", "paused_at", "rests", "due"
_PLAIN = (bool, int, float, str)


class TrialState(Enum):
    """How a trial stands, by optuna's names."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing of it is to be started or watched any more."""
        return self is not TrialState.RUNNING


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A trial as the journal has it.

    Attributes:
        number: From 0; people read it from 1.
        params: Its values by key.
        curve: Value of the first job by epochs completed.
        value: Mean of its jobs' best values; None before its end, and where it failed.
        values: Best value of each job by its label.
        stop_at: Epochs after which it was found to be worth no more; None where it was not.
        paused_at: Epochs after which ASHA has paused it; None where it goes on.
        rests: It is paused, and its job has saved and stopped.
        is_due: It is to go on after a pause, and its job was not seen to do so yet.
        reason: Why it failed; empty otherwise.
        slots: Place on this machine by label of a job.
        resumed: How often each job was taken up again, by its label.
        began_s, ended_s: Unix times, or None.
    """

    number: int
    state: TrialState
    params: Mapping[str, Value]
    curve: Mapping[int, float] = field(default_factory=dict)
    value: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    stop_at: int | None = None
    paused_at: int | None = None
    rests: bool = False
    is_due: bool = False
    reason: str = ""
    slots: Mapping[str, int] = field(default_factory=dict)
    resumed: Mapping[str, int] = field(default_factory=dict)
    began_s: float | None = None
    ended_s: float | None = None


def require_optuna() -> None:
    """Refuse where optuna is not installed, before anything is done.

    Raises:
        UsageError: It is not.
    """
    import importlib.util

    if importlib.util.find_spec("optuna") is None:
        raise UsageError(
            where="ftlaunch sweep", expected="the package optuna", got="none",
            fix=f"install it: {installation.install_command('sweep')}",
        )  # fmt: skip


class Trials:
    """The trials of a study."""

    def __init__(self, study: Study) -> None:
        """Open the journal; it is made where it is not there.

        Raises:
            UsageError: optuna is not installed.
            JournalError: The journal is broken.
        """
        require_optuna()
        self._study = study
        with self._lock():
            self._optuna, self._storage = open_journal(study, pruner=_make_pruner(study))

    def all(self) -> list[Trial]:
        """Return all trials, by number."""
        with quiet():
            frozen = self._optuna.get_trials(deepcopy=False)
        return [self._read(trial) for trial in frozen if self._is_claimed(trial)]

    def claim(self) -> Trial | None:
        """Begin a trial that nobody has begun; None where there are as many as there are to be."""
        with self._lock(), quiet():
            frozen = self._optuna.get_trials(deepcopy=False)
            for trial in frozen:  # a driver was killed while it drew
                if not self._is_claimed(trial):
                    return self._draw(trial.number, trial)
            if len(frozen) >= self.planned:
                return None
            return self._draw(len(frozen), None)

    @property
    def planned(self) -> int:
        """How many trials there are to be; of a grid no more than it has points."""
        settings, size = self._study.settings, self._study.space.grid_size
        if settings.sampler == "grid" and size is not None:
            return min(settings.trials, size)
        return settings.trials if self._study.space.dimensions else 1

    def report(self, number: int, curve: Mapping[int, float], *, prunes: bool = True) -> Trial:
        """Note what a trial's first job has measured, and find out whether it is worth going on with.

        Args:
            number: Of the trial.
            curve: Value by epochs completed; what is noted already is passed over.
            prunes: The trial can be stopped; of one that has ended the milestones are kept only, for others.
        """
        with self._lock(), quiet():
            trial = self._open_trial(number)
            frozen = self._frozen(number)
            if frozen.state.is_finished():
                return self._read(frozen)
            # what the config has itself is not stopped where the others are held against it
            settings = self._study.settings
            prunes = prunes and not (number == 0 and settings.first and settings.baseline is None)
            for epoch in sorted(curve):
                if epoch in frozen.intermediate_values or _STOP in frozen.user_attrs:
                    continue
                trial.report(curve[epoch], epoch)
                if epoch < self._study.settings.epochs and trial.should_prune() and prunes:
                    trial.set_user_attr(_STOP, epoch)
                    break
            if prunes and self._study.settings.prune == "asha":
                self._look_at_milestones(number, trial)
            return self._read(self._frozen(number))

    def _look_at_milestones(self, number: int, trial: optuna.Trial) -> None:
        """Let a trial past the milestones that it has come to, or pause it."""
        frozen = self._frozen(number)
        if frozen.user_attrs.get(_PAUSED) is not None:
            return
        reached = max(frozen.intermediate_values, default=0)
        for milestone in find_milestones(self._study.settings.epochs):
            if milestone > reached or milestone <= frozen.user_attrs.get(_PASSED, 0):
                continue
            if number not in self._best_of(milestone, is_last=False):
                trial.set_user_attr(_PAUSED, reached)
                return
            trial.set_user_attr(_PASSED, milestone)

    def _best_of(self, milestone: int, *, is_last: bool) -> list[int]:
        """Return the trials that go on of those that have come to a milestone, the best first."""
        from optuna.trial import TrialState as State

        goal, values = self._study.settings.goal, {}
        for trial in self._optuna.get_trials(deepcopy=False):
            value = value_at(trial.intermediate_values, milestone, goal=goal)
            if value is not None and trial.state is not State.FAIL:
                values[trial.number] = value
        return best_of(values, goal=goal, is_last=is_last)

    def go_on(self) -> Trial | None:
        """Have a paused trial go on that is now among the best of its milestone; None where none is.

        Of several milestones the last one comes first, of a milestone the best.
        """
        if self._study.settings.prune != "asha":
            return None
        with self._lock(), quiet():
            begun = self._optuna.get_trials(deepcopy=False)
            left = [trial for trial in begun if not trial.state.is_finished()]
            resting = [trial for trial in left if trial.user_attrs.get(_RESTS)]
            is_last = len(begun) >= self.planned and len(resting) == len(left)
            for milestone in reversed(find_milestones(self._study.settings.epochs) if resting else ()):
                best = self._best_of(milestone, is_last=is_last)
                waiting = [
                    trial for trial in resting
                    if trial.number in best and trial.user_attrs.get(_PASSED, 0) < milestone
                ]  # fmt: skip
                if waiting:
                    trial = min(waiting, key=lambda item: best.index(item.number))
                    # in this order: where a driver is killed between them, the next one pauses the trial
                    # again, or has it compared at this milestone once more
                    for key, value in ((_DUE, True), (_RESTS, False), (_PAUSED, None), (_PASSED, milestone)):
                        self._storage.set_trial_user_attr(self._id_of(trial.number), key, value)
                    return self._read(self._frozen(trial.number))
        return None

    def note_rest(self, number: int) -> None:
        """Keep that a paused trial's job has saved and stopped."""
        self._set(number, _RESTS, True)

    def note_gone_on(self, number: int) -> None:
        """Keep that the job of a trial that was paused goes on."""
        self._set(number, _DUE, False)

    def note_slot(self, number: int, label: str, slot: int) -> None:
        """Keep which place on this machine a job of a trial has."""
        self._set(number, _SLOT + label, slot)

    def note_resumed(self, number: int, label: str, times: int) -> None:
        """Keep how often a job of a trial was taken up again."""
        self._set(number, _RESUMED + label, times)

    def end(
        self, number: int, state: TrialState, *, values: Mapping[str, float] | None = None, reason: str = ""
    ) -> None:
        """Write how a trial ended; the first who does is believed.

        Args:
            number: Of the trial.
            state: A final one.
            values: Best value of each job by its label; their mean is the trial's.
            reason: Why it failed.
        """
        from optuna.trial import TrialState as State

        with self._lock(), quiet():
            if self._frozen(number).state.is_finished():
                return
            trial = self._open_trial(number)
            if values:
                trial.set_user_attr(_VALUES, dict(values))
            if reason:
                trial.set_user_attr(_REASON, reason)
            if (
                state is TrialState.PRUNED
                and (at := self._frozen(number).user_attrs.get(_PAUSED)) is not None
            ):
                trial.set_user_attr(_STOP, at)
            mean = sum(values.values()) / len(values) if values else None
            if state is TrialState.COMPLETE:
                self._optuna.tell(trial, mean)
            elif state is TrialState.PRUNED:
                self._optuna.tell(trial, state=State.PRUNED)
            else:
                self._optuna.tell(trial, state=State.FAIL)

    def importance(self) -> dict[str, float]:
        """Return the share that each key has in how good trials are; empty where too few say anything of it.

        By PED-ANOVA (Watanabe et al. 2023): which keys tell the best tenth of the trials from all of them.
        """
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
        from optuna.trial import TrialState as State

        with quiet():
            frozen = self._optuna.get_trials(deepcopy=False, states=(State.COMPLETE,))
            keys = [d.key for d in self._study.space.dimensions if len(d.ends) > 1]
            values = {trial.value for trial in frozen}
            if len(frozen) < _FEWEST_FOR_IMPORTANCE or len(values) < 2 or not keys:
                return {}
            found = get_param_importances(self._optuna, evaluator=PedAnovaImportanceEvaluator(), params=keys)
        return {key: float(share) for key, share in found.items()}

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Keep other drivers from starting jobs while it is counted how many run, and one is started."""
        with hold_new(self._study.folder / _START_LOCK):
            yield

    def _lock(self) -> Any:
        return hold_new(self._study.folder / _LOCK)

    def _is_claimed(self, trial: optuna.trial.FrozenTrial) -> bool:
        return {dimension.key for dimension in self._study.space.dimensions} <= trial.params.keys()

    def _draw(self, number: int, begun: optuna.trial.FrozenTrial | None) -> Trial:
        """Give a trial its values: a new one, or one that somebody has begun and not ended."""
        from optuna.trial import TrialState as State

        settings, space = self._study.settings, self._study.space
        fixed: dict[str, Value] = dict(settings.first) if number == 0 and settings.sampler != "grid" else {}
        if begun is None and (settings.sampler != "tpe" or fixed) and space.dimensions:
            point = fixed if settings.sampler == "tpe" else self._point(number) | fixed
            self._optuna.enqueue_trial(
                {d.key: _to_optuna(d, point[d.key]) for d in space.dimensions if d.key in point}
            )
            begun = self._frozen(number)
        self._optuna.sampler = _make_sampler(self._study, number)
        if begun is None or begun.state is State.WAITING:
            trial = self._optuna.ask()
        else:
            trial = self._open_trial(number)
        for dimension in space.dimensions:
            _suggest(trial, dimension)
        return self._read(self._frozen(number))

    def _point(self, number: int) -> dict[str, Value]:
        settings, space = self._study.settings, self._study.space
        if settings.sampler == "grid":
            # the config's own point comes first, as that of every other sampler does
            own = space.grid_number(settings.first)
            if own is not None and number <= own:
                number = own if number == 0 else number - 1
            return space.grid_point(number)
        return space.draw(seed=settings.seed, number=number)

    def _open_trial(self, number: int) -> optuna.Trial:
        import optuna

        return optuna.Trial(self._optuna, self._id_of(number))

    def _id_of(self, number: int) -> int:
        study_id = self._storage.get_study_id_from_name(self._study.name)
        return self._storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def _frozen(self, number: int) -> optuna.trial.FrozenTrial:
        return self._optuna.get_trials(deepcopy=False)[number]

    def _set(self, number: int, key: str, value: object) -> None:
        with self._lock(), quiet():
            frozen = self._frozen(number)
            if not frozen.state.is_finished() and frozen.user_attrs.get(key) != value:
                self._storage.set_trial_user_attr(self._id_of(number), key, value)

    def _read(self, trial: optuna.trial.FrozenTrial) -> Trial:
        from optuna.trial import TrialState as State

        attributes, dimensions = trial.user_attrs, self._study.space.dimensions
        began, ended = trial.datetime_start, trial.datetime_complete
        states = {
            State.COMPLETE: TrialState.COMPLETE,
            State.PRUNED: TrialState.PRUNED,
            State.FAIL: TrialState.FAILED,
        }
        return Trial(
            number=trial.number,
            state=states.get(trial.state, TrialState.RUNNING),
            params={d.key: _from_optuna(d, trial.params[d.key]) for d in dimensions if d.key in trial.params},
            curve=dict(sorted(trial.intermediate_values.items())),
            value=trial.value if trial.state is State.COMPLETE else None,
            values=dict(attributes.get(_VALUES, {})),
            stop_at=attributes.get(_STOP),
            paused_at=None if trial.state.is_finished() else attributes.get(_PAUSED),
            rests=bool(attributes.get(_RESTS)) and not trial.state.is_finished(),
            is_due=bool(attributes.get(_DUE)),
            reason=str(attributes.get(_REASON, "")),
            slots=_behind(attributes, _SLOT),
            resumed=_behind(attributes, _RESUMED),
            began_s=began.timestamp() if began else None,
            ended_s=ended.timestamp() if ended else None,
        )


_FEWEST_FOR_IMPORTANCE = 6


def _behind(attributes: Mapping[str, Any], head: str) -> dict[str, int]:
    return {key.removeprefix(head): int(value) for key, value in attributes.items() if key.startswith(head)}


def _make_pruner(study: Study) -> optuna.pruners.BasePruner:
    from optuna import pruners

    settings = study.settings
    if settings.prune == "median":
        return pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=settings.interval)
    return pruners.NopPruner()


def _make_sampler(study: Study, number: int) -> optuna.samplers.BaseSampler:
    """Make the sampler of one trial, seeded by its number: a driver that begins anew draws nothing twice."""
    from optuna import samplers

    digest = hashlib.sha256(f"{study.settings.seed}/{number}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big")
    if study.settings.sampler != "tpe":
        return samplers.RandomSampler(seed=seed)
    first = max(4, min(10, study.settings.trials // 3))
    return samplers.TPESampler(seed=seed, n_startup_trials=first, constant_liar=True)


def _suggest(trial: optuna.Trial, dimension: Dimension) -> None:
    if dimension.kind == "choice":
        trial.suggest_categorical(dimension.key, _choices(dimension))
    elif dimension.kind == "int":
        trial.suggest_int(dimension.key, int(dimension.low), int(dimension.high))
    else:
        trial.suggest_float(dimension.key, dimension.low, dimension.high, log=dimension.log)


def _choices(dimension: Dimension) -> Sequence[bool | int | float | str]:
    """Return what stands for the values in the journal: themselves, or texts of what optuna has not."""
    kinds = {type(value) for value in dimension.values}
    if len(kinds) == 1 and kinds <= {*_PLAIN}:
        return dimension.values  # type: ignore[return-value]  # all of one plain type, as was seen
    return [repr(value) for value in dimension.values]


def _to_optuna(dimension: Dimension, value: Value) -> Any:
    if dimension.kind != "choice":
        return value
    return _choices(dimension)[[repr(known) for known in dimension.values].index(repr(value))]


def _from_optuna(dimension: Dimension, value: Any) -> Value:
    if dimension.kind != "choice":
        return value
    return dimension.values[list(_choices(dimension)).index(value)]
