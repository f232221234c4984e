"""What is said of a job that has ended: how good it is, where things lie, why it failed, what to do next."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from launcher.backends.states import JobState, JobStatus
from launcher.cli.printing import echo
from launcher.cli.table import line_columns, paint_state, width_of, wrap
from launcher.errors import LaunchError
from launcher.jobs.class_scores import ClassScore, find_worst_classes
from launcher.jobs.lifecycle import explain
from launcher.jobs.metrics import Score, output_here
from launcher.jobs.outcome import Outcome, note_outcome
from launcher.jobs.resolve import ResolvedJob
from launcher.times import format_duration
from trainer.protocol.evaluated import describe_failure
from trainer.protocol.printable import paint, printable

REPORT = "report.html"
_BEST_WEIGHTS = "best_model.pdparams"
_ENOUGH = 60
"""Signs at the end of a reason by which it is known again in a verdict."""


def print_end(job: ResolvedJob, status: JobStatus) -> None:
    """Say on stderr how a job ended; of one that failed also why, and what mends it."""
    outcome = note_outcome(job, status)
    took = f" after {_describe_length(outcome)}" if status.ended_s else ""
    echo(f"{job.name}: {paint_state(status.state)}{took}", err=True, nl=False)
    has_failed = status.state in (JobState.FAILED, JobState.LOST)
    why = _why(job) if has_failed else []
    is_told = status.reason[-_ENOUGH:] in " ".join(part for line in why for part in line.split())
    echo(f": {status.reason}" if status.reason and not is_told else "", err=True)
    lines = [*describe_result(status, outcome), *why, *describe_places(job, status, outcome)]
    lines += format_next(next_commands(job, status, outcome))
    echo("\n".join(lines), err=True)


def _describe_length(outcome: Outcome) -> str:
    """Write `12m`, and of a job that was resumed how much of that came after it."""
    ran_s = outcome.ran_s(outcome.began_s)
    since = (
        f", {format_duration(ran_s - outcome.earlier_s)} since it was resumed" if outcome.earlier_s else ""
    )
    return format_duration(ran_s) + since


def describe_result(status: JobStatus, outcome: Outcome) -> list[str]:
    """Write the best metric, against the largest class, and whether anything was learned."""
    score = outcome.score
    if score is None:
        return []
    lines = [f"  {describe_score(score)}"]
    evaluated = status.progress.evaluated if status.progress is not None else None
    failure = describe_failure(evaluated) if evaluated is not None else None
    if failure is not None and status.state.is_terminal:
        lines += [paint(line, "warn") for line in wrap(failure, start="  ")]
    return lines


def describe_score(score: Score) -> str:
    """Write `best top1 0.967, epoch 9; always answering the largest class: 0.133`."""
    at = f", epoch {score.epoch}" if score.epoch else ""
    text = f"best {score.metric} {paint(f'{score.value:.4g}', 'strong')}{at}"
    if score.largest_class is not None and score.metric == "top1":
        text += f"; always answering the largest class: {score.largest_class:.3g}"
    return text


def describe_places(job: ResolvedJob, status: JobStatus, outcome: Outcome) -> list[str]:
    """Write what went wrong most, and where report and checkpoints lie: here as paths, else as in the pod."""
    folder, end = output_here(job.run_folder), status.termination
    if folder is None:
        return [f"  last checkpoint: {end.checkpoint} (in the pod)"] if end and end.checkpoint else []
    lines = []
    if worst := find_worst_classes(folder):
        lines += wrap(
            ", ".join(map(_describe_class, worst)), start="  worst classes of the last evaluation: "
        )
    if (folder / REPORT).is_file():
        lines.append(f"  report: {_near(folder / REPORT)}")
    if outcome.score is not None and (folder / _BEST_WEIGHTS).is_file():
        lines.append(f"  best weights: {_near(folder / _BEST_WEIGHTS)}")
    elif end is not None and end.checkpoint:
        lines.append(f"  last checkpoint: {end.checkpoint}")
    return lines


def _describe_class(of: ClassScore) -> str:
    """Write `ok 5 of 7 right and 4 others taken for it`; the latter alone of a class that is always found."""
    taken = f"{of.taken_for} other{'s' if of.taken_for > 1 else ''} taken for it" if of.taken_for else ""
    right = f"{of.correct} of {of.support} right"
    if of.correct == of.support and taken:
        return f"{printable(of.name)} {taken}"
    return f"{printable(of.name)} {' and '.join(filter(None, (right, taken)))}"


def next_commands(job: ResolvedJob, status: JobStatus, outcome: Outcome) -> list[str]:
    """Return what is usually typed next."""
    name, here = job.name, output_here(job.run_folder) is not None
    if status.state is JobState.SUCCEEDED:
        use = [f"trainer predict {name} IMAGES", f"trainer eval {name} --report FOLDER"]
        return use if here else [f"ftlaunch ckpt pull {name} --checkpoint best"]
    if status.state is JobState.CANCELLED:
        return [f"ftlaunch resume {name}", f"ftlaunch ckpt ls {name}"]
    if outcome.step and status.state is JobState.LOST:
        return [f"ftlaunch resume {name}", f"ftlaunch logs {name}"]
    return [f"ftlaunch logs {name}", f"ftlaunch why {name}"]


def format_next(commands: Sequence[str], *, start: str = "next: ") -> list[str]:
    """Write commands on one line, or on a line each where a terminal would break it."""
    line = start + " · ".join(commands)
    if width_of(line) <= line_columns():
        return [line]
    first, *others = commands
    return [start + first, *(" " * len(start) + command for command in others)]


def score_to_json(score: Score | None) -> dict[str, object] | None:
    """Write the best evaluation for programs. Keys are only ever added."""
    return None if score is None else dataclasses.asdict(score)


def _why(job: ResolvedJob) -> list[str]:
    """Write the first verdict in full."""
    try:
        from launcher.cli.why import describe_verdict

        first, *_ = explain(job).verdicts
    except LaunchError as error:  # the end is told; the reason can be asked for later
        return [f"why it failed could not be read: {error}; `ftlaunch why {job.name}` asks again"]
    return describe_verdict(first)


def _near(path: Path) -> Path:
    """Return a path from the current folder, where it lies below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
