"""What pods say of themselves: how far they have come, what they wait for, which restart they are. Pure.

The controller's conditions lag and keep no trace of a pod that was made again, so a job's state is read
from its pods as far as they tell. Two questions are harder than they look:

*Is it a first start or a restart?* In one pod both look alike: Pending, then Running. They differ in what
the others have been doing. `is_restart` takes the pods that were made one after the other without a pause
for the first series, and a pod that came later than that, and later than a peer's start, for one that was
made again.

*What does it wait for?* Conditions say why it is not scheduled, the container's state what is wrong with
its image or settings; about volumes, and about an image that is still on its way, there are only events
(kubelet, pkg/kubelet/events).

Controllers make a pod again with a new uid, some under its old name, and count nothing; the kubelet counts
only its own restarts of a container. So restarts are those that this process has seen, from 0, and those
whose pods are still there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from launcher import objects
from launcher.backends.kubernetes.gangs import say_plainly
from launcher.backends.states import JobEvent, JobState, PodState
from launcher.kinds.pods import container_of, node_of
from launcher.objects import KubeObject, uid_of

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


_VOLUME = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
_NO_CAUSE = ("ContainerCreating", "PodInitializing", "")
_PASSED = ("Scheduled", "Pulled", "Created", "Started", "SuccessfulAttachVolume")
# the scheduler adds how little it would help to evict others
EVICTIONS = re.compile(r"[.,] (?:no new claims to deallocate, )?preemption: .*", re.DOTALL)
_AGAIN = re.compile(r'^(?:Back-off pulling image "[^"]*"(?:: )?)?(?:ErrImagePull: )?')


def read_wait(pod: KubeObject, events: Sequence[JobEvent] = ()) -> str:
    """Say what a pod that has not started waits for; empty where it has, or where it is on its way out.

    Args:
        pod: As the API gave it.
        events: About it, oldest first; used where the pod itself gives no cause.
    """
    if objects.is_being_deleted(pod) or objects.phase_of(pod) != "Pending":
        return ""
    if not pod["spec"].get("nodeName"):
        return _read_scheduling(pod)
    waiting = (container_of(pod).get("state") or {}).get("waiting") or {}
    reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "").strip()
    if reason in PULL_TROUBLES:
        return f"image: {_AGAIN.sub('', message) or message or reason}"
    if reason not in _NO_CAUSE:
        return f"container: {reason}{': ' if message else ''}{message}"
    return _read_event(events[-1]) if events else "its container is being created"


def needs_events(pod: KubeObject) -> bool:
    """Say whether only events tell what a pod waits for."""
    waiting = (container_of(pod).get("state") or {}).get("waiting") or {}
    is_bound = bool(pod["spec"].get("nodeName")) and objects.phase_of(pod) == "Pending"
    return is_bound and str(waiting.get("reason") or "") in _NO_CAUSE


def _read_scheduling(pod: KubeObject) -> str:
    for item in (pod.get("status") or {}).get("conditions") or []:
        if item.get("type") == "PodScheduled" and item.get("status") == "False":
            text = say_plainly(EVICTIONS.sub("", str(item.get("message") or item.get("reason") or "")))
            is_volume = "persistentvolume" in text.lower() or "volume node affinity" in text
            return f"{'volume' if is_volume else 'scheduling'}: {text}"
    return "scheduling: no scheduler has looked at it yet"


def _read_event(event: JobEvent) -> str:
    if event.reason in _VOLUME:
        return f"volume: {event.message}"
    if event.reason == "Pulling":
        return f"image: {event.message}"
    if event.reason in _PASSED or not event.is_warning:
        return "its container is being created"
    return f"container: {event.reason}: {event.message}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PodStart:
    """One start of a pod's container.

    Attributes:
        number: From 0 at the first that was seen of this node's pods.
        has_started: There is a log to read.
    """

    number: int
    has_started: bool


@dataclass(slots=True)
class _Seen:
    uid: str
    base: int
    restarts: int


class RestartCounter:
    """What this process has seen of the pods' restarts."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], _Seen] = {}

    def read(self, job: KubeObject, pod: KubeObject, *, earlier: int = 0) -> PodStart:
        """Return what a pod is now, and remember it; `earlier` pods of its number are still there."""
        container = container_of(pod)
        restarts = int(container.get("restartCount", 0))
        key = (uid_of(job), node_of(pod))
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen(uid=uid_of(pod), base=earlier, restarts=restarts)
        elif seen.uid != uid_of(pod):
            base = max(seen.base + seen.restarts + 1, earlier)
            seen = self._seen[key] = _Seen(uid=uid_of(pod), base=base, restarts=restarts)
        seen.restarts = restarts
        state = container.get("state") or {}
        # between two restarts in place the API still gives the log of the one that ended
        last = (container.get("lastState") or {}) if "waiting" in state else state
        return PodStart(number=seen.base + restarts, has_started="terminated" in last or "running" in state)
