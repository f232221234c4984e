"""What rules ask of a snapshot again and again. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from launcher import objects
from launcher.backends.kubernetes.events import read_event
from launcher.backends.states import JobEvent, PodState
from launcher.kinds.pods import container_of
from launcher.kinds.registry import kind_named
from launcher.objects import KubeObject
from launcher.why.snapshot import Snapshot

MANY = 3
"""So many pods are named, more are counted."""


def name_of(snapshot: Snapshot) -> str:
    """Return the job's name."""
    return snapshot.status.handle.job


def namespace_of(snapshot: Snapshot) -> str:
    """Return where the job is."""
    return snapshot.status.handle.namespace


def template_of(snapshot: Snapshot) -> KubeObject:
    """Return the spec of the pods that the job is made of; one without containers where it is gone."""
    try:
        spec: KubeObject = snapshot.kind.pod_template_of(snapshot.job, snapshot.beside or ())["spec"]
    except LookupError:
        return {"containers": []}
    return spec


def without_node(snapshot: Snapshot) -> tuple[KubeObject, ...]:
    """Return the living pods that no node has been found for."""
    return tuple(pod for pod in snapshot.pods if is_pending(pod) and not objects.host_of(pod))


def not_started(snapshot: Snapshot) -> tuple[KubeObject, ...]:
    """Return the living pods that are on a node and whose container has not run yet."""
    return tuple(pod for pod in snapshot.pods if is_pending(pod) and objects.host_of(pod))


def is_pending(pod: KubeObject) -> bool:
    """Say whether a pod has not begun, and is still meant to."""
    return objects.phase_of(pod) == PodState.PENDING.value and not objects.is_being_deleted(pod)


def waiting_of(pod: KubeObject) -> tuple[str, str]:
    """Return why a pod's container waits, as reason and message; empty where it does not."""
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), container_of(pod)]
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return str(waiting["reason"]), str(waiting.get("message") or "")
    return "", ""


def ended_of(pod: KubeObject) -> Mapping[str, object]:
    """Return how a pod's container ended, last time; empty where it never has."""
    container = container_of(pod)
    now = (container.get("state") or {}).get("terminated")
    last = (container.get("lastState") or {}).get("terminated")
    return now or last or {}


def ended_for_another(snapshot: Snapshot) -> Mapping[str, float]:
    """Return the names of pods that have ended and are to be made again, with when that was.

    A Job keeps them, and they are the present ones of their numbers until others are made.
    """
    found = {}
    for pod in snapshot.pods:
        ended = (container_of(pod).get("state") or {}).get("terminated") or {}
        phase = (pod.get("status") or {}).get("phase")
        if phase == "Failed" and snapshot.kind.is_retried(ended.get("exitCode")):
            found[objects.name_of(pod)] = objects.unix_time(ended.get("finishedAt")) or 0.0
    return found


def events_of(snapshot: Snapshot, item: KubeObject, *reasons: str) -> list[JobEvent]:
    """Return the events about this very object, newest first.

    Args:
        snapshot: Where to look.
        item: An object with a name and a uid.
        reasons: Only those with one of these reasons; none for all.
    """
    name, uid = objects.name_of(item), item["metadata"].get("uid")
    found = [
        read_event(event)
        for event in snapshot.events
        if event["involvedObject"].get("name") == name
        and event["involvedObject"].get("uid") in (uid, None)
        and (not reasons or event.get("reason") in reasons)
    ]
    return sorted(found, key=lambda note: -note.time_s)


def events_inside(snapshot: Snapshot, *reasons: str) -> list[JobEvent]:
    """Return the events, newest first, about what a controller has made of the job: a TrainJob's JobSet.

    It has the job's name and is not looked at, so that its events are known by its kind and by being no older
    than the job.
    """
    inside = {kind_named(name).resource.kind for name in snapshot.kind.builds_on}
    found = [
        read_event(event)
        for event in snapshot.events
        if event["involvedObject"].get("kind") in inside
        and event["involvedObject"].get("name") == objects.name_of(snapshot.job)
        and (not reasons or event.get("reason") in reasons)
    ]
    found = [note for note in found if note.time_s >= objects.created_s(snapshot.job)]
    return sorted(found, key=lambda note: -note.time_s)


def quote(note: JobEvent) -> str:
    """Write an event as evidence."""
    often = f" (x{note.count})" if note.count > 1 else ""
    return f"{note.about}: {note.reason}: {note.message}{often}"


def who(snapshot: Snapshot, pods: Sequence[KubeObject], verb: str = "") -> str:
    """Name some of a job's pods, such as `2 of 4 pods (job-worker-1, job-worker-3) wait`.

    Args:
        snapshot: Of the job.
        pods: Those that are meant; not none.
        verb: What they do, such as `wait`; an `s` is put to it for one pod.
    """
    names = [objects.name_of(pod) for pod in pods]
    total = snapshot.kind.replicas_of(snapshot.job)
    does = f" {verb}{'s' if len(names) == 1 else ''}" if verb else ""
    if len(names) == 1 == total:
        return names[0] + does
    if len(names) == total:
        return f"all {total} pods{does}"
    shown = ", ".join(names[:MANY]) + (", …" if len(names) > MANY else "")
    return f"{len(names)} of {total} pods ({shown}){does}"


def tail(log: str, *, lines: int = 1) -> tuple[str, ...]:
    """Return a log's last lines without times and progress."""
    texts = [text_of(line) for line in log.splitlines()]
    kept = [text for text in texts if text.strip() and "ftlaunch-progress" not in text]
    return tuple(kept[-lines:])


def text_of(line: str) -> str:
    """Return a line of a log without its time."""
    return line.partition(" ")[2]


def kubectl(snapshot: Snapshot, words: str) -> str:
    """Write a kubectl command for the job's namespace."""
    return f"kubectl -n {namespace_of(snapshot)} {words}"
