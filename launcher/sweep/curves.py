"""The curves of a study's trials, as `plot` draws those of jobs: the study's metric by epochs, best first."""

from __future__ import annotations

from launcher.errors import NotFoundError
from launcher.jobs.curves import MeasuredCurve, Panel, Plot
from launcher.sweep.lifecycle import look
from launcher.sweep.results import best_reached
from launcher.sweep.study import Study
from launcher.sweep.trial_jobs import trial_name
from launcher.sweep.trials import Trial

MOST = 6
"""Trials whose curves are drawn over one another: as many as there are colours."""


def best_first(study: Study) -> list[Trial]:
    """Return the trials that have measured something, by the best that each has reached.

    Raises:
        NotFoundError: None has.
    """
    goal = study.settings.goal
    sign = -1 if goal == "max" else 1
    found = [
        (sign * value, trial.number, trial)
        for trial in look(study).trials
        if trial.curve and (value := best_reached(trial, goal=goal)) is not None
    ]
    if not found:
        raise NotFoundError(
            where=study.name, expected="a study that has measured something", got="no evaluation yet",
            fix=f"`ftlaunch sweep status {study.name}` says how far it is",
        )  # fmt: skip
    return [trial for _, _, trial in sorted(found, key=lambda item: item[:2])]


def plot_study(study: Study) -> Plot:
    """Return the curve of each trial's first job from the study's journal; asks for no job's files.

    Raises:
        NotFoundError: No trial has measured anything.
    """
    curves = [
        MeasuredCurve(
            job=trial_name(study.name, trial.number), part="eval", points=tuple(sorted(trial.curve.items()))
        )
        for trial in best_first(study)
    ]
    metric = study.settings.metric or "value"
    return Plot(panels=(Panel(metric=metric, curves=tuple(curves), along="epoch"),))
