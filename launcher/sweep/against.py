"""The run that a study's best is held against: found, checked and kept before anything is begun.

It must have ended, have been measured by the study's metric, and on the study's images: a difference between
two lists says nothing of two settings.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from launcher.backends.states import JobState
from launcher.errors import LaunchError, NotFoundError, UsageError
from launcher.jobs.changes import read_settings
from launcher.jobs.curves import rows_of
from launcher.jobs.host_folders import find_host_folders, hash_lists
from launcher.jobs.listing import ask_for
from launcher.jobs.metrics import read_metrics_here
from launcher.jobs.notes import Note, Notes
from launcher.jobs.prepare import Draft, plan_job
from launcher.jobs.resolve import open_job
from launcher.names import job_name
from launcher.plan.handle import parse_handle
from launcher.runs.origin import load_origin
from launcher.runs.paths import runs_dir
from launcher.runs.record import RunRecord
from launcher.runs.store import RunStore
from launcher.sweep.space import Space
from launcher.sweep.study import Baseline, Goal, Study, load_study
from launcher.sweep.trial_jobs import names_measured, read_curve
from trainer.config.paths import LIST_KEYS, find_paths

_SHORT = 12
_ENDED = {state.value for state in JobState if state.is_terminal}


def choose_baseline(
    asked: str | None, space: Space, draft: Draft, *, metric: str, goal: Goal, notes: Notes
) -> Baseline | None:
    """Return what a study's best is to be held against; None for its first trial.

    Raises:
        NotFoundError: See `find_baseline`.
        UsageError: See there; or each job of a trial is measured on a list of its own.
    """
    if asked is None:
        return None
    if any(repeat.fold is not None for repeat in space.repeats):
        raise UsageError(
            where=_where(asked), expected="trials that are measured on one list",
            got="--over folds, where each job has a list of its own",
        )  # fmt: skip
    return find_baseline(asked, draft, metric=metric, goal=goal, notes=notes)


def find_baseline(asked: str, draft: Draft, *, metric: str, goal: Goal, notes: Notes) -> Baseline:
    """Return what a study's best is held against. Begins nothing.

    Args:
        asked: Name or handle of a job, name of a study, or the name in a config's `Launch.name`, of whose
            runs the last that succeeded is meant.
        draft: The study's config.
        metric: What trials are compared by; empty for the evaluations' first value.
        goal: Whether more or less of it is better.
        notes: Told where it is not known whether both are measured on the same images.

    Raises:
        NotFoundError: There is no such run on this machine.
        UsageError: It has not ended, has no such value, or was measured on other images.
    """
    store = RunStore(runs_dir())
    study = load_study(asked)
    if study is not None:
        found, job = _of_study(study, asked, metric=metric, goal=goal)
    else:
        record = _find_record(asked, store)
        found, job = _of_job(record, store, asked, metric=metric, goal=goal), record.handle.job
    _check_lists(asked, found.name, store.run_folder(job), draft, notes)
    return found


def _where(asked: str) -> str:
    return f"--against {asked}"


def _find_record(asked: str, store: RunStore) -> RunRecord:
    """Return the run that is meant: of its own name, else the last that succeeded of a config's name."""
    name = parse_handle(asked).job if "://" in asked else asked
    record = store.load(name)
    if record is not None and ("://" not in asked or str(record.handle) == asked):
        return record
    going = None
    for record in store.newest():
        # a trial is one choice of many: its study is what can be meant
        if record.study is not None or record.handle.job != job_name(asked, run_id=record.run_id):
            continue
        ((state, _),) = ask_for([record], store=store)
        if state == JobState.SUCCEEDED.value:
            return record
        going = going or (record.handle.job, state)
    got = "none" if going is None else f"{going[0]}, which is {going[1]}"
    raise NotFoundError(
        where=_where(asked), expected="a job or a study of this machine, or the name of jobs that succeeded",
        got=got, fix="`ftlaunch list` shows them",
    )  # fmt: skip


def _of_job(record: RunRecord, store: RunStore, asked: str, *, metric: str, goal: Goal) -> Baseline:
    name = record.handle.job
    ((state, outcome),) = ask_for([record], store=store)
    if state not in _ENDED and (outcome is None or outcome.state not in _ENDED):
        raise UsageError(
            where=_where(asked), expected="a run that has ended", got=f"{name}, which is {state}",
            fix=f"`ftlaunch wait {name}` first",
        )  # fmt: skip
    rows = read_metrics_here(store.run_folder(name))
    curve = read_curve(rows, metric, goal=goal)
    score = outcome.score if outcome is not None else None
    if (
        not curve and score is not None and metric in (score.metric, "")
    ):  # its output has gone, or is elsewhere
        return Baseline(name=name, values=(score.value,), epochs=score.epoch, is_best_epoch=True)
    if not rows:
        with contextlib.suppress(LaunchError):
            rows = list(rows_of(open_job(record, store=store)))
            curve = read_curve(rows, metric, goal=goal)
    if not curve:
        there = ", ".join(names_measured(rows)) or "no evaluation"
        raise UsageError(
            where=_where(asked), expected=f"a run that was measured by {metric or 'a metric'}",
            got=f"{name}, which has {there}",
        )  # fmt: skip
    best = max(curve.values()) if goal == "max" else min(curve.values())
    return Baseline(name=name, values=(best,), epochs=max(curve))


def _of_study(study: Study, asked: str, *, metric: str, goal: Goal) -> tuple[Baseline, str]:
    from launcher.sweep.lifecycle import look  # with optuna
    from launcher.sweep.results import best_job, find_winner

    picture = look(study)
    if not picture.is_over and picture.halted is None:
        ended = sum(trial.state.is_final for trial in picture.trials)
        raise UsageError(
            where=_where(asked), expected="a study that has ended",
            got=f"one with {ended} of {picture.planned} trials",
            fix=f"`ftlaunch wait {study.name}` first",
        )  # fmt: skip
    settings = study.settings
    wanted, own = f"{metric or 'a metric'}, {goal}", f"{settings.metric or 'a metric'}, {settings.goal}"
    if wanted != own:
        raise UsageError(
            where=_where(asked), expected=f"a study whose trials are compared by {wanted}",
            got=f"one by {own}",
        )  # fmt: skip
    winner = find_winner(picture.trials, goal=goal)
    if winner is None:
        raise UsageError(
            where=_where(asked), expected="a study with a trial that has ended by itself", got="one without",
            fix=f"`ftlaunch why {study.name}` says why",
        )  # fmt: skip
    found = Baseline(
        name=study.name, trial=winner.number, values=tuple(winner.values.values()),
        epochs=max(winner.curve, default=None),
    )  # fmt: skip
    return found, best_job(study, winner)


def _check_lists(asked: str, name: str, run_folder: Path, draft: Draft, notes: Notes) -> None:
    """Refuse a run that was measured on another list of images; say so where that cannot be known."""
    from launcher.backends.factory import open_backend

    ours: Mapping[str, str] = {}
    if not draft.capabilities.is_cluster:
        backend = open_backend(draft.on[0], runs_folder=runs_dir())
        with contextlib.suppress(LaunchError):  # a folder that is missing is told by the first trial's submit
            folders = find_host_folders(draft.config, plan_job(draft), backend)
            ours = hash_lists(draft.config.document.values, folders, workdir=Path.cwd())
    origin = load_origin(run_folder)
    theirs = origin.lists if origin is not None else {}
    our_path = _eval_list(dict(_flat(draft.config.document.values)))
    their_path = None
    with contextlib.suppress(OSError, LaunchError):
        their_path = _eval_list(read_settings(run_folder))
    our_hash, their_hash = ours.get(our_path or ""), theirs.get(their_path or "")
    if our_hash is None or their_hash is None:
        notes(
            Note(f"whether {name} was measured on the same images is not known: no hash of its list", "note")
        )
    elif our_hash != their_hash:
        raise UsageError(
            where=_where(asked),
            expected=f"a run that was measured on the images of {our_path} (sha256 {our_hash[:_SHORT]})",
            got=f"{name}, on {their_path} ({their_hash[:_SHORT]})",
        )


def _flat(values: object) -> list[tuple[str, object]]:
    return [(".".join(map(str, key)), path) for key, path in find_paths(values)]


def _eval_list(settings: Mapping[str, object]) -> str | None:
    """Return the list that evaluations are on, of values by their dotted keys."""
    found = [settings.get(f"DataLoader.Eval.dataset.{key}") for key in LIST_KEYS]
    return next((str(path) for path in found if path), None)
