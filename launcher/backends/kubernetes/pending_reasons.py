"""What a pod waits for before its container has started, for people. Pure.

Conditions say why it is not scheduled, the container's state what is wrong with its image or settings; about
volumes, and about an image that is still on its way, there are only events (kubelet, pkg/kubelet/events).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from launcher import objects
from launcher.backends.kubernetes.gangs import say_plainly
from launcher.backends.kubernetes.phases import PULL_TROUBLES
from launcher.backends.states import JobEvent
from launcher.kinds.pods import container_of
from launcher.objects import KubeObject

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
