"""Why pods that start together or not at all have no node yet. Pure.

Where the training operator was started with `--gang-scheduler-name` every job is a gang, also one of a single
pod. What sets a gang apart is when it is looked at again: the coscheduling plug-in asks to be told of pods
and groups that are added, and not of pods that end (scheduler-plugins v0.34.7, coscheduling.go,
EventsToRegister). What it turned away waits for such a one, or for the scheduler's flush after five minutes
(kubernetes v1.34, pkg/scheduler/backend/queue/scheduling_queue.go, DefaultPodMaxInUnschedulablePodsDuration).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from launcher import objects
from launcher.backends.kubernetes.gangs import format_gap, in_group, is_about_gang, read_gap
from launcher.objects import KubeObject, requests_of
from launcher.why.node_capacity import NodeCapacity, count_fit, is_selected, taint_against
from launcher.why.queries import name_of, template_of, who
from launcher.why.rules.capacity import advise_less, code_of_resource
from launcher.why.snapshot import Snapshot
from launcher.why.unschedulable import read_blockers
from launcher.why.verdict import Resolves, Verdict, evidence

_EARLY = "PodGroup not found"  # scheduler-plugins v0.34.7, pkg/coscheduling/coscheduling.go, Permit
_AGAIN = "when any pod of the cluster finds a node, or after five minutes"
_FEWER = "wait, or ask for fewer with --nodes or --gpus"


def is_gang(pods: Sequence[KubeObject]) -> bool:
    """Say whether pods belong to a pod group."""
    return in_group(pods[0])


def foresee_gang(snapshot: Snapshot, counted: Verdict, *, capacities: Sequence[NodeCapacity]) -> Verdict:
    """Say of a job that has not been sent what becomes of it as a gang, where room is short."""
    replicas = snapshot.kind.replicas_of(snapshot.job)
    if (
        replicas == 1
        or counted.resolves is Resolves.BY_CHANGE
        or not _count_now(template_of(snapshot), capacities)
    ):
        return counted
    return Verdict(
        code="gang-incomplete",
        sentence=f"its pods start together or not at all: {counted.sentence}",
        evidence=counted.evidence,
        fix=_FEWER,
        resolves=Resolves.LATER,
    )


def explain_gang(
    snapshot: Snapshot,
    pods: Sequence[KubeObject],
    *,
    counted: Verdict | None,
    capacities: Sequence[NodeCapacity],
    said: tuple[str, ...],
) -> Verdict | None:
    """Judge a gang by the room on the nodes.

    Args:
        snapshot: Of its job.
        pods: Those that have no node; not none.
        counted: What is short, as for any pods.
        capacities: All nodes.
        said: The scheduler's words.

    Returns:
        None where it stands as any other pods would.
    """
    now = _count_now(pods[0]["spec"], capacities)
    if counted is None:
        return None if now is None else _ready(snapshot, pods, said)
    if _starts_together(snapshot, pods) and now and counted.resolves is not Resolves.BY_CHANGE:
        return _incomplete(snapshot, pods, said, f": {counted.sentence}")
    return None


def explain_gang_by_words(
    snapshot: Snapshot, pods: Sequence[KubeObject], message: str, *, said: tuple[str, ...]
) -> Verdict | None:
    """Judge a gang by the scheduler's words, where nodes or other people's pods may not be looked at.

    Returns:
        None where they say what they would of any pod.
    """
    gap, starts_together = read_gap(message), _starts_together(snapshot, pods)
    if _EARLY in message:
        return Verdict(
            code="gang-early",
            sentence=(
                f"the scheduler met {who(snapshot, pods)} before their PodGroup was made; "
                f"it looks again {_AGAIN}"
            ),
            evidence=said,
            fix=_fix_by_resume(snapshot, pods),
            resolves=Resolves.ITSELF,
        )
    if not gap:
        blocker = next(iter(read_blockers(message)), None)
        is_short = blocker is None or blocker.code in ("insufficient", "")
        about = starts_together and is_short and is_about_gang(message)
        return _incomplete(snapshot, pods, said, "") if about else None
    short = f"; when the scheduler last looked, the nodes lacked {format_gap(gap)} for that"
    if starts_together and _fits_some(snapshot, pods, gap):
        return _incomplete(snapshot, pods, said, short)
    resource = next(iter(gap))
    return Verdict(
        code=code_of_resource(resource),
        sentence=f"{who(snapshot, pods, 'find')} no room{short}",
        evidence=said,
        fix=f"{advise_less(resource)}, or wait",
        resolves=Resolves.LATER,
    )


def _fits_some(snapshot: Snapshot, pods: Sequence[KubeObject], gap: Mapping[str, Decimal]) -> bool:
    """Say whether what was free would have done for one pod, if it had been on one node."""
    asked, total = requests_of(pods[0]["spec"]), snapshot.kind.replicas_of(snapshot.job)
    return all(asked.get(name, Decimal(0)) * (total - 1) >= lacking for name, lacking in gap.items())


def _count_now(spec: KubeObject, capacities: Sequence[NodeCapacity]) -> int | None:
    """Count the pods that there is room for now; None where that is not known."""
    usable = [
        capacity
        for capacity in capacities
        if is_selected(spec, capacity) and taint_against(spec, capacity) is None
    ]
    return count_fit(requests_of(spec), usable).now


def _starts_together(snapshot: Snapshot, pods: Sequence[KubeObject]) -> bool:
    # a single pod waits for nobody, and one that was made again joins those that run
    return len(pods) == snapshot.kind.replicas_of(snapshot.job) > 1


def _ready(snapshot: Snapshot, pods: Sequence[KubeObject], said: tuple[str, ...]) -> Verdict:
    return Verdict(
        code="gang-ready",
        sentence=(
            f"there is room for {who(snapshot, pods)} by now; the scheduler looks at a gang again {_AGAIN}"
        ),
        evidence=said,
        fix=_fix_by_resume(snapshot, pods),
        resolves=Resolves.ITSELF,
    )


def _fix_by_resume(snapshot: Snapshot, pods: Sequence[KubeObject]) -> str:
    if len(pods) < snapshot.kind.replicas_of(snapshot.job):
        return "wait"
    job = name_of(snapshot)
    return f"wait; ftlaunch cancel {job} and then ftlaunch resume {job} has it looked at at once"


def _incomplete(snapshot: Snapshot, pods: Sequence[KubeObject], said: tuple[str, ...], more: str) -> Verdict:
    return Verdict(
        code="gang-incomplete",
        sentence=f"its pods start together or not at all, and {who(snapshot, pods, 'wait')}{more}",
        evidence=evidence(*said, *map(_describe, snapshot.pod_groups or ())),
        fix=_FEWER,
        resolves=Resolves.LATER,
    )


def _describe(group: KubeObject) -> str:
    """Describe a group; its phase is there only where the controller of scheduler-plugins runs."""
    phase = (group.get("status") or {}).get("phase")
    least = (group.get("spec") or {}).get("minMember")
    return f"PodGroup {objects.name_of(group)}: minMember {least}" + (f", {phase}" if phase else "")
