"""How far a job came and how good it was, kept beside its record: known when its pods are gone.

Each look at a job that has ended notes it in `outcome.json` of the run folder. `list` reads that instead of
asking for what does not change any more.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from launcher.backends.states import JobState, early_end
from launcher.jobs.metrics import Score, find_score, read_metrics_here
from launcher.jobs.resumption import read_earlier_s
from trainer.protocol.codec import Count, UnixTime, Within, decode, encode
from trainer.protocol.safe_files import read_file, replace_file
from trainer.protocol.untrusted import FormatError

if TYPE_CHECKING:
    from launcher.backends.states import JobStatus
    from launcher.jobs.resolve import ResolvedJob

OUTCOME = "outcome.json"
SCHEMA = 1
_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A job at the last look.

    Attributes:
        state: A `JobState`'s value.
        is_early: It succeeded before its last step, as it was asked to.
        step: Steps completed; None where none was seen.
        total_steps: Of the whole run; 0 while unknown.
        began_s: Unix time of its first pod's start, else of its submit.
        ended_s: Unix time, or None while it goes on.
        score: The best evaluation, or None.
        earlier_s: Seconds that it ran before it was resumed last; 0 where it never was.
    """

    state: str
    is_early: bool = False
    step: Count | None = None
    total_steps: Count = 0
    began_s: UnixTime
    ended_s: UnixTime | None = None
    score: Score | None = None
    earlier_s: Annotated[float, Within(0, 1e12)] = 0.0

    def ran_s(self, now_s: float) -> float:
        """Return how many seconds it has run by now, or ran in all; what came before a resume counts."""
        return self.earlier_s + max(0.0, (self.ended_s or now_s) - self.began_s)


def read_outcome(run_folder: Path) -> Outcome | None:
    """Return what was noted of a job; None where nothing was, or it is of another release."""
    try:
        return decode(
            Outcome, read_file(run_folder / OUTCOME, max_bytes=_MAX_BYTES), where=OUTCOME, schema=SCHEMA
        )
    except (OSError, FormatError):
        return None


def describe_outcome(run_folder: Path, status: JobStatus, *, reads_metrics: bool = True) -> Outcome:
    """Return how far a job is and how good.

    Args:
        run_folder: Of the job.
        status: As it stands now.
        reads_metrics: Look into its metrics.jsonl, where that lies on this machine and the progress does not
            say it all.
    """
    progress = status.progress
    began = [pod.started_s for pod in status.pods if pod.started_s is not None]
    return Outcome(
        state=status.state.value,
        is_early=ended_early(status),
        step=progress.step if progress is not None else None,
        total_steps=progress.total_steps if progress is not None else 0,
        began_s=min(began, default=status.created_s),
        ended_s=status.ended_s,
        score=_score(run_folder, status, reads_metrics=reads_metrics),
        earlier_s=read_earlier_s(run_folder),
    )


def note_outcome(job: ResolvedJob, status: JobStatus) -> Outcome:
    """Return how far a job is and how good, and note it where the job has ended.

    A run folder that cannot be written to is no reason to say nothing.
    """
    outcome = describe_outcome(job.run_folder, status)
    if status.state.is_terminal and read_outcome(job.run_folder) != outcome:
        with suppress(OSError):
            data = json.dumps(encode(outcome, schema=SCHEMA)) + "\n"
            replace_file(job.run_folder / OUTCOME, data.encode())
    return outcome


def ended_early(status: JobStatus) -> bool:
    """Say whether a job succeeded before its last step: by early stopping, or a time budget."""
    return status.state is JobState.SUCCEEDED and bool(early_end(status.pods))


def _score(run_folder: Path, status: JobStatus, *, reads_metrics: bool) -> Score | None:
    """Take the progress line's word where that is whole: it knows top1 only. Else rows are read."""
    evaluated = status.progress.evaluated if status.progress is not None else None
    is_told = evaluated is not None and evaluated.best_epoch is not None
    found = find_score(read_metrics_here(run_folder)) if reads_metrics and not is_told else None
    if found is None and evaluated is not None:
        return Score(
            metric="top1", value=evaluated.best_top1, epoch=evaluated.best_epoch,
            largest_class=evaluated.largest_class,
        )  # fmt: skip
    return found
