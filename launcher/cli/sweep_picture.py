"""The picture of a study, as lines: for `sweep status`, and for the live view while a driver runs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli.frame import bar
from launcher.cli.table import cut, format_table, paint_state, shorten, width_of, wrap
from launcher.sweep.driver import Picture
from launcher.sweep.lifecycle import state_of
from launcher.sweep.results import find_winner, format_value, interval_of, rank, short_keys
from launcher.sweep.study import Settings, Study
from launcher.sweep.trial_jobs import ABSENT, jobs_of
from launcher.sweep.trials import Trial, TrialState
from launcher.times import format_duration
from trainer.protocol.printable import paint, printable

_HELP = "Ctrl-C leaves this view; the trials go on"
_STATES = {
    TrialState.RUNNING: "Running", TrialState.COMPLETE: "Succeeded", TrialState.PRUNED: "Pruned",
    TrialState.FAILED: "Failed",
}  # fmt: skip


def state_word(study: Study, picture: Picture, trial: Trial) -> str:
    """Return how a trial stands in the words of jobs; what was pruned says so."""
    if trial.state is not TrialState.RUNNING:
        return _STATES[trial.state]
    if trial.stop_at is not None:
        return "Pruning"
    if trial.paused_at is not None:
        return "Paused"
    states = [
        picture.seen[job.name].state for job in jobs_of(study, trial.number) if job.name in picture.seen
    ]
    told = [state for state in states if state != ABSENT]
    return next((state for state in told if state != "Succeeded"), "Waiting" if not told else "Running")


def compose_study(study: Study, picture: Picture, *, columns: int, rows: int, now_s: float) -> list[str]:
    """Return at most `rows` lines of at most `columns` columns: the live view."""
    head = [*_title(study, picture, columns=columns, now_s=now_s), ""]
    free = rows - len(head) - 2
    table = trial_table(study, picture, most=max(1, free - 1))
    lines = [shorten(line, columns=columns) for line in (*head, *table)][: rows - 1]
    return [*lines, *[""] * (rows - 1 - len(lines)), paint(cut(_HELP, columns=columns), "faint")]


def _title(study: Study, picture: Picture, *, columns: int, now_s: float) -> list[str]:
    settings = study.settings
    ended = sum(trial.state.is_final for trial in picture.trials)
    since = format_duration(max(0.0, now_s - settings.created_s))
    state = state_of(study, picture)
    rest = f"  {settings.sampler}, prune {settings.prune}  {since}"
    name = cut(study.name, columns=max(1, columns - width_of(rest) - width_of(state) - 2))
    title = f"{paint(name, 'strong')}  {paint_state(state)}{rest}"
    tail = f" {ended}/{picture.planned} trials"
    lines = [
        title,
        bar(ended / max(1, picture.planned), columns=max(12, min(columns, 80) - len(tail))) + tail,
    ]
    counts = describe_counts(picture)
    winner = find_winner(picture.trials, goal=settings.goal)
    if winner is not None:
        counts += (
            f"; best {settings.metric or 'value'} {format_value(winner.value)} of trial {winner.number + 1}"
        )
    return [*lines, *wrap(counts, columns=columns)]


def describe_counts(picture: Picture) -> str:
    """Write how many trials are in each state."""
    found: dict[str, int] = {}
    for trial in picture.trials:
        word = trial.state.value if trial.paused_at is None else "paused"
        found[word] = found.get(word, 0) + 1
    parts = [f"{count} {name}" for name, count in found.items()]
    left = picture.planned - len(picture.trials)
    return ", ".join([*parts, *([f"{left} to come"] if left > 0 else [])]) or "nothing has begun"


def trial_table(study: Study, picture: Picture, *, most: int | None = None, jobs: bool = False) -> list[str]:
    """Write a row a trial: those that run first, then the best.

    Args:
        study: Which.
        picture: How it stands.
        most: Rows at most; None for all.
        jobs: Name the jobs of each trial, too.
    """
    settings = study.settings
    best = rank(picture.trials, goal=settings.goal)
    going = [trial for trial in picture.trials if not trial.state.is_final]
    others = [trial for trial in picture.trials if trial.state in (TrialState.PRUNED, TrialState.FAILED)]
    ordered = [
        *going,
        *best,
        *sorted(others, key=lambda trial: (trial.state is TrialState.FAILED, -trial.number)),
    ]
    shown = ordered if most is None or len(ordered) <= most else ordered[: max(1, most - 1)]
    keys = [dimension.key for dimension in study.space.dimensions]
    names = short_keys(keys)
    header = [
        "TRIAL",
        "STATE",
        "EPOCH",
        (settings.metric or "value").upper(),
        *(names[key].upper() for key in keys),
    ]
    rows = [_row(study, picture, trial, keys) for trial in shown]
    if jobs:
        header.append("JOBS")
        rows = [
            [*row, " ".join(job.name for job in jobs_of(study, trial.number))]
            for row, trial in zip(rows, shown, strict=True)
        ]
    lines = format_table(header, rows, right="TRIAL EPOCH")
    lines = [lines[0], *(_mark(line, trial, best) for line, trial in zip(lines[1:], shown, strict=True))]
    hidden = len(ordered) - len(shown)
    return [
        *lines,
        *([f"and {hidden} more: ftlaunch sweep status {study.name} --output wide"] if hidden else []),
    ]


def _mark(line: str, trial: Trial, best: Sequence[Trial]) -> str:
    return f"{line}  {paint('best', 'good')}" if best and trial.number == best[0].number else line


def _row(study: Study, picture: Picture, trial: Trial, keys: Sequence[str]) -> list[str]:
    settings = study.settings
    return [
        str(trial.number + 1), state_word(study, picture, trial),
        f"{max(trial.curve)}/{settings.epochs}" if trial.curve else "", describe_value(trial, settings),
        *(format_value(trial.params.get(key, "")) for key in keys),
    ]  # fmt: skip


def describe_value(trial: Trial, settings: Settings) -> str:
    """Write what a trial has reached: the mean of its jobs with its interval, or the best so far."""
    values = list(trial.values.values())
    if trial.state is TrialState.COMPLETE and values:
        found = interval_of(values)
        return format_value(found.mean) + (f" ± {found.half:.2g}" if found.half is not None else "")
    if not trial.curve:
        return ""
    best = max(trial.curve.values()) if settings.goal == "max" else min(trial.curve.values())
    return format_value(best)


def describe_study(
    study: Study, picture: Picture, *, columns: int, now_s: float, wide: bool = False
) -> list[str]:
    """Write a study for people who asked how it stands."""
    lines = _title(study, picture, columns=columns, now_s=now_s)
    halted = picture.halted
    if halted is not None and halted.reason:
        lines += wrap(f"stopped: {printable(halted.reason)}", columns=columns)
    if picture.trials:
        lines += ["", *trial_table(study, picture, most=None if wide else 20, jobs=wide)]
    return lines
