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
    if study.is_remote and (of_pod := _explain_pod(study, state, evidence)) is not None:
        return of_pod
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
    return _explain_end(study, picture, evidence)


def _explain_pod(study: Study, state: str, evidence: tuple[str, ...]) -> StudyExplanation | None:
    """Say what is the matter with a driver's pod; None where nothing is."""
    seen = study.read_remote()
    said = (f"the cluster says: {seen['reason']}",) if seen.get("reason") else ()
    if state == "Paused":
        what = {
            "Failed": "its driver's pod was refused", "Gone": "its driver is gone from the cluster",
            "Unknown": "its cluster cannot be asked",
        }.get(seen.get("state", ""), "its driver's pod has ended before it")  # fmt: skip
        return StudyExplanation(
            sentence=what, evidence=(*said, *evidence),
            fix=f"`ftlaunch sweep resume {study.name}` makes a new pod",
        )  # fmt: skip
    if state == "Running" and seen.get("state") == "Waiting":
        return StudyExplanation(
            sentence="its driver's pod does not run yet", evidence=(*said, *evidence),
            fix=f"`kubectl describe job {study.name}-driver` says more" if said else "",
        )  # fmt: skip
    return None


def _explain_end(study: Study, picture: Picture, evidence: tuple[str, ...]) -> StudyExplanation:
    states = {trial.state for trial in picture.trials}
    if TrialState.COMPLETE in states:
        return StudyExplanation(sentence="all its trials have ended", evidence=evidence)
    if TrialState.FAILED in states:
        what = "all its trials failed" if len(states) == 1 else "its trials failed or were pruned"
        return StudyExplanation(sentence=what, evidence=evidence, fix="mend what they fail of")
    return StudyExplanation(
        sentence="all its trials were pruned, so that there is no winner",
        fix=f"`ftlaunch resume {study.name}-t001` trains one of them to its end",
    )
