"""Why pods have no node: arithmetic where nodes may be looked at, else the scheduler's words. Pure.

The scheduler speaks of one pod and of this moment: `0/5 nodes are available`. It says neither how many pods
of the job fit, nor whether they ever could. Counting says both, and so it comes first; but it knows nothing
of affinity, zones and ports, which the scheduler asks after room. Where its words are of one of those
(`_BEYOND_ROOM`), there was room, and the words win. Users without the right to see nodes get the words alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from launcher import objects
from launcher.backends.kubernetes.gangs import say_plainly, tells_little
from launcher.objects import KubeObject
from launcher.why.node_capacity import read_capacities
from launcher.why.queries import events_of, kubectl, quote, who, without_node
from launcher.why.rules.capacity import advise_less, check_capacity, code_of_resource
from launcher.why.rules.gangs import explain_gang, explain_gang_by_words, is_gang
from launcher.why.rules.lifecycle import PATIENCE_S
from launcher.why.snapshot import Snapshot
from launcher.why.unschedulable import Blocker, read_blockers, without_evictions
from launcher.why.verdict import Resolves, Verdict, evidence

_BEYOND_ROOM = ("pod-affinity", "topology-spread", "volume-zone", "volume-busy", "volume-limit", "claim-lost")
"""Filters that come after the one for room: a node that fails them has room for the pod."""

_NOT_COUNTED = (
    "goes on by itself if the nodes are large enough; whether it ever fits cannot be told without "
    "k8s/rbac/capacity.yaml"
)

_WORDS: dict[str, tuple[str, str, Resolves]] = {
    "pod-affinity": (
        "the pods may not stand where the others stand",
        "change the affinity in Launch.pod_patch",
        Resolves.BY_CHANGE,
    ),
    "topology-spread": (
        "the pods cannot be spread as asked for",
        "change the constraints in Launch.pod_patch",
        Resolves.BY_CHANGE,
    ),
    "volume-zone": (
        "the nodes with room cannot reach the volume",
        "use a claim that those nodes reach, or wait for room where the volume is",
        Resolves.LATER,
    ),
    "volume-busy": (
        "a volume is in use by another pod, and can be used by one only",
        "wait for that pod to end",
        Resolves.LATER,
    ),
    "volume-limit": (
        "the nodes have as many volumes as they can",
        "wait, or mount fewer volumes",
        Resolves.LATER,
    ),
    "claim-lost": (
        "the volume of a claim is gone",
        "name another claim in Launch.volumes",
        Resolves.BY_CHANGE,
    ),
    "too-many-pods": ("the nodes run as many pods as they may", "wait, or lower --nodes", Resolves.LATER),
    "host-port": (
        "the port that the pod wants on its node is taken",
        "take the host port out of Launch.pod_patch",
        Resolves.LATER,
    ),
    "node-selector": (
        "no node has the labels that the job asks for",
        "correct Launch.node_selector",
        Resolves.BY_CHANGE,
    ),
    "untolerated-taint": (
        "nodes have a taint that the job does not tolerate",
        "add it to Launch.tolerations",
        Resolves.BY_CHANGE,
    ),
    "nodes-cordoned": ("nodes are cordoned or not ready", "kubectl get nodes", Resolves.LATER),
}


def explain_unscheduled(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say why pods have no node yet."""
    pods = without_node(snapshot)
    if not pods or snapshot.status.state.is_terminal:
        return
    pod, reason, message = min(
        ((pod, *_words_about(snapshot, pod)) for pod in pods), key=lambda told: tells_little(told[2])
    )
    if (pod.get("status") or {}).get("nominatedNodeName"):
        host = pod["status"]["nominatedNodeName"]
        yield Verdict(
            code="preempting",
            sentence=f"room for {objects.name_of(pod)} is being made on node {host}",
            evidence=evidence(message),
            resolves=Resolves.ITSELF,
        )
    elif reason == "SchedulingGated":
        gates = ", ".join(gate.get("name", "") for gate in pod["spec"].get("schedulingGates") or [])
        yield Verdict(
            code="scheduling-gated",
            sentence=f"{who(snapshot, pods, 'wait')} for a scheduling gate to be lifted: {gates}",
            evidence=evidence(message),
            fix=kubectl(snapshot, f"get pod {objects.name_of(pod)} -o yaml"),
            resolves=Resolves.LATER,
        )
    elif not message:
        yield _no_word(snapshot, pods)
    elif "unbound immediate PersistentVolumeClaims" in message and snapshot.claims is None:
        yield Verdict(
            code="claim-pending",
            sentence=f"{who(snapshot, pods, 'wait')} for a claim that has no volume yet",
            evidence=evidence(message),
            fix=kubectl(snapshot, "get pvc"),
            resolves=Resolves.LATER,
        )
    elif "persistentvolumeclaim" not in message.lower():
        verdict = _explain_pods(snapshot, pods, message)
        if snapshot.nodes is None and verdict.code.startswith("insufficient-"):
            verdict = replace(verdict, prospect=_NOT_COUNTED)
        yield verdict


def _explain_pods(snapshot: Snapshot, pods: Sequence[KubeObject], message: str) -> Verdict:
    blockers = read_blockers(message)
    said = evidence(say_plainly(without_evictions(message)))
    in_gang = is_gang(pods)
    beyond = next((item for item in blockers if item.code in _BEYOND_ROOM), None)
    if beyond is not None:
        return _by_words(snapshot, pods, beyond, said, blockers=blockers)
    counted = None
    if snapshot.nodes is not None:
        capacities = read_capacities(snapshot.nodes, snapshot.placed)
        total = snapshot.kind.replicas_of(snapshot.job)
        counted = check_capacity(pods[0]["spec"], pods=total, more=len(pods), capacities=capacities)
        if in_gang and (
            verdict := explain_gang(snapshot, pods, counted=counted, capacities=capacities, said=said)
        ):
            return verdict
    if counted is not None:
        return _join(counted, said)
    if in_gang and (verdict := explain_gang_by_words(snapshot, pods, message, said=said)):
        return verdict
    return _by_words(snapshot, pods, blockers[0] if blockers else None, said, blockers=blockers)


def _by_words(
    snapshot: Snapshot,
    pods: Sequence[KubeObject],
    blocker: Blocker | None,
    said: tuple[str, ...],
    *,
    blockers: Sequence[Blocker],
) -> Verdict:
    if blocker is not None and blocker.code == "insufficient":
        if snapshot.placed is not None and snapshot.nodes is not None:
            return Verdict(
                code="scheduling",
                sentence="there is room by now, and the scheduler looks again soon",
                evidence=said,
                resolves=Resolves.ITSELF,
            )
        short = list(dict.fromkeys(item.resource for item in blockers if item.code == blocker.code))
        largest = _largest_node(snapshot, blocker.resource)
        return Verdict(
            code=code_of_resource(blocker.resource),
            sentence=f"{who(snapshot, pods, 'find')} no node with enough free {' and '.join(short)}{largest}",
            evidence=said,
            fix=f"{' and '.join(map(advise_less, short))}, or wait",
            resolves=Resolves.LATER,
        )
    if blocker is None or blocker.code not in _WORDS:
        return Verdict(
            code="no-nodes" if "no nodes available" in " ".join(said) else "unschedulable",
            sentence=f"{who(snapshot, pods, 'find')} no node: {said[0] if said else 'no reason is given'}",
            evidence=said,
            fix="kubectl get nodes",
            resolves=Resolves.LATER,
        )
    head, fix, resolves = _WORDS[blocker.code]
    return Verdict(
        code=blocker.code,
        sentence=f"{who(snapshot, pods, 'find')} no node: {head} ({blocker.nodes} {blocker.text})",
        evidence=said,
        fix=fix,
        resolves=resolves,
    )


def _largest_node(snapshot: Snapshot, resource: str) -> str:
    if snapshot.nodes is None:
        return ""
    capacities = read_capacities(snapshot.nodes, None)
    largest = max((capacity.whole.get(resource, 0) for capacity in capacities), default=0)
    return (
        f" (the largest node has {largest:f} in all; what of it is free may not be looked at)"
        if largest
        else ""
    )


def _no_word(snapshot: Snapshot, pods: Sequence[KubeObject]) -> Verdict:
    waited_s = snapshot.now_s - min(objects.created_s(pod) for pod in pods)
    scheduler = str(pods[0]["spec"].get("schedulerName") or "default-scheduler")
    if waited_s > PATIENCE_S:
        fix = "kubectl get pods -A | grep scheduler"
        return Verdict(
            code="scheduler-missing",
            sentence=(
                f"scheduler {scheduler!r} has said nothing about {who(snapshot, pods)} for {waited_s:.0f} s"
            ),
            evidence=evidence(f"{objects.name_of(pods[0])}: spec.schedulerName {scheduler}"),
            fix=f"{fix}; the training operator names it with --gang-scheduler-name"
            if is_gang(pods)
            else f"{fix}, or correct Launch.queue",
            resolves=Resolves.BY_CHANGE,
        )
    return Verdict(
        code="scheduling",
        sentence=f"the scheduler is looking for a node for {who(snapshot, pods)}",
        resolves=Resolves.ITSELF,
    )


def _words_about(snapshot: Snapshot, pod: KubeObject) -> tuple[str, str]:
    """Return the scheduler's reason and message; those of the pod itself are newer than any event."""
    for item in (pod.get("status") or {}).get("conditions") or []:
        if item.get("type") == "PodScheduled" and item.get("status") == "False":
            return str(item.get("reason", "")), " ".join(str(item.get("message", "")).split())
    notes = events_of(snapshot, pod, "FailedScheduling")
    return ("", quote(notes[0])) if notes else ("", "")


def _join(verdict: Verdict, said: tuple[str, ...]) -> Verdict:
    return Verdict(
        code=verdict.code,
        sentence=verdict.sentence,
        evidence=evidence(*said, *verdict.evidence),
        fix=verdict.fix,
        resolves=verdict.resolves,
    )
