"""Explains a job of any backend: gathers what there is to look at, and asks the rules."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from launcher.backends.base import Backend
from launcher.backends.states import JobState, JobStatus
from launcher.plan.handle import Handle
from launcher.why.explain import explain
from launcher.why.forecast import Estimate
from launcher.why.gather import LOG_BYTES, MAX_LOGS, gather
from launcher.why.snapshot import Skipped, Snapshot
from launcher.why.start import fetch_estimate
from launcher.why.verdict import Verdict

_HAS_ROOM = (
    JobState.PULLING,
    JobState.STARTING,
    JobState.RUNNING,
    JobState.SUCCEEDED,
    JobState.FAILED,
    JobState.CANCELLED,
)
"""Where every pod has or had its node, room on others explains nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why a job stands as it does.

    Attributes:
        verdicts: The answer first; never none.
        skipped: What could not be looked at.
        start: When a job of a queue starts; None for one that does not wait there.
    """

    status: JobStatus
    verdicts: tuple[Verdict, ...]
    skipped: tuple[Skipped, ...] = ()
    start: Estimate | None = None


def explain_job(backend: Backend, handle: Handle, *, clock: Callable[[], float] = time.time) -> Explanation:
    """Say why a job stands as it does.

    Raises:
        NotFoundError: There is no such job.
        UnreachableError: The backend does not answer.
    """
    snapshot = take_snapshot(backend, handle, clock=clock)
    start = None
    if (cluster := backend.cluster) is not None and snapshot.status.state is JobState.QUEUED:
        start = fetch_estimate(cluster.api, cluster.logs, snapshot.job, kind=cluster.jobs, clock=clock)
    has_room = snapshot.status.state in _HAS_ROOM
    skipped = tuple(item for item in snapshot.skipped if not (has_room and item.is_of_room))
    return Explanation(status=snapshot.status, verdicts=explain(snapshot), skipped=skipped, start=start)


def take_snapshot(backend: Backend, handle: Handle, *, clock: Callable[[], float] = time.time) -> Snapshot:
    """Take a snapshot of a job; one that no cluster runs has a status and logs only."""
    if (cluster := backend.cluster) is not None:
        return gather(cluster.api, cluster.logs, handle, kind=cluster.jobs, clock=clock)
    status = backend.status(handle)
    logs = backend.read_tails(handle, pods=MAX_LOGS, max_bytes=LOG_BYTES)
    return Snapshot(now_s=clock(), status=status, job={}, logs=logs)
