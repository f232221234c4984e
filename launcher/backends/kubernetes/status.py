"""A job and its pods -> JobStatus. Pure: decides from conditions and pods together.

Observed with training operator v1.9.3: conditions lag and keep no trace of a recreated pod, Restarting
replaces Running, and a suspended job's pods live on until they have saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher import objects
from launcher.backends.kubernetes.gangs import say_plainly, tells_little
from launcher.backends.kubernetes.pods import EVICTIONS, is_restart, lost_pod, starting_state
from launcher.backends.kubernetes.workloads import describe_wait
from launcher.backends.states import (
    JobState,
    JobStatus,
    PodState,
    PodStatus,
    early_end,
    trains_with_fewer,
)
from launcher.kinds.base import JobKind
from launcher.kinds.pods import container_of, node_of
from launcher.kinds.registry import DEFAULT
from launcher.objects import KubeObject
from launcher.plan.handle import Handle
from trainer.protocol.codec import FormatError
from trainer.protocol.progress import Progress
from trainer.protocol.termination import Termination, parse_termination

MAX_REASON = 400
AWAITED = (JobState.SUBMITTED, JobState.SCHEDULING, JobState.STARTING)
"""States in which an event may say more than the pods."""
_OOM = "OOMKilled"
_BUSY = ("ContainerCreating", "PodInitializing")
"""Waiting without a reason: what holds it up, if anything does, is in the events."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Standing:
    state: JobState
    reason: str = ""
    ended_s: float | None = None


def read_job(
    job: KubeObject,
    pods: Sequence[KubeObject],
    *,
    kind: JobKind = DEFAULT,
    restarts: Mapping[str, int],
    progress: Progress | None,
    queued: Sequence[KubeObject] = (),
) -> JobStatus:
    """Say how a job stands.

    Args:
        job: As the API gave it.
        pods: Its own, by node index.
        kind: Of the job.
        restarts: How often each pod was made again, by its name.
        progress: The last progress line of node 0, or None.
        queued: Kueue's Workloads of the namespace, where they are known.
    """
    standing = _read_standing(job, pods, queued, kind, progress)
    read = tuple(read_pod(pod, restarts=restarts.get(objects.name_of(pod), 0)) for pod in pods)
    early = early_end(read) if standing.state is JobState.SUCCEEDED else ""
    return JobStatus(
        handle=Handle(backend="kubernetes", namespace=job["metadata"]["namespace"], job=objects.name_of(job)),
        run_id=objects.run_id_of(job),
        state=standing.state,
        pods=read,
        reason=(early or standing.reason)[:MAX_REASON],
        created_s=objects.created_s(job),
        ended_s=standing.ended_s,
        progress=progress,
    )


def read_pod(pod: KubeObject, *, restarts: int) -> PodStatus:
    """Say how a pod stands."""
    container = container_of(pod)
    state = container.get("state") or {}
    running, waiting = state.get("running") or {}, state.get("waiting") or {}
    ended = state.get("terminated") or {}
    last = ended or (waiting and (container.get("lastState") or {}).get("terminated")) or {}
    message = str(last.get("message") or "")
    termination = _read_termination(message)
    return PodStatus(
        pod=objects.name_of(pod),
        node=node_of(pod),
        state=PodState(objects.phase_of(pod)),
        host=objects.host_of(pod),
        restarts=restarts,
        exit_code=last.get("exitCode"),
        termination=termination,
        reason=_pod_reason(pod, waiting=waiting, last=last, termination=termination)[:MAX_REASON],
        started_s=objects.unix_time(running.get("startedAt") or ended.get("startedAt")),
        ended_s=objects.unix_time(ended.get("finishedAt")),
        uid=str(pod["metadata"].get("uid") or ""),
        bound_s=_bound_s(pod),
    )


def _bound_s(pod: KubeObject) -> float | None:
    """Return when a pod was given a node: from then on nobody else has its room."""
    status = pod.get("status") or {}
    for item in status.get("conditions") or []:
        if item.get("type") == "PodScheduled" and item.get("status") == "True":
            return objects.unix_time(item.get("lastTransitionTime"))
    return objects.unix_time(status.get("startTime"))


def _read_standing(
    job: KubeObject, pods: Sequence[KubeObject], queued: Sequence[KubeObject], kind: JobKind,
    progress: Progress | None,
) -> _Standing:  # fmt: skip
    if (ending := kind.ending_of(job)) is not None:
        state = JobState.SUCCEEDED if ending.succeeded else JobState.FAILED
        verdict = "" if ending.succeeded else _why_failed(pods)
        return _Standing(state=state, reason=verdict or ending.message, ended_s=ending.ended_s)
    alive = any(objects.is_living(pod) for pod in pods)
    if kind.is_suspended(job):
        return _read_suspended(job, kind, queued, alive=alive)
    if objects.is_being_deleted(job):
        return _Standing(state=JobState.RUNNING if alive else JobState.SUBMITTED, reason="being deleted")
    running = {node_of(pod) for pod in pods if objects.phase_of(pod) == PodState.RUNNING.value}
    away = frozenset(range(kind.replicas_of(job))) - running
    if (lost := lost_pod(pods)) is not None:
        away |= {node_of(lost)}
    if fewer := trains_with_fewer(away, progress):
        waits = _why_waiting(pods)
        return _Standing(state=JobState.RUNNING, reason=f"{fewer}: {waits}" if waits else fewer)
    return _read_living(job, pods, kind)


def _read_living(job: KubeObject, pods: Sequence[KubeObject], kind: JobKind) -> _Standing:
    if (lost := lost_pod(pods)) is not None:
        reason = (
            f"{objects.name_of(lost)}: its node {objects.host_of(lost)} does not answer; "
            "the job goes on when the node is back"
        )
        return _Standing(state=JobState.RESTARTING, reason=reason)
    if (again := _why_restarting(job, pods, kind)) is not None:
        return _Standing(state=JobState.RESTARTING, reason=again)
    state = starting_state(pods, replicas=kind.replicas_of(job))
    if state is None:
        verdict = _why_failed(pods)
        return _Standing(state=JobState.RUNNING, reason=f"{verdict}; its peers go on" if verdict else "")
    if not pods and not kind.is_noticed(job):
        return _Standing(state=state, reason="no controller has looked at the job yet")
    made, wanted = len(pods), kind.replicas_of(job)
    making = f"{made} of {wanted} pods have been made" if 0 < made < wanted else ""
    return _Standing(state=state, reason=_why_waiting(pods) or making)


def _read_suspended(
    job: KubeObject, kind: JobKind, queued: Sequence[KubeObject], *, alive: bool
) -> _Standing:
    stopped = kind.stopped_of(job)
    if not kind.is_cancelled(job):
        if alive:
            again = "stopping; its queue will start it again" if kind.is_queued(job) else "stopping"
            return _Standing(state=JobState.RUNNING, reason=again)
        if kind.is_queued(job):
            return _Standing(state=JobState.QUEUED, reason=describe_wait(job, queued))
        return _Standing(state=JobState.SUSPENDED, reason="suspended; no pods until it is resumed")
    if alive or stopped is None:
        state = JobState.RUNNING if alive else JobState.SUBMITTED
        return _Standing(state=state, reason="being cancelled: its pods save and stop")
    return _Standing(state=JobState.CANCELLED, ended_s=stopped.since_s)


def _why_restarting(job: KubeObject, pods: Sequence[KubeObject], kind: JobKind) -> str | None:
    """Say what a pod that is made again waits for; None where none is."""
    all_run = bool(pods) and all(objects.phase_of(pod) == PodState.RUNNING.value for pod in pods)
    if (condition := kind.restarting_of(job)) and not all_run:
        return _why_waiting(pods) or condition.message
    for pod in pods:  # its controller takes its time
        if objects.phase_of(pod) == PodState.FAILED.value and kind.is_retried(_exit_code(pod)):
            return f"{objects.name_of(pod)} is made again"
    is_late = starting_state(pods, replicas=kind.replicas_of(job)) is not None and is_restart(pods)
    return _why_waiting(pods) if is_late else None


def _exit_code(pod: KubeObject) -> int | None:
    found = ((container_of(pod).get("state") or {}).get("terminated") or {}).get("exitCode")
    return None if found is None else int(found)


def _why_failed(pods: Sequence[KubeObject]) -> str:
    """Return what the first pod that failed has to say; the operator only says that one has."""
    failed = [pod for pod in pods if objects.phase_of(pod) == PodState.FAILED.value]
    said = [(objects.name_of(pod), read_pod(pod, restarts=0).reason) for pod in failed]
    return next((f"{name}: {reason}" for name, reason in said if reason), "")


def _why_waiting(pods: Sequence[KubeObject]) -> str:
    reasons = [
        read_pod(pod, restarts=0).reason for pod in pods
        if objects.phase_of(pod) == PodState.PENDING.value
    ]  # fmt: skip
    return min(filter(None, reasons), key=tells_little, default="")


def _read_termination(message: str) -> Termination | None:
    try:
        return parse_termination(message) if message else None
    except FormatError:  # a container that never ran our program leaves its own text
        return None


def _pod_reason(
    pod: KubeObject,
    *,
    waiting: Mapping[str, str],
    last: Mapping[str, object],
    termination: Termination | None,
) -> str:
    if waiting and waiting.get("reason") not in _BUSY:
        return ": ".join(filter(None, [waiting.get("reason"), waiting.get("message")]))
    if termination is not None:
        killed = f"{_OOM}: " if last.get("reason") == _OOM else ""
        return killed + termination.reason
    if last:
        said = last.get("reason") if last.get("reason") not in ("Completed", "Error") else ""
        return ": ".join(str(part) for part in (said, last.get("message")) if part)
    status = pod.get("status") or {}
    if status.get("reason"):  # such as Evicted
        return ": ".join(filter(None, [status["reason"], status.get("message")]))
    if objects.is_being_deleted(pod):
        return "being deleted"
    return _why_unscheduled(status)


def _why_unscheduled(status: Mapping[str, Any]) -> str:
    for item in status.get("conditions") or []:
        if item.get("type") == "PodScheduled" and item.get("status") == "False":
            message = say_plainly(EVICTIONS.sub("", item.get("message") or ""))
            return ": ".join(filter(None, [item.get("reason"), message]))
    return ""
