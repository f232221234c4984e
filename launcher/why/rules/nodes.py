"""What nodes have done to a job's pods: fallen silent, evicted, drained, refused them. Pure.

Words of kubernetes v1.34.7: pkg/kubelet/eviction/helpers.go, pkg/kubelet/lifecycle/predicate.go,
pkg/kubelet/nodeshutdown, pkg/kubelet/cm/admission/errors.go, pkg/controller/tainteviction,
pkg/scheduler/framework/preemption.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher import objects
from launcher.backends.kubernetes.events import read_event
from launcher.backends.kubernetes.pods import lost_pod
from launcher.backends.states import JobState
from launcher.objects import KubeObject
from launcher.why.queries import name_of
from launcher.why.snapshot import Snapshot
from launcher.why.verdict import Resolves, Verdict, evidence

RECENT_S = 900.0
"""How long an event about a pod that has been made again still explains what goes on."""
_BACK = "its rank 0 has saved if it was given the time, and the job goes on from the last checkpoint"

_WORDS: tuple[tuple[str, str, str, str], ...] = (
    (
        r"low on resource: memory|MemoryPressure",
        "evicted-memory",
        "a node ran out of memory and evicted {pod}",
        "state Launch.resources.memory, so that the node keeps room for it",
    ),
    (
        r"low on resource: (ephemeral-storage|inodes|nodefs|imagefs|pids)|DiskPressure|PIDPressure",
        "evicted-disk",
        "a node ran out of disk or processes and evicted {pod}",
        "write to a mounted volume, and have the node cleaned",
    ),
    (
        r"EmptyDir volume \"(?P<what>[^\"]+)\" exceeds|exceeds the total limit of containers"
        r"|exceeded its local ephemeral storage limit",
        "evicted-volume",
        "{pod} wrote more onto its node's disk than it may",
        "raise Launch.resources.shm for /dev/shm, or write to a mounted volume",
    ),
    (
        r"PreemptionByScheduler|[Pp]reempt(ed|ing)",
        "preempted",
        "{pod} had to make room for a job of higher priority",
        "set Launch.priority_class, or wait",
    ),
    (
        r"node shutdown|Node is shutting|NodeShutdown|DeletionByTaintManager|TaintManagerEviction|due to"
        r" NoExecute taint"
        r"|EvictionByEvictionAPI|Eviction API|DeletionByPodGC",
        "node-drained",
        "the node of {pod} is being emptied",
        "nothing, if other nodes have room",
    ),
    (
        r"UnexpectedAdmissionError|OutOf[a-z]|NodeAffinity|Allocate failed|didn't have enough resource",
        "node-refused",
        "the node refused {pod}, which was scheduled to it",
        "have the node's devices looked at: kubectl describe node",
    ),
)
_NOTES = (
    "Evicted",
    "Preempted",
    "TaintManagerEviction",
    "NodeShutdown",
    "OutOfcpu",
    "OutOfmemory",
    "OutOfpods",
    "UnexpectedAdmissionError",
)


def explain_lost_node(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say that a pod's node does not answer."""
    pod = lost_pod(snapshot.pods)
    if pod is None or snapshot.status.state.is_terminal or objects.is_being_deleted(snapshot.job):
        return
    host, name = objects.host_of(pod), objects.name_of(pod)
    since = _ready_since(pod)
    yield Verdict(
        code="node-lost",
        sentence=f"node {host} of {name} does not answer; the job waits for it and goes on when it is back",
        evidence=evidence(
            f"{name}: Ready is False since {since}" if since else "", _describe_node(snapshot, host)
        ),
        fix=(
            f"kubectl describe node {host}; if it is off for good: "
            + snapshot.kind.free_lost_pod(pod=name, host=host, namespace=snapshot.status.handle.namespace)
        ),
        resolves=Resolves.LATER,
    )


def explain_evictions(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say why pods that ran were taken away."""
    state = snapshot.status.state
    if state in (
        JobState.SUCCEEDED,
        JobState.CANCELLED,
        JobState.RUNNING,
        JobState.SUSPENDED,
        JobState.QUEUED,
    ):
        return
    # an event about a pod that went on afterwards does not explain how it ended
    earlier = [] if state is JobState.FAILED else _removed_by_events(snapshot)
    for pod, words, seen in (*_removed_pods(snapshot), *earlier):
        for pattern, code, head, fix in _WORDS:
            if re.search(pattern, words):
                has_ended = state is JobState.FAILED
                yield Verdict(
                    code=code,
                    sentence=head.format(pod=pod) + ("" if has_ended else f"; {_BACK}"),
                    evidence=evidence(seen),
                    fix=(
                        f"ftlaunch submit CONFIG --continue {name_of(snapshot)}; {fix.format(pod=pod)}"
                        if has_ended
                        else fix.format(pod=pod)
                    ),
                    resolves=Resolves.BY_CHANGE if has_ended else Resolves.ITSELF,
                )
                return


def _removed_pods(snapshot: Snapshot) -> list[tuple[str, str, str]]:
    found = []
    for pod in snapshot.pods:
        status, name = pod.get("status") or {}, objects.name_of(pod)
        targets = [
            item
            for item in status.get("conditions") or []
            if item.get("type") == "DisruptionTarget" and item.get("status") == "True"
        ]
        ended_by_node = status.get("reason") and status.get("phase") == "Failed"
        for said in ([status] if ended_by_node else []) + targets:
            words = f"{said.get('reason', '')}: {said.get('message', '')}"
            found.append((name, words, f"{name}: {words}"))
    return found


def _removed_by_events(snapshot: Snapshot) -> list[tuple[str, str, str]]:
    job, kind = name_of(snapshot), snapshot.kind
    notes = [
        read_event(event)
        for event in snapshot.events
        if event.get("reason") in _NOTES
        and (about := str(event["involvedObject"].get("name", ""))) != job
        and kind.is_name_of(about, job=job)
    ]
    recent = [note for note in notes if snapshot.now_s - note.time_s < RECENT_S]
    return [
        (note.about, f"{note.reason}: {note.message}", f"{note.about}: {note.reason}: {note.message}")
        for note in sorted(recent, key=lambda note: -note.time_s)
    ]


def _ready_since(pod: KubeObject) -> str:
    for item in (pod.get("status") or {}).get("conditions") or []:
        if item.get("type") == "Ready":
            return str(item.get("lastTransitionTime") or "")
    return ""


def _describe_node(snapshot: Snapshot, host: str) -> str:
    node = next((node for node in snapshot.nodes or () if objects.name_of(node) == host), None)
    if node is None:
        return ""
    for item in (node.get("status") or {}).get("conditions") or []:
        if item.get("type") == "Ready":
            return f"node {host}: Ready is {item.get('status')}: {item.get('message', '')}"
    return ""
