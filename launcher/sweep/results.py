"""What a study came to: the winner, how sure that is, the config that reproduces it. Pure but for reading."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.config.edit import Edits
from launcher.jobs.metrics import output_here
from launcher.runs.paths import runs_dir
from launcher.runs.store import RunStore
from launcher.sweep.space import overrides_of, parse_space
from launcher.sweep.study import Baseline, Settings, Study
from launcher.sweep.trial_jobs import jobs_of
from launcher.sweep.trials import Trial, TrialState
from trainer.config.document import parse_document
from trainer.config.overrides import apply_overrides, parse_override
from trainer.config.problems import KeyPath

_BEST_WEIGHTS = "best_model.pdparams"
_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t at 97.5 % for 1 to 10 degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean of several jobs, and where it lies at 95 %.

    Attributes:
        half: Half of the interval's width; None of a single job.
        spread: Standard deviation between the jobs; None of a single job.
    """

    mean: float
    half: float | None = None
    spread: float | None = None


def interval_of(values: Sequence[float]) -> Interval:
    """Return mean, standard deviation and 95 % interval by Student's t of what jobs have reached."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return Interval(mean=mean)
    spread = statistics.stdev(values)
    return Interval(
        mean=mean, spread=spread, half=_student_t(len(values) - 1) * spread / math.sqrt(len(values))
    )


def _student_t(degrees: int) -> float:
    """Return Student's t at 97.5 %; beyond the table by its first term about the normal distribution."""
    return _T_975[degrees - 1] if degrees <= len(_T_975) else 1.96 + 2.5 / degrees


def rank(trials: Sequence[Trial], *, goal: str) -> list[Trial]:
    """Return the trials that ended by themselves, the best first; of equal ones the earlier."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.value is not None]
    sign = -1 if goal == "max" else 1
    return sorted(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number))


def best_reached(trial: Trial, *, goal: str) -> float | None:
    """Return what a trial has reached: its value, or the best of what was seen before it was stopped."""
    if trial.value is not None:
        return trial.value
    if not trial.curve:
        return None
    return max(trial.curve.values()) if goal == "max" else min(trial.curve.values())


def find_winner(trials: Sequence[Trial], *, goal: str) -> Trial | None:
    """Return the best trial; None where none has ended by itself."""
    return next(iter(rank(trials, goal=goal)), None)


def format_value(value: object) -> str:
    """Write a value for people: numbers by four significant digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def describe_params(params: Mapping[str, object]) -> str:
    """Write `learning_rate=0.01 image_size=224`: the last part of a key where that is no other's."""
    names = short_keys(tuple(params))
    return " ".join(f"{names[key]}={format_value(value)}" for key, value in params.items())


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Return the shortest end of each key that no other key has."""
    found = {}
    for key in keys:
        parts = key.split(".")
        for length in range(1, len(parts) + 1):
            short = ".".join(parts[-length:])
            if sum(other == short or other.endswith(f".{short}") for other in keys) == 1 or length == len(
                parts
            ):
                found[key] = short
                break
    return found


def describe_baseline(baseline: Baseline, metric: str) -> str:
    """Write a run that a study's best is held against: `quickstart-x7k2p top1 0.9694 after 10 epochs`."""
    trial = f", trial {baseline.trial + 1}," if baseline.trial is not None else ""
    where = "at epoch" if baseline.is_best_epoch else "after"
    epochs = f" {where} {_epochs(baseline.epochs, baseline.is_best_epoch)}" if baseline.epochs else ""
    return f"{baseline.name}{trial} {metric} {format_value(baseline.value)}{epochs}"


def _epochs(count: int, is_number: bool = False) -> str:
    return str(count) if is_number else f"{count} epoch{'s' * (count != 1)}"


def describe_gain(trials: Sequence[Trial], settings: Settings) -> str:
    """Say whether the winner is better than the first trial, or than the run that `--against` has named, and
    whether that can be told from chance.

    It can where each trial was several jobs: by Welch's interval of the difference of two means. Of single
    jobs it cannot, whatever the difference is; and that the winner is the best of many is said, because the
    best of many equal ones is better than the first of them by luck alone.
    """
    winner = find_winner(trials, goal=settings.goal)
    if winner is None:
        return "no trial ended by itself, so there is no winner"
    first = next((trial for trial in trials if trial.number == 0), None)
    metric = settings.metric or "the metric"
    best = format_value(winner.value)
    if settings.baseline is not None:
        return _describe_against(settings.baseline, winner, trials, settings)
    if first is None or first.number == winner.number:
        return f"the first trial is the best: {metric} {format_value(winner.value)}"
    if first.value is None:
        what = "was pruned" if first.state is TrialState.PRUNED else "failed"
        return f"the first trial {what}, so the best {metric}, {best}, has nothing to be held against"
    own = (
        ", the config as it is," if len(settings.first) == len(parse_space(settings.over).dimensions) else ""
    )
    head = f"trial {winner.number + 1} has {metric} {best}, the first trial{own} {format_value(first.value)}"
    mine, other = list(winner.values.values()), list(first.values.values())
    if len(mine) < 2 or len(other) < 2:
        gain = abs((winner.value or 0.0) - first.value)
        return (
            f"{head}: a difference of {gain:.2g}. Whether that is more than chance cannot be said of one run "
            "each; --over seed=3 says it"
        )
    return _weigh(head, mine, other, trials)


def _describe_against(baseline: Baseline, winner: Trial, trials: Sequence[Trial], settings: Settings) -> str:
    """Say whether the winner is better than a run beside the study; that it is not comes first."""
    metric, value = settings.metric or "the metric", winner.value or 0.0
    gain = (value - baseline.value) * (1 if settings.goal == "max" else -1)
    head = "" if gain > 0 else f"no trial is better than {baseline.name}: "
    length = f" after {_epochs(max(winner.curve))}" if winner.curve else ""
    head += f"trial {winner.number + 1} has {metric} {format_value(value)}{length}, "
    head += describe_baseline(baseline, metric)
    if not gain:
        return f"{head}: the same"
    mine = list(winner.values.values())
    if len(mine) < 2 or len(baseline.values) < 2:
        return (
            f"{head}: a difference of {abs(gain):.2g}. Whether that is more than chance cannot be said of "
            "single runs; a study of each with --over seed=3 says it"
        )
    return _weigh(head, mine, list(baseline.values), trials)


def _weigh(head: str, mine: Sequence[float], other: Sequence[float], trials: Sequence[Trial]) -> str:
    """Say whether a difference of two means is more than chance, where each is of several jobs."""
    gain = abs(statistics.fmean(mine) - statistics.fmean(other))
    half = _half_of_difference(mine, other)
    number = sum(trial.value is not None for trial in trials)
    luck = f"; it is the best of {number}, which alone makes some difference" if number > 2 else ""
    runs = f"{len(mine)} runs each" if len(mine) == len(other) else f"{len(mine)} and {len(other)} runs"
    chance = f"the {half:.2g} that {runs} leave to chance"
    if gain > half:
        return f"{head}: a difference of {gain:.2g}, more than {chance}{luck}"
    return f"{head}: a difference of {gain:.2g}, not more than {chance}"


def _half_of_difference(one: Sequence[float], other: Sequence[float]) -> float:
    """Return half of the 95 % interval of a difference of means, by Welch's t."""
    parts = [statistics.variance(values) / len(values) for values in (one, other)]
    total = sum(parts)
    if not total:
        return 0.0
    weights = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (one, other), strict=True))
    degrees = max(1, int(total**2 / weights)) if weights else len(one) + len(other) - 2
    return _student_t(degrees) * math.sqrt(total)


def count_epochs(trials: Sequence[Trial]) -> int:
    """Return how many epochs the first jobs of all trials were measured for."""
    return sum(max(trial.curve, default=0) for trial in trials)


def weights_of(study: Study, trial: Trial) -> Path | None:
    """Return the best weights of a trial's best job, where they lie on this machine."""
    job = best_job(study, trial)
    folder = output_here(RunStore(runs_dir()).run_folder(job))
    path = None if folder is None else folder / _BEST_WEIGHTS
    return path if path is not None and path.is_file() else None


def best_job(study: Study, trial: Trial) -> str:
    """Return the name of the best job of a trial."""
    jobs = jobs_of(study, trial.number)
    sign = 1 if study.settings.goal == "max" else -1
    return max(jobs, key=lambda job: sign * trial.values.get(job.repeat.label, -sign * math.inf)).name


def write_winner(study: Study, trial: Trial) -> str:
    """Return the text of a config that trains what a trial did: the study's config with its values put in.

    Comments stay. Where a value has no place of its own in the text, all of it is written anew.
    """
    settings = study.settings
    content = study.config.read_bytes()
    repeat = study.space.repeats[0] if len(study.space.repeats) == 1 else type(study.space.repeats[0])()
    varied = overrides_of(trial.params, repeat, content=content, name=settings.config)
    overrides = (*settings.overrides, *varied)
    wanted = apply_overrides(
        parse_document(content, name=settings.config), overrides, is_known=_any_key
    ).values
    text = _edit(content.decode("utf-8-sig"), wanted, overrides)
    return _heading(study, trial) + text


def _any_key(path: KeyPath) -> bool:
    del path  # the study was begun with it: it was known, or forced
    return True


def _edit(text: str, wanted: Mapping[str, object], overrides: Sequence[str]) -> str:
    edits = Edits(text)
    for override in map(parse_override, overrides):
        edits.set(_steps(override.path, wanted), override.value)
    edited = edits.apply()
    if parse_document(edited.encode(), name="winner").values == wanted:
        return edited
    from launcher.render.filters import to_yaml

    return "# Written anew from its values: a value that was varied had no line of its own.\n" + to_yaml(
        wanted
    )


def _steps(path: Sequence[str], values: object) -> KeyPath:
    """Return a typed path with its list indices as numbers."""
    steps: list[str | int] = []
    here = values
    for part in path:
        step: str | int = int(part) if isinstance(here, list) else part
        steps.append(step)
        here = here[step] if isinstance(here, list | dict) else None  # type: ignore[index]  # as the override found it
    return tuple(steps)


def _heading(study: Study, trial: Trial) -> str:
    settings = study.settings
    value = "" if trial.value is None else f": {settings.metric or 'its metric'} {format_value(trial.value)}"
    kept = describe_kept(study)
    lines = [
        f"trial {trial.number + 1} of the study {settings.name}{value}",
        *([kept] if kept else []),
        *describe_submit(settings),
    ]
    return "".join(f"# {line}\n" for line in lines)


def describe_kept(study: Study) -> str:
    """Say what a winner's config has of `-o` of its study, such as fewer epochs; empty where nothing was."""
    settings = study.settings
    if not settings.overrides:
        return ""
    values = parse_document(study.config.read_bytes(), name=settings.config).values
    section = values.get("Global")
    own = section.get("epochs") if isinstance(section, dict) else None
    before = (
        f"; {Path(settings.config).name} trains {own} epochs" if own not in (None, settings.epochs) else ""
    )
    typed = " ".join(" ".join(settings.overrides).split())  # in a comment of one line
    return f"it keeps -o {typed}, as the study was asked for{before}"


def describe_submit(settings: Settings) -> list[str]:
    """Return how a winner's config is submitted as its trial was."""
    given = " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(str(value))}"
        for name, value in settings.options.items()
        if isinstance(value, str | int) and not isinstance(value, bool)
    )
    return [f"ftlaunch submit FILE --on {settings.on}{' ' + given if given else ''}"]
