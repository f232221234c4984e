"""What can be asked of a job that exists, a call each: status, events, why, cancel, resume, delete, exec."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from launcher.backends.states import JobEvent, JobState, JobStatus
from launcher.errors import NotFoundError, UsageError
from launcher.jobs.notes import Notes, ignore
from launcher.jobs.resolve import ResolvedJob

if TYPE_CHECKING:
    from launcher.why.explanation import Explanation
    from launcher.why.forecast import Estimate

_WATCH_S = 3.0


def status(job: ResolvedJob) -> JobStatus:
    """Return how the job stands now.

    Raises:
        NotFoundError: There is no such job any more.
        UnreachableError: Its cluster does not answer.
    """
    return job.backend.status(job.handle)


def eta_s(status: JobStatus) -> float | None:
    """Return the seconds that are left; None where the pace is not known.

    The pace is that between the last reports of this attempt, else that since the pods' start, which after a
    restart is not the first step's.
    """
    progress, pods = status.progress, status.pods
    if progress is None or progress.step is None or status.state.is_terminal:
        return None
    if not 0 < progress.step < progress.total_steps:
        return None
    step_s = progress.step_s
    if step_s is None:
        began_s = pods[0].started_s if pods else None
        if began_s is None or progress.attempt != 1 or any(pod.restarts for pod in pods):
            return None
        step_s = (progress.time_s - began_s) / progress.step
    return step_s * (progress.total_steps - progress.step)


def estimate_start(job: ResolvedJob, status: JobStatus) -> Estimate | None:
    """Say when a job starts that a queue holds; None for one that none does.

    Args:
        job: Which.
        status: How it stands.
    """
    cluster = job.backend.cluster
    if cluster is None or status.state is not JobState.QUEUED:
        return None
    from launcher.why.start import fetch_estimate

    found = cluster.api.get(cluster.jobs.resource, job.handle.job, namespace=job.handle.namespace)
    return fetch_estimate(cluster.api, cluster.logs, found, kind=cluster.jobs)


def describe_start(job: ResolvedJob, status: JobStatus) -> str:
    """Say in a sentence when a job of a queue starts; empty for one that none holds."""
    estimate = estimate_start(job, status)
    if estimate is None:
        return ""
    from launcher.why.queue_model import describe_estimate

    return describe_estimate(estimate)


def events(job: ResolvedJob) -> tuple[JobEvent, ...]:
    """Return what is still kept of the notes about a job and its pods, oldest first."""
    return job.backend.list_events(job.handle)


def explain(job: ResolvedJob) -> Explanation:
    """Say why a job stands as it does: verdicts with what they rest on and what mends it, the first first.

    Of one that is gone, or that failed and whose pods are gone, by what node 0 kept of its log.

    Raises:
        NotFoundError: It is gone, and nothing was kept that tells how it ended.
    """
    from launcher.jobs.saved_end import explain_saved_end
    from launcher.why.explanation import explain_job
    from launcher.why.rules.log_patterns import UNKNOWN

    try:
        found = explain_job(job.backend, job.handle)
    except NotFoundError:
        if (saved := explain_saved_end(job, None)) is None:
            raise
        return saved
    if found.verdicts[0].code != UNKNOWN.code:
        return found
    saved = explain_saved_end(job, found.status)
    return found if saved is None else replace(saved, skipped=(*found.skipped, *saved.skipped))


def watch_reasons(
    job: ResolvedJob, *, notes: Notes = ignore, pause: Callable[[float], None] = time.sleep
) -> Iterator[Explanation]:
    """Give the explanation of a job now, and again whenever a verdict has changed, until the job's end."""
    from launcher.jobs.retry import Retry

    retry, last = Retry(job.name, notes), None
    while True:
        explanation = retry.ask(lambda: explain(job))
        told = [(verdict.code, verdict.sentence) for verdict in explanation.verdicts]
        if told != last:
            yield explanation
        if explanation.status.state.is_terminal:
            return
        last = told
        pause(_WATCH_S)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancelled:
    """What became of a cancel.

    Attributes:
        status: Of the job, before it was told to stop; of one that was lost, afterwards.
        had_ended: Whether there was nothing to stop any more.
    """

    status: JobStatus
    had_ended: bool


def cancel(job: ResolvedJob) -> Cancelled:
    """Have a job save and stop, and not come back; return without waiting for its end.

    A lost job is cancelled too: what it left behind can still be stopped.
    """
    before = status(job)
    # what ran a lost job is gone, but its containers may go on
    if before.state is JobState.LOST:
        job.backend.cancel(job.handle)
        before = status(job)
    elif not before.state.is_terminal:
        job.backend.cancel(job.handle)
    return Cancelled(status=before, had_ended=before.state.is_terminal)


def resume(job: ResolvedJob) -> JobStatus:
    """Take a cancelled, suspended or lost job up again, from its last checkpoint, and return how it stands.

    Raises:
        UsageError: It has ended by itself, or is still stopping.
    """
    from launcher.jobs.outcome import describe_outcome
    from launcher.jobs.resumption import note_earlier

    before = None
    with contextlib.suppress(NotFoundError):
        before = status(job)
    job.backend.resume(job.handle)
    if before is not None and before.ended_s is not None:
        began_s = describe_outcome(job.run_folder, before, reads_metrics=False).began_s
        note_earlier(job.run_folder, before.ended_s - began_s)
    return status(job)


def check_has_ended(job: ResolvedJob) -> None:
    """Look whether a job may be deleted without force; one that is gone already may.

    Raises:
        UsageError: It still runs.
    """
    with contextlib.suppress(NotFoundError):
        _refuse_running(job, status(job))


def _refuse_running(job: ResolvedJob, now: JobStatus) -> None:
    if not now.state.is_terminal:
        raise UsageError(
            where=job.name,
            expected="a job that has ended",
            got=f"one that is {now.state.value}",
            fix="cancel it first, or pass --force",
        )


def delete(job: ResolvedJob, *, force: bool = False, confirm: Callable[[], None] | None = None) -> None:
    """Remove a job and its record; checkpoints and whatever else it wrote stay.

    Args:
        job: Which; one that is gone already loses its record.
        force: Also one that still runs, without saving, and pods of a node that does not answer.
        confirm: Called before anything of a job that is there is removed; what it raises stops the delete.

    Raises:
        UsageError: It still runs, and `force` is not given.
    """
    with contextlib.suppress(NotFoundError):
        now = status(job)
        if not force:
            _refuse_running(job, now)
        if confirm is not None:
            confirm()
        job.backend.delete(job.handle, force=force)
    # last: without its record nobody would find again what a delete that fails has left
    job.store.remove(job.name)


def command_in(
    job: ResolvedJob, command: Sequence[str], *, node: int = 0, terminal: bool = False
) -> list[str]:
    """Return a command of this machine that runs `command` in a pod of a job.

    Raises:
        UsageError: The job has ended, has no such node, or has no containers.
    """
    now = status(job)
    if now.state.is_terminal or node >= len(now.pods):
        raise UsageError(where=job.name, expected=f"a running job with a node {node}", got=now.state.value)
    return job.backend.command_in(job.handle, node=node, command=command, terminal=terminal)
