"""Why a study stands as it does, by its trials and its drivers. Pure but for asking whether a driver runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from launcher.backends.states import JobState
from launcher.sweep.driver import Picture
from launcher.sweep.lifecycle import state_of
from launcher.sweep.study import Study
from launcher.sweep.trial_jobs import ABSENT
from launcher.sweep.trials import TrialState

_AT_WORK = {JobState.RUNNING.value, JobState.SUCCEEDED.value, ABSENT}
_NAMED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyExplanation:
    """Why.

    Attributes:
        evidence: What it rests on, a sentence each.
        fix: What to do; empty where nothing is.
        job: One whose own explanation says more, or None.
    """

    sentence: str
    evidence: tuple[str, ...] = ()
    fix: str = ""
    job: str | None = None


def explain_study(study: Study, picture: Picture) -> StudyExplanation:
    """Say why a study stands as it does."""
    state = state_of(study, picture)
    failed = [trial for trial in picture.trials if trial.state is TrialState.FAILED]
    reasons = Counter(trial.reason for trial in failed)
    evidence = tuple(f"{count} failed: {reason}" for reason, count in reasons.most_common(_NAMED))
    waiting = [name for name, seen in picture.seen.items() if seen.state not in _AT_WORK and not seen.is_over]
    if state == "Cancelled":
        return StudyExplanation(
            sentence="it was cancelled: its trials have saved and stopped, and no new one begins",
            evidence=evidence, fix=f"`ftlaunch resume {study.name}` goes on with it",
        )  # fmt: skip
    if picture.halted is not None:
        return StudyExplanation(
            sentence=f"it was stopped: {picture.halted.reason}",
            evidence=evidence,
            fix=f"mend what they fail of, or `ftlaunch sweep resume {study.name}` for the next",
        )
    if state == "Paused":
        going = sum(1 for seen in picture.seen.values() if seen.state in (JobState.RUNNING.value,))
        return StudyExplanation(
            sentence="no driver goes on with it: the one that did was left or killed",
            evidence=(*([f"{going} of its jobs go on"] if going else []), *evidence),
            fix=f"`ftlaunch sweep resume {study.name}`; with --detach in the background",
        )  # fmt: skip
    if state == "Running":
        ended = sum(trial.state.is_final for trial in picture.trials)
        return StudyExplanation(
            sentence=f"it goes on: {ended} of {picture.planned} trials have ended",
            evidence=(
                *evidence,
                *([f"{len(waiting)} of its jobs wait, such as {waiting[0]}"] if waiting else []),
            ),
            job=waiting[0] if waiting else None,
        )
    if state == "Failed":
        return StudyExplanation(
            sentence="all its trials failed", evidence=evidence, fix="mend what they fail of"
        )
    return StudyExplanation(sentence="all its trials have ended", evidence=evidence)
