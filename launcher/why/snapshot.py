"""All that a rule may look at: a job and what is around it at one moment, as the API gave it.

Also the form in which a snapshot is kept as JSON, which is what the corpus of the tests is made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from launcher import objects
from launcher.backends.kubernetes.progress import last_progress
from launcher.backends.kubernetes.status import read_job
from launcher.backends.states import JobStatus
from launcher.kinds.base import JobKind
from launcher.kinds.pods import container_of, node_of
from launcher.kinds.registry import DEFAULT, KINDS, find_kind
from launcher.objects import KubeObject

SCHEMA = 1
LISTS = (
    "pods",
    "beside",
    "inner_jobs",
    "events",
    "nodes",
    "placed",
    "claims",
    "storage_classes",
    "quotas",
    "limit_ranges",
    "pod_groups",
    "workloads",
    "local_queues",
    "cluster_queues",
)
_DROPPED = ("managedFields", "selfLink", "generateName", "resourceVersion", "generation")

Objects = tuple[KubeObject, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """Something that could not be looked at.

    Attributes:
        what: Such as `nodes of the cluster`.
        reason: Why not, in one sentence.
        is_of_room: It matters only while a pod has no node.
    """

    what: str
    reason: str
    is_of_room: bool = False

    def __str__(self) -> str:
        """Write it as a sentence."""
        return f"{self.what}: {self.reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """One moment. A list that is None was not looked at, or may not be.

    Attributes:
        now_s: Unix time.
        status: How the job stands, by the same code as `ftlaunch status`.
        job: The job's object; before a submit the one that would be sent.
        kind: Of that object.
        pods: Of the job, by node index.
        beside: What holds its pods' template, where that is a companion of the job; none where it is gone.
        inner_jobs: The Job that the job's controller has made of it, where there is one.
        events: Warnings of the namespace, and all events of the first pod that does not run yet.
        nodes: All of the cluster.
        placed: All pods that hold room on nodes, reduced by `reduce_pod`.
        claims: PersistentVolumeClaims of the namespace.
        storage_classes: Of the cluster.
        quotas: ResourceQuotas of the namespace.
        limit_ranges: Of the namespace.
        pod_groups: Of the job, for gang scheduling.
        workloads: Kueue's, of the namespace, reduced by `reduce_workload`.
        local_queues: Kueue's, of the namespace.
        cluster_queues: The one behind the job's LocalQueue, where that one takes nothing in.
        logs: Name of a pod -> its last lines, each as `RFC3339Nano text`.
        skipped: What could not be looked at.
        version: Of Kubernetes, or empty.
    """

    now_s: float
    status: JobStatus
    job: KubeObject
    kind: JobKind = DEFAULT
    pods: Objects = ()
    beside: Objects | None = None
    inner_jobs: Objects | None = None
    events: Objects = ()
    nodes: Objects | None = None
    placed: Objects | None = None
    claims: Objects | None = None
    storage_classes: Objects | None = None
    quotas: Objects | None = None
    limit_ranges: Objects | None = None
    pod_groups: Objects | None = None
    workloads: Objects | None = None
    local_queues: Objects | None = None
    cluster_queues: Objects | None = None
    logs: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    version: str = ""


def read_status(
    job: KubeObject, pods: Sequence[KubeObject], logs: Mapping[str, str], *, kind: JobKind = DEFAULT
) -> JobStatus:
    """Say how a job stands, from what a snapshot holds."""
    first = next((objects.name_of(pod) for pod in pods if node_of(pod) == 0), "")
    restarts = {objects.name_of(pod): int(container_of(pod).get("restartCount", 0)) for pod in pods}
    progress = last_progress(logs.get(first, "").encode())
    return read_job(job, pods, kind=kind, restarts=restarts, progress=progress)


def parse_snapshot(document: Mapping[str, Any]) -> Snapshot:
    """Read what `format_snapshot` wrote.

    Raises:
        ValueError: It is of another schema.
    """
    if document.get("schema") != SCHEMA:
        raise ValueError(f"snapshot: expected schema {SCHEMA}, got {document.get('schema')!r}")
    lists = {name: tuple(document[name]) for name in LISTS if document.get(name) is not None}
    job = document["job"]
    kind = find_kind(job) or DEFAULT
    logs = {name: "\n".join(lines) for name, lines in document.get("logs", {}).items()}
    return Snapshot(
        now_s=float(document["now_s"]),
        status=read_status(job, lists.get("pods", ()), logs, kind=kind),
        kind=kind,
        job=job,
        logs=logs,
        skipped=tuple(Skipped(**item) for item in document.get("skipped", ())),
        version=document.get("version", ""),
        **lists,
    )


def format_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    """Write a snapshot as plain values, without what no rule looks at."""
    lists = {name: getattr(snapshot, name) for name in LISTS}
    return {
        "schema": SCHEMA,
        "version": snapshot.version,
        "now_s": round(snapshot.now_s, 3),
        "skipped": [{"what": item.what, "reason": item.reason} for item in snapshot.skipped],
        "job": trim(snapshot.job),
        **{name: [trim(item) for item in items] for name, items in lists.items() if items is not None},
        "logs": {name: text.splitlines() for name, text in snapshot.logs.items()},
    }


def trim(item: KubeObject) -> KubeObject:
    """Drop what only the server needs, and of a node all but what it offers and whether it is ready."""
    kept = dict(item)
    kept["metadata"] = {key: value for key, value in item["metadata"].items() if key not in _DROPPED}
    status = item.get("status") or {}
    if "allocatable" in status:
        kept["status"] = {
            key: status[key] for key in ("allocatable", "capacity", "conditions") if key in status
        }
    return kept


def _of_gangs(metadata: KubeObject) -> KubeObject:
    """Keep of the pods of jobs what tells whether it makes pod groups."""
    keys = (*(kind.job_label for kind in KINDS), objects.POD_GROUP_LABEL)
    labels = {key: metadata["labels"][key] for key in keys if key in (metadata.get("labels") or {})}
    return {"creationTimestamp": metadata.get("creationTimestamp"), "labels": labels} if labels else {}


def reduce_pod(pod: KubeObject) -> KubeObject:
    """Keep of somebody's pod only where it is, whose it is and what it has asked for."""
    spec, metadata = pod["spec"], pod["metadata"]
    containers = [{"resources": item.get("resources") or {}} for item in spec.get("containers") or []]
    starters = [
        {"resources": item.get("resources") or {}, "restartPolicy": item.get("restartPolicy")}
        for item in spec.get("initContainers") or []
    ]
    owners = [{"kind": owner.get("kind")} for owner in metadata.get("ownerReferences") or []]
    return {
        "metadata": {"ownerReferences": owners, **_of_gangs(metadata)},
        "spec": {
            "nodeName": spec.get("nodeName", ""),
            "containers": containers,
            "initContainers": starters,
            "overhead": spec.get("overhead") or {},
        },
    }
