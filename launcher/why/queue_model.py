"""From Kueue's objects and jobs' progress to what `forecast` plays. Pure.

Two things are read here that no object states: how long a running job still takes, from its progress, and how
long one takes that waits, from those of its name that have finished. Both are spans; where there is nothing
to read they are unknown, and it is said why.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from launcher import objects
from launcher.backends.kubernetes import workloads
from launcher.objects import KubeObject
from launcher.quantity import is_gpu, parse_quantity
from launcher.times import format_duration
from launcher.why.forecast import (
    ClusterQueue,
    Estimate,
    Key,
    Quota,
    QuotaRoom,
    Span,
    Work,
    estimate_start,
)
from trainer.protocol.progress import Progress

SILENT_S = 600.0
"""A job that has not stepped for so long is not taken to go on as before."""
_SUFFIX = re.compile(r"-[a-z0-9]{5}$")
"""What `submit` draws for each job's name: jobs of one config differ in it."""
_TAIL = 0.02
"""Of its whole length so much may a run need after its last step."""
_FOREIGN = "is of another tool, and says no end"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobProgress:
    """How far a running job is.

    Attributes:
        progress: Its last progress line; None where it has none that may be seen.
        began_s: Unix time at which its first pod started, or None.
    """

    progress: Progress | None
    began_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueView:
    """What is seen of queues at one moment.

    Attributes:
        now_s: Unix time.
        workloads: Reduced by `reduce_demand`; of all namespaces where they may be seen.
        local_queues: Of the same namespaces.
        cluster_queues: None where they may not be seen.
        cohorts: Kueue's objects of that name, which a cohort need not have; None where they may not be seen.
        reported: Of running jobs of ours, by namespace and name of the job.
        ours: Namespace and name of every job that is ours, as far as is known.
    """

    now_s: float
    workloads: tuple[KubeObject, ...]
    local_queues: tuple[KubeObject, ...]
    cluster_queues: tuple[KubeObject, ...] | None
    cohorts: tuple[KubeObject, ...] | None = ()
    reported: Mapping[tuple[str, str], JobProgress] = field(default_factory=dict)
    ours: frozenset[tuple[str, str]] = frozenset()


def remaining_s(said: JobProgress, now_s: float) -> float | None:
    """Return the seconds that a job still runs, at the pace of late; None where that is not known.

    The pace is that between its last reports, else that since its start, which is only right for a run that
    began there.
    """
    progress = said.progress
    if progress is None or progress.step is None or not 0 < progress.step <= progress.total_steps:
        return None
    step_s = progress.step_s
    if step_s is None:
        if said.began_s is None or progress.attempt != 1:
            return None
        step_s = (progress.time_s - said.began_s) / progress.step
    return max(0.0, step_s * (progress.total_steps - progress.step) - (now_s - progress.time_s))


def silence_s(progress: Progress, now_s: float) -> float:
    """Return for how long no rank has stepped, in seconds."""
    return max(0.0, now_s - progress.time_s) + min((rank.silent_s for rank in progress.ranks), default=0.0)


def estimate_of(view: QueueView, job: KubeObject) -> Estimate | None:
    """Say when a job starts that waits in a queue of Kueue; None where it does not wait there.

    Args:
        view: What is seen.
        job: Of ours.
    """
    own = workloads.own_workload(job, view.workloads)
    if own is None or workloads.has_quota(own) or not workloads.is_active(own) or _is_finished(own):
        return None
    works = read_works(view)
    target = next((work for work in works if work.uid == objects.uid_of(own)), None)
    if reason := _find_untellable(view, own):
        return _untold(own, view, reason)
    if target is None:
        return None
    queues = read_cluster_queues(view.cluster_queues or ())
    queue = next((item for item in queues if item.name == target.queue), None)
    if queue is None:
        return _untold(own, view, f"there is no ClusterQueue {target.queue!r}")
    sharing = {
        item.name for item in queues if item is queue or (queue.cohort and item.cohort == queue.cohort)
    }
    in_play = {work.uid for work in works if work.queue in sharing}
    unplayed = _find_unplayed(view, queue, sharing) or _find_placed(view, in_play)
    if reason := _say_hidden(view, works, sharing) or unplayed:
        return _untold(own, view, reason)
    covered = {item.name: {name for names, _ in item.groups for name in names} for item in queues}
    playing = [_without_uncovered(work, covered[work.queue]) for work in works if work.queue in sharing]

    def make_room() -> QuotaRoom:
        return QuotaRoom(item for item in queues if item.name in sharing)

    # people know their LocalQueue; the line is the ClusterQueue's, which is what decides
    named = str((own.get("spec") or {}).get("queueName") or "") or target.queue
    return replace(estimate_start(make_room, playing, uid=target.uid), queue=named)


def read_works(view: QueueView) -> list[Work]:
    """Return all Workloads that hold quota or wait for it."""
    local = {
        (str(item["metadata"].get("namespace", "")), objects.name_of(item)): str(
            (item.get("spec") or {}).get("clusterQueue") or ""
        )
        for item in view.local_queues
    }
    history = _read_history(view.workloads)
    found = []
    for workload in view.workloads:
        if _is_finished(workload) or not workloads.is_active(workload):
            continue
        namespace = str(workload["metadata"].get("namespace", ""))
        admission = (workload.get("status") or {}).get("admission") or {}
        holds = workloads.has_quota(workload)
        queue = str(admission.get("clusterQueue") or "") if holds else ""
        spec = workload.get("spec") or {}
        queue = queue or local.get((namespace, str(spec.get("queueName") or "")), "")
        if not queue:
            continue
        name = owner_of(workload) or objects.name_of(workload)
        length, unknown = _length_of(workload, namespace, name, view, history, holds=holds)
        found.append(
            Work(
                uid=objects.uid_of(workload),
                name=name,
                queue=queue,
                asked={
                    key: float(parse_quantity(text)) for key, text in (workload.get("requests") or {}).items()
                },
                pods=max(1, int(workload.get("pods") or 1)),
                priority=int(spec.get("priority") or 0),
                since_s=objects.created_s(workload),
                held=_held_of(admission) if holds else None,
                length=length,
                unknown=unknown,
            )
        )
    return found


def owner_of(workload: KubeObject) -> str:
    """Return the name of the job that a Workload is of; empty where it has none."""
    owners = workload["metadata"].get("ownerReferences") or []
    return str(owners[0].get("name") or "") if owners else ""


def read_cluster_queues(items: Iterable[KubeObject]) -> list[ClusterQueue]:
    """Read quotas and rules of ClusterQueues."""
    return [_read_cluster_queue(item) for item in items]


def read_cohort(queue: KubeObject) -> str:
    """Return the name of a ClusterQueue's cohort; empty for none."""
    spec = queue.get("spec") or {}
    return str(spec.get("cohortName") or spec.get("cohort") or "")


def _read_cluster_queue(item: KubeObject) -> ClusterQueue:
    spec = item.get("spec") or {}
    groups = []
    for group in spec.get("resourceGroups") or ():
        flavors = []
        for flavor in group.get("flavors") or ():
            quotas = {
                str(one.get("name")): Quota(
                    nominal=float(parse_quantity(one.get("nominalQuota"))),
                    borrowing=_limit(one.get("borrowingLimit")),
                    lending=_limit(one.get("lendingLimit")),
                )
                for one in flavor.get("resources") or ()
            }
            flavors.append((str(flavor.get("name")), quotas))
        groups.append((frozenset(map(str, group.get("coveredResources") or ())), tuple(flavors)))
    preemption = spec.get("preemption") or {}
    return ClusterQueue(
        name=objects.name_of(item),
        cohort=read_cohort(item),
        groups=tuple(groups),
        is_strict=spec.get("queueingStrategy") == "StrictFIFO",
        within=str(preemption.get("withinClusterQueue") or "Never"),
        reclaim=str(preemption.get("reclaimWithinCohort") or "Never"),
    )


def _limit(amount: object) -> float | None:
    return None if amount is None else float(parse_quantity(amount))


def _held_of(admission: KubeObject) -> dict[Key, float]:
    held: dict[Key, float] = {}
    for part in admission.get("podSetAssignments") or ():
        flavors = part.get("flavors") or {}
        for name, amount in (part.get("resourceUsage") or {}).items():
            key = (str(flavors.get(name, "")), str(name))
            held[key] = held.get(key, 0.0) + float(parse_quantity(amount))
    return held


def _length_of(
    workload: KubeObject, namespace: str, name: str, view: QueueView,
    history: Mapping[tuple[str, str], Sequence[float]], *, holds: bool,
) -> tuple[Span | None, str]:  # fmt: skip
    """Return how long a job still runs, or would once it is let in, or why that is not known."""
    known = history.get(_family(namespace, name))
    if not holds:
        span = _span_of_history(known)
        return span, "" if span else "waits before it, and how long it will run is not known"
    said = view.reported.get((namespace, name))
    if said is not None and said.progress is not None:
        silent_s = silence_s(said.progress, view.now_s)
        if silent_s >= SILENT_S:
            return None, f"has made no step for {format_duration(silent_s)}"
        left_s = remaining_s(said, view.now_s)
        if left_s is not None:
            # the pace of late is not that of the rest, and after the last step comes an evaluation and saving
            ran_s = max(0.0, view.now_s - _since_s(workload, "QuotaReserved", view.now_s))
            end_s = _TAIL * (ran_s + left_s)
            return Span(
                early_s=left_s * 0.92, likely_s=left_s + end_s, late_s=left_s * 1.1 + 2 * end_s + 30.0
            ), ""
    span = _span_of_history(known)
    if span is not None:
        ran_s = view.now_s - _since_s(workload, "QuotaReserved", view.now_s)
        if ran_s < span.early_s:
            return Span(
                early_s=span.early_s - ran_s, likely_s=span.likely_s - ran_s, late_s=span.late_s - ran_s
            ), ""
    if said is not None and said.progress is not None:
        return None, "says how far it is, but not yet how fast"
    ours = said is not None or (namespace, name) in view.ours
    return None, "reports no progress yet" if ours else _FOREIGN


def _span_of_history(lengths: Sequence[float] | None) -> Span | None:
    """Return how long jobs of one name take; one alone says little of the next."""
    if not lengths:
        return None
    likely = statistics.median(lengths)
    slack = 0.1 if len(lengths) > 2 else 0.2
    return Span(early_s=min(lengths) * (1 - slack), likely_s=likely, late_s=max(lengths) * (1 + slack))


def _read_history(items: Iterable[KubeObject]) -> dict[tuple[str, str], list[float]]:
    """Return how long jobs have run that have finished, by namespace and what their names begin with."""
    found: dict[tuple[str, str], list[float]] = {}
    for workload in items:
        conditions = objects.conditions_of(workload)
        finished, let_in = conditions.get("Finished"), conditions.get("QuotaReserved")
        if finished is None or finished.reason == "Failed" or "Evicted" in conditions:
            continue
        if let_in is None or finished.since_s is None or let_in.since_s is None:
            continue
        key = _family(str(workload["metadata"].get("namespace", "")), owner_of(workload))
        if finished.since_s > let_in.since_s:
            found.setdefault(key, []).append(finished.since_s - let_in.since_s)
    return found


def _family(namespace: str, name: str) -> tuple[str, str]:
    return namespace, _SUFFIX.sub("", name)


def _since_s(workload: KubeObject, condition: str, default: float) -> float:
    found = objects.conditions_of(workload).get(condition)
    return default if found is None or found.since_s is None else found.since_s


def _is_finished(workload: KubeObject) -> bool:
    return "Finished" in objects.conditions_of(workload)


def _without_uncovered(work: Work, covered: set[str]) -> Work:
    """Leave `pods` out where the queue has no quota of them, as Kueue does; all else must be covered."""
    asked = {name: amount for name, amount in work.asked.items() if name != "pods" or name in covered}
    return replace(work, asked=asked)


def _say_hidden(view: QueueView, works: Sequence[Work], sharing: set[str]) -> str:
    """Say how many jobs share the quota that are not among those that may be seen; empty for none."""
    told = 0
    for item in view.cluster_queues or ():
        if objects.name_of(item) in sharing:
            status = item.get("status") or {}
            told += int(status.get("pendingWorkloads") or 0) + int(status.get("reservingWorkloads") or 0)
    hidden = told - sum(work.queue in sharing for work in works)
    if hidden <= 0:
        return ""
    share = "job shares" if hidden == 1 else "jobs share"
    return f"{hidden} more {share} its quota that may not be seen (k8s/rbac/team.yaml)"


def _find_untellable(view: QueueView, own: KubeObject) -> str:
    """Say what stands in the way of any estimate for a Workload; empty for nothing."""
    if own.get("placed") or workloads.is_scattered(workloads.read_refusal(own)):
        return "its pods must be near each other, and which nodes come free for that is not known"
    if view.cluster_queues is None:
        return "the quotas of its queue may not be seen (k8s/rbac/team.yaml)"
    return ""


def _find_unplayed(view: QueueView, queue: ClusterQueue, sharing: set[str]) -> str:
    """Say which rule of Kueue would decide that `forecast` does not play; empty where there is none."""
    for item in view.cluster_queues or ():
        if objects.name_of(item) == queue.name and _has_checks(item.get("spec") or {}):
            return "its queue has admission checks, and nobody knows how long they take"
        # Kueue 0.19 writes it where fair sharing is switched on, which no object of a user's says otherwise
        # (config/components/crd/bases/kueue.x-k8s.io_clusterqueues.yaml, status.fairSharing).
        shares = (item.get("status") or {}).get("fairSharing") is not None
        if shares and len(sharing) > 1 and objects.name_of(item) in sharing:
            return "its cohort shares fairly, by what each queue holds and not by age alone"
    if queue.cohort and view.cohorts is None:
        return "whether its cohort has room of other ones may not be seen (k8s/rbac/team.yaml)"
    for item in view.cohorts or ():
        spec = item.get("spec") or {}
        name, parent = objects.name_of(item), str(spec.get("parentName") or spec.get("parent") or "")
        if queue.cohort and (parent == queue.cohort or (name == queue.cohort and parent)):
            return f"its cohort {queue.cohort!r} shares with others, as one of a tree"
        if queue.cohort == name and spec.get("resourceGroups"):
            return f"its cohort {name!r} has quotas of its own"
    return ""


def _find_placed(view: QueueView, in_play: set[str]) -> str:
    """Say whether nodes decide, and not quotas alone: Kueue places pods of its queue by a topology."""
    if any(item.get("placed") and objects.uid_of(item) in in_play for item in view.workloads):
        return "its queue places pods by a topology, so that nodes decide and not its quota alone"
    return ""


def _has_checks(spec: KubeObject) -> bool:
    strategy = spec.get("admissionChecksStrategy") or {}
    return bool(spec.get("admissionChecks") or strategy.get("admissionChecks"))


def _untold(own: KubeObject, view: QueueView, reason: str) -> Estimate:
    queue = (own.get("spec") or {}).get("queueName")
    same = [
        item for item in view.workloads
        if (item.get("spec") or {}).get("queueName") == queue
        and item["metadata"].get("namespace") == own["metadata"].get("namespace")
        and workloads.is_active(item) and not workloads.has_quota(item) and not _is_finished(item)
    ]  # fmt: skip
    same.sort(key=lambda item: (-int((item.get("spec") or {}).get("priority") or 0), objects.created_s(item)))
    names = [objects.uid_of(item) for item in same]
    place = names.index(objects.uid_of(own)) + 1 if objects.uid_of(own) in names else 0
    return Estimate(
        in_s=None,
        early_s=None,
        late_s=None,
        place=place,
        of=len(names),
        reason=reason,
        queue=str(queue or ""),
    )


_ORDINALS = ("first", "second", "third")


def describe_estimate(estimate: Estimate) -> str:
    """Write an estimate with its grounds, such as people are told it.

    `third in team-a; job flowers-x frees 8 GPUs in about 40 min; starts in about 55 min`
    """
    parts = []
    if estimate.place:
        ordinal = (
            _ORDINALS[estimate.place - 1] if estimate.place <= len(_ORDINALS) else f"number {estimate.place}"
        )
        parts.append(f"{ordinal} in {estimate.queue}")
    if estimate.in_s is None:
        parts.append(f"cannot tell when it starts: {estimate.reason}")
        if estimate.early_s:
            parts.append(f"not before about {format_duration(estimate.early_s)}")
        if estimate.late_s is not None:
            parts.append(f"at the latest in about {format_duration(estimate.late_s)}")
        return "; ".join(parts)
    for freed in estimate.freed[-2:]:
        parts.append(
            f"job {freed.name} frees {describe_amounts(freed.amounts)} in about {format_duration(freed.in_s)}"
        )
    soon = estimate.in_s < 60.0
    parts.append(
        "starts within a minute or so" if soon else f"starts in about {format_duration(estimate.in_s)}"
    )
    return "; ".join(parts)


def describe_amounts(amounts: Mapping[str, float]) -> str:
    """Write what a job frees: its GPUs, else its cores."""
    gpus = sum(amount for name, amount in amounts.items() if is_gpu(name))
    if gpus:
        return f"{gpus:g} GPU{'' if gpus == 1 else 's'}"
    cores = amounts.get("cpu", 0.0)
    return f"{cores:g} {'core' if cores == 1 else 'cores'}" if cores else "room"
