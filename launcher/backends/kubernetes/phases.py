"""How far a job's pods have come, before all of them run and when one has to begin again. Pure.

A first start and a restart look alike in one pod; they differ in what the others have been doing.
"""

from __future__ import annotations

from collections.abc import Sequence

from launcher import objects
from launcher.backends.states import JobState, PodState
from launcher.kinds.pods import container_of
from launcher.objects import KubeObject

_ORDER = (JobState.SCHEDULING, JobState.PULLING, JobState.STARTING)
PULL_TROUBLES = frozenset({
    "ErrImageNeverPull", "ErrImagePull", "ImageInspectError", "ImagePullBackOff", "InvalidImageName",
    "RegistryUnavailable", "SignatureValidationFailed",
})  # fmt: skip
"""Reasons of a waiting container that are about its image (kubelet, pkg/kubelet/images/types.go)."""
_APART_S = 5.0
"""Pods of one start are made one after the other; one that comes later by this, also after a peer's start, is
a new one."""


def starting_state(pods: Sequence[KubeObject], *, replicas: int) -> JobState | None:
    """Return how far a job is on its way to run, by the pod that is furthest behind.

    Args:
        pods: Those that exist.
        replicas: How many there should be.

    Returns:
        None once all of them have run.
    """
    stages = [stage for stage in map(_stage_of, pods) if stage is not None]
    if not pods:
        return JobState.SUBMITTED
    if len(pods) < replicas:  # a quota or an admission check holds one back
        return JobState.SCHEDULING
    return min(stages, key=_ORDER.index, default=None)


def lost_pod(pods: Sequence[KubeObject]) -> KubeObject | None:
    """Return a pod whose node does not answer, or None.

    The node controller takes back a pod's readiness when its node falls silent (after 40 s by default) and
    leaves everything else as it was last seen. Our pods have no readiness probe, so nothing else does.
    """
    return next((pod for pod in pods if _is_unheard_of(pod)), None)


def is_restart(pods: Sequence[KubeObject]) -> bool:
    """Say whether a pod that does not run yet was made again, while others had been running."""
    first_start = min((start for start in map(_started_s, pods) if start is not None), default=None)
    if first_start is None:
        return False
    made_first_until = _first_series(sorted(map(objects.created_s, pods)))
    waiting = [objects.created_s(pod) for pod in pods if _stage_of(pod) is not None]
    return any(made > max(first_start + _APART_S, made_first_until) for made in waiting)


def _first_series(moments: Sequence[float]) -> float:
    """Return when the operator had made the pods of a first start: it goes on without a pause.

    A thousand take it a minute, in which the first ones run long since.
    """
    last = moments[0]
    for moment in moments:
        if moment - last > _APART_S:
            break
        last = moment
    return last


def _stage_of(pod: KubeObject) -> JobState | None:
    if objects.phase_of(pod) != PodState.PENDING.value:
        return None
    if not pod["spec"].get("nodeName"):
        return JobState.SCHEDULING
    waiting = (container_of(pod).get("state") or {}).get("waiting") or {}
    return JobState.PULLING if waiting.get("reason") in PULL_TROUBLES else JobState.STARTING


def _is_unheard_of(pod: KubeObject) -> bool:
    conditions = {item["type"]: item["status"] for item in (pod.get("status") or {}).get("conditions") or []}
    runs = "running" in (container_of(pod).get("state") or {})
    return runs and objects.is_living(pod) and conditions.get("Ready") == "False"


def _started_s(pod: KubeObject) -> float | None:
    running = (container_of(pod).get("state") or {}).get("running") or {}
    return objects.unix_time(running.get("startedAt"))
