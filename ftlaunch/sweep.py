"""Studies: several jobs of a config with other values each, and which of them was the best."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlaunch.arguments import as_texts, make_options
from ftlaunch.boundary import api
from ftlaunch.job import known_backend, log_note
from launcher.errors import NotFoundError
from launcher.jobs.notes import Note
from launcher.jobs.options import SubmitOptions
from launcher.plan.handle import BackendKind
from trainer.config.overrides import Overrides, spell_overrides

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ftlaunch.keywords import SweepKeywords
    from launcher.sweep.driver import Picture
    from launcher.sweep.space import Value
    from launcher.sweep.study import Study
    from launcher.sweep.trials import Trial as StudyTrial


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A trial of a study, in the words and numbers of `ftlaunch sweep status --output json`.

    Attributes:
        number: From 1, as commands and pages count.
        state: `running`, `complete`, `pruned` or `failed`.
        params: What it has differently, by key of the config.
        value: Mean of its jobs' best values of the study's metric; None before its end, and where it failed.
        values: Best value of each job by its label: empty, or such as `s0` where seeds are repeated.
        curve: Value of the first job by epochs completed.
        jobs: Names of its jobs, for `find_job`; one that was not begun yet is found by none.
        pruned_at: Epochs after which it was found to be worth no more; None where it was not.
        reason: Why it failed; empty otherwise.
    """

    number: int
    state: str
    params: Mapping[str, Value]
    value: float | None
    values: Mapping[str, float]
    curve: Mapping[int, float]
    jobs: tuple[str, ...]
    pruned_at: int | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """A study as it stood when it was asked about.

    Attributes:
        name: Its own; `ftlaunch status NAME` shows it.
        state: `Running`, `Paused` (no driver goes on with it), `Cancelled`, `Failed` or `Succeeded`.
        metric: What is compared, such as `top1`; empty where the first evaluation is to tell it.
        goal: `max` or `min`: which values of the metric are the better ones.
        trials: All that have begun, by number.
        best: The best of those that ended by themselves, or None.
        gain: Whether that is better than the first trial, or than what it was held against, by more than
            chance, as a sentence.
        folder: Of the study; `winner.yaml` in it is the best trial's config.
        against: Name of the job or study that the best is held against; None for the first trial.
    """

    name: str
    state: str
    metric: str
    goal: str
    trials: tuple[Trial, ...]
    best: Trial | None
    gain: str
    folder: Path
    against: str | None = None


@api
def sweep(
    config: str | Path,
    over: Mapping[str, object] | Sequence[str] | str,
    *,
    on: BackendKind | None = None,
    set: Overrides = (),
    options: Mapping[str, Any] | None = None,
    notes: Callable[[Note], None] = log_note,
    **asked: Unpack[SweepKeywords],
) -> Sweep:
    """Try several values of a config's keys, a job each, and return once all trials have ended.

    Args:
        config: The file.
        over: What is varied: `{"Optimizer.lr.learning_rate": "log(1e-4,1e-1)", "image_size": [192, 224]}`, or
            one or several texts such as `seed=3`.
        on: `kubernetes`, `docker` or `local`; None for what settings say, else kubernetes.
        set: Changes of the config, for all trials.
        options: As of `submit`, for all trials.
        notes: Told what the command would say; the logger `ftlaunch` by default.
        asked: As of the command: trials, parallel, metric, goal, sampler, prune, name, seed, per_gpu,
            against; what is left out is chosen.

    Raises:
        ConfigError: The config is refused; all its problems are in `problems`.
        UsageError: What is asked for cannot be; all problems are in `problems`.
        UnreachableError: The cluster does not let us in.
    """
    from launcher.sweep import lifecycle
    from launcher.sweep.begin import SweepRequest, plan_study

    texts = tuple(_spell(*item) for item in over.items()) if isinstance(over, Mapping) else as_texts(over)
    submit = make_options(
        SubmitOptions, on=known_backend(on), overrides=spell_overrides(set), **(options or {})
    )
    request = make_options(SweepRequest, config=Path(config), over=texts, options=submit, **asked)
    planned = plan_study(request, notes=notes)
    study = lifecycle.begin(planned, notes=notes)
    return _describe(study, lifecycle.go_on(study, planned.sharing, pause=time.sleep, notes=notes))


@api
def resume_sweep(
    name: str | None = None,
    *,
    trials: int | None = None,
    parallel: int | None = None,
    notes: Callable[[Note], None] = log_note,
) -> Sweep:
    """Go on with a study whose driver was left or killed, or that was cancelled, until it ends.

    Args:
        name: Its name; None for the one that was begun last.
        trials: How many there are to be; None for as many as before.
        parallel: How many at once; None for as many as before.
        notes: As of `sweep`.

    Raises:
        NotFoundError: There is no such study.
        UsageError: A job of it is still stopping, or it was begun in another folder.
    """
    from launcher.sweep import lifecycle
    from launcher.sweep.study import find_study

    study = lifecycle.release(find_study(name), trials=trials, parallel=parallel, notes=notes)
    sharing = lifecycle.share_again(study, parallel=parallel)
    return _describe(study, lifecycle.go_on(study, sharing, pause=time.sleep, notes=notes))


@api
def find_sweep(name: str | None = None) -> Sweep:
    """Return how a study stands now; the one that was begun last where none is named.

    Raises:
        NotFoundError: There is none.
    """
    from launcher.sweep.lifecycle import look
    from launcher.sweep.study import find_study

    study = find_study(name)
    return _describe(study, look(study))


@api
def best_config(name: str | None = None) -> str:
    """Return the config of a study's best trial, with its values put in.

    Raises:
        NotFoundError: There is no such study, or no trial of it has ended by itself.
    """
    from launcher.sweep.lifecycle import look
    from launcher.sweep.results import find_winner, write_winner
    from launcher.sweep.study import find_study

    study = find_study(name)
    winner = find_winner(look(study).trials, goal=study.settings.goal)
    if winner is None:
        raise NotFoundError(where=study.name, expected="a trial that has ended by itself", got="none")
    return write_winner(study, winner)


@api
def sweep_report(name: str | None = None) -> Path:
    """Write a study's page as it stands now, and return its path.

    Raises:
        NotFoundError: There is no such study.
    """
    from launcher.sweep.lifecycle import look
    from launcher.sweep.page import write_page
    from launcher.sweep.study import find_study

    study = find_study(name)
    return write_page(study, look(study))


@api
def suggest_sweep(config: str | Path, *, set: Overrides = (), measure: bool = False) -> str:
    """Return a small first study for a config, as the text of a file that `ftlaunch sweep` takes.

    Args:
        config: The file.
        set: Changes of the config.
        measure: Find the learning rate by `trainer lr-find` first.

    Raises:
        ConfigError: The config is refused; all its problems are in `problems`.
        UsageError: A rate is to be measured and none is found.
    """
    from launcher.sweep.suggest import format_suggestion, suggest

    options = SubmitOptions(overrides=spell_overrides(set))
    return format_suggestion(suggest(Path(config), options, measures=measure))


def _spell(key: str, values: object) -> str:
    if isinstance(values, str):
        return f"{key}={values}"
    return f"{key}={list(values)!r}" if isinstance(values, Sequence) else f"{key}={values!r}"


def _describe(study: Study, picture: Picture) -> Sweep:
    from launcher.sweep.lifecycle import state_of
    from launcher.sweep.results import describe_gain, find_winner

    settings = study.settings
    best = find_winner(picture.trials, goal=settings.goal)
    return Sweep(
        name=study.name, state=state_of(study, picture), metric=settings.metric, goal=settings.goal,
        trials=tuple(_describe_trial(study, trial) for trial in picture.trials), folder=study.folder,
        best=None if best is None else _describe_trial(study, best),
        gain=describe_gain(picture.trials, settings),
        against=settings.baseline.name if settings.baseline is not None else None,
    )  # fmt: skip


def _describe_trial(study: Study, trial: StudyTrial) -> Trial:
    from launcher.sweep.trial_jobs import jobs_of

    return Trial(
        number=trial.number + 1, state=trial.state.value, params=dict(trial.params), value=trial.value,
        values=dict(trial.values), curve=dict(trial.curve), pruned_at=trial.stop_at, reason=trial.reason,
        jobs=tuple(job.name for job in jobs_of(study, trial.number)),
    )  # fmt: skip
