"""What Kueue's Workloads and queues say of a job that waits. Pure.

Observed with Kueue v0.17.0 and v0.19.2 on Kubernetes v1.34.7; the words are those of kubernetes-sigs/kueue,
pkg/controller/core/workload_controller.go, pkg/scheduler/flavorassigner/{,tas_}flavorassigner.go and
pkg/cache/scheduler/tas_flavor_snapshot.go. A Workload that was let in again keeps `Evicted` as False
("Previously: …"); one that was activated again keeps it as True, with the reason Deactivated, until it is
let in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

from launcher import objects
from launcher.objects import Condition, KubeObject

DEACTIVATED = "Deactivated"
PREEMPTED = "Preempted"
_PREFIX = re.compile(r"^couldn't assign flavors to pod set \S+: ")
_LACK = re.compile(
    r"insufficient unused quota for (?P<what>\S+) in flavor (?P<flavor>[^\s,]+), (?P<more>[^\s,]+)"
    r" more needed"
)
_TOO_LARGE = re.compile(
    r"insufficient quota for (?P<what>\S+) in flavor (?P<flavor>[^\s,]+), (?:previously considered podsets"
    r" requests \([^)]*\) \+ current podset request \((?P<asked>[^)]*)\) > maximum capacity"
    r" \((?P<most>[^)]*)\)"
    r"|request > maximum capacity \((?P<old_asked>\S+) > (?P<old_most>[^)]*)\))"  # before v0.12
)
_UNFIT = re.compile(
    r"untolerated taint .*? in flavor (?P<tainted>[^\s,]+)"
    r"|flavor (?P<other>[^\s,]+) doesn't match node affinity"
)
_NO_TOPOLOGY = re.compile(
    r'Flavor "(?P<flavor>[^"]+)" (?P<lack>does not support TopologyAwareScheduling'
    r"|does not contain the requested level|supports only TopologyAwareScheduling)"
)
_TOPOLOGY_WORDS = {
    "does not support TopologyAwareScheduling": "has no topology",
    "does not contain the requested level": "has a topology without the level asked for",
    "supports only TopologyAwareScheduling": "is for pods that are placed by topology only",
}
_SCATTERED = re.compile(
    r"topology (?P<topology>\S+) (?:doesn't allow to fit(?: any of (?P<none>\d+))?|allows to fit only"
    r" (?P<some>\d+) out of (?P<all>\d+))(?: (?P<unit>pod|slice)\(s\))?"
    r"(?:\. Total nodes: (?P<nodes>\d+); excluded: (?P<excluded>.+))?"
)
_UNAVAILABLE = re.compile(r"resource \S+ unavailable in ClusterQueue")
_WISHES = {
    "required", "preferred", "unconstrained", "podSetSliceRequiredTopology",
    "podsetSliceRequiredTopologyConstraints",
}  # fmt: skip
"""Keys of a `topologyRequest` that ask for a topology; its others stand there for every job."""


def own_workload(job: KubeObject, workloads: Iterable[KubeObject]) -> KubeObject | None:
    """Return a job's Workload; None where Kueue has not made it."""
    uid = job["metadata"].get("uid")
    return next((item for item in workloads if uid and objects.is_owned(item, by=uid)), None)


def is_active(workload: KubeObject) -> bool:
    """Say whether Kueue may let it in; `cancel` says that it may not."""
    return (workload.get("spec") or {}).get("active") is not False


def has_quota(workload: KubeObject) -> bool:
    """Say whether room is kept for it."""
    return "QuotaReserved" in objects.conditions_of(workload)


def let_in_of(workload: KubeObject) -> Condition | None:
    """Return since when its job may begin: it has its quota, and all admission checks are done."""
    return objects.conditions_of(workload).get("Admitted")


def eviction_of(workload: KubeObject) -> Condition | None:
    """Return why Kueue took its place back, the last time; None where it is in, or was never."""
    found = objects.conditions_of(workload).get("Evicted")
    if found is None or (found.reason == DEACTIVATED and is_active(workload)):
        return None
    return found


def read_refusal(workload: KubeObject) -> str:
    """Return Kueue's own words on why it is not let in; empty before it has looked."""
    conditions = (workload.get("status") or {}).get("conditions") or []
    by_type = {str(item.get("type")): item for item in conditions if item.get("status") == "False"}
    item = by_type.get("QuotaReserved") or by_type.get("Admitted") or {}
    return " ".join(str(item.get("message") or "").split())


def shorten_refusal(refusal: str) -> str:
    """Bring Kueue's words on quota into a few, such as `300m more cpu needed in flavour default`."""
    parts = [
        f"{found['more']} more {found['what']} needed in flavour {found['flavor']}"
        for found in _LACK.finditer(refusal)
    ]
    parts += [
        f"{found['asked'] or found['old_asked']} {found['what']} wanted in flavour {found['flavor']},"
        f" which has {found['most'] or found['old_most']}"
        for found in _TOO_LARGE.finditer(refusal)
    ]
    parts += [
        f"flavour {found['flavor']} {_TOPOLOGY_WORDS[found['lack']]}"
        for found in _NO_TOPOLOGY.finditer(refusal)
    ]
    parts += [_shorten_scattered(found) for found in _SCATTERED.finditer(refusal)]
    return "; ".join(parts) or _PREFIX.sub("", refusal)


def is_scattered(refusal: str) -> bool:
    """Say whether there is quota, and no place in a topology where the pods are near each other."""
    return bool(_SCATTERED.search(refusal)) and not fits_never(refusal) and not _LACK.search(refusal)


def _shorten_scattered(found: re.Match[str]) -> str:
    total, unit = found["none"] or found["all"] or "its", f"{found['unit'] or 'pod'}s"
    short = f"topology {found['topology']} has no place for {total} {unit} together"
    if found["some"]:
        short += f", at most for {found['some']}"
    if found["nodes"]:
        short += f"; of its {found['nodes']} nodes are out: {found['excluded']}"
    return short


def fits_never(refusal: str) -> bool:
    """Say whether no flavour can ever take the pods: of each one thing at least is not a matter of time."""
    if _UNAVAILABLE.search(refusal):
        return True
    never = {found["flavor"] for found in _TOO_LARGE.finditer(refusal)}
    never |= {found["tainted"] or found["other"] for found in _UNFIT.finditer(refusal)}
    never |= {found["flavor"] for found in _NO_TOPOLOGY.finditer(refusal)}
    later = {found["flavor"] for found in _LACK.finditer(refusal)}
    return bool(never) and not later - never


def find_place(workload: KubeObject, workloads: Sequence[KubeObject]) -> str:
    """Return the place among those of its LocalQueue that wait, such as `place 2 of 3`; empty outside of it.

    By priority, then by age, as Kueue takes them (pkg/cache/queue/cluster_queue.go); those that an
    administrator's settings order otherwise are not known here.
    """
    waiting = [other for other in workloads if _queue_of(other) == _queue_of(workload) and _waits(other)]
    order = sorted(waiting, key=lambda other: (-_priority_of(other), objects.created_s(other)))
    names = [objects.name_of(other) for other in order]
    name = objects.name_of(workload)
    return f"place {names.index(name) + 1} of {len(names)}" if name in names else ""


def describe_wait(job: KubeObject, workloads: Sequence[KubeObject]) -> str:
    """Say in a line what a queued job waits for.

    Args:
        job: Of a queue.
        workloads: Of its namespace; none where they are not known.
    """
    line = f"waits in queue {objects.queue_of(job)!r}"
    workload = own_workload(job, workloads)
    if workload is None:
        return line
    place = find_place(workload, workloads)
    words = shorten_refusal(read_refusal(workload))
    evicted = eviction_of(workload)
    if not is_active(workload):
        words = "its Workload is deactivated"
    elif let_in_of(workload) is not None:
        words = "it is let in, and begins in a moment"
    elif has_quota(workload):
        words = "it has its quota, and admission checks are not done"
    elif evicted is not None and evicted.reason == PREEMPTED:
        words = f"it was preempted; {words}"
    return line + (f", {place}" if place else "") + (f": {words}" if words else "")


def reduce_demand(workload: KubeObject) -> KubeObject:
    """Keep of a Workload what `reduce_workload` does, and in `requests` what all its pods ask for.

    `placed` is true where Kueue places its pods by a topology.
    """
    total: dict[str, Decimal] = {}
    pods, placed = 0, False
    for part in (workload.get("spec") or {}).get("podSets") or []:
        placed = placed or bool(_WISHES & (part.get("topologyRequest") or {}).keys())
        count = int(part.get("count") or 0)
        pods += count
        for name, amount in objects.requests_of((part.get("template") or {}).get("spec") or {}).items():
            total[name] = total.get(name, Decimal(0)) + amount * count
    kept = reduce_workload(workload)
    status = workload.get("status") or {}
    if "admission" in status:
        parts = status["admission"].get("podSetAssignments") or []
        placed = placed or any("topologyAssignment" in part for part in parts)
        # The assignment names each node, and is not read.
        parts = [{key: part[key] for key in part if key != "topologyAssignment"} for part in parts]
        kept["status"]["admission"] = {**status["admission"], "podSetAssignments": parts}
    requests = {name: str(amount) for name, amount in total.items()}
    return {**kept, "pods": pods, "placed": placed, "requests": requests}


def reduce_workload(workload: KubeObject) -> KubeObject:
    """Keep of a Workload what is read here: it holds whole pods."""
    spec, metadata = workload.get("spec") or {}, workload["metadata"]
    keys = ("name", "namespace", "uid", "creationTimestamp", "ownerReferences", "labels")
    return {
        "metadata": {key: metadata[key] for key in keys if key in metadata},
        "spec": {key: spec[key] for key in ("queueName", "priority", "active") if key in spec},
        "status": {
            key: value
            for key, value in (workload.get("status") or {}).items()
            if key in ("conditions", "admissionChecks", "requeueState")
        },
    }


def _queue_of(workload: KubeObject) -> str:
    return str((workload.get("spec") or {}).get("queueName") or "")


def _priority_of(workload: KubeObject) -> int:
    return int((workload.get("spec") or {}).get("priority") or 0)


def _waits(workload: KubeObject) -> bool:
    conditions = objects.conditions_of(workload)
    return is_active(workload) and not {"QuotaReserved", "Finished"} & set(conditions)
