"""Kubernetes objects as decoded JSON: which kinds there are, and where facts lie that all of them have.

Pure, and below all rooms: planning, kinds and rules read objects without the room that asks for them.
What differs between the kinds of job objects stands in `launcher.kinds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from launcher.names import QUEUE_LABEL, RUN_ID_LABEL
from launcher.times import parse_unix_time

if TYPE_CHECKING:  # most commands add nothing up
    from decimal import Decimal

KubeObject: TypeAlias = dict[str, Any]
"""A Kubernetes object as decoded JSON."""


def is_object(value: object) -> TypeGuard[KubeObject]:
    """Whether decoded JSON has the shape that all objects have (kubernetes.io, API conventions, "Objects").

    What stands further down is its reader's to check. A `Status` is an object whose `status` is a word.
    """
    if not isinstance(value, dict):
        return False
    parts = ("metadata", "spec") if value.get("kind") == "Status" else ("metadata", "spec", "status")
    if not all(value.get(part) is None or isinstance(value[part], dict) for part in parts):
        return False
    metadata = value.get("metadata") or {}
    if not all(
        isinstance(metadata.get(key, ""), str) for key in ("name", "namespace", "uid", "resourceVersion")
    ):
        return False
    tables = (metadata.get("labels") or {}, metadata.get("annotations") or {})
    return all(
        isinstance(table, dict) and all(isinstance(text, str) for text in table.values()) for table in tables
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """A kind of objects. Those of the whole cluster are asked for with an empty namespace.

    Attributes:
        group: API group, empty for the core group.
        plural: Name in paths and RBAC rules, such as `paddlejobs`.
    """

    group: str = ""
    version: str = "v1"
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As objects state it: `v1`, `kubeflow.org/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version


PADDLE_JOBS = Resource(group="kubeflow.org", plural="paddlejobs", kind="PaddleJob")
JOBS = Resource(group="batch", plural="jobs", kind="Job")
JOB_SETS = Resource(group="jobset.x-k8s.io", version="v1alpha2", plural="jobsets", kind="JobSet")
TRAIN_JOBS = Resource(group="trainer.kubeflow.org", version="v1alpha1", plural="trainjobs", kind="TrainJob")
TRAINING_RUNTIMES = Resource(
    group="trainer.kubeflow.org", version="v1alpha1", plural="trainingruntimes", kind="TrainingRuntime"
)
CONFIG_MAPS = Resource(plural="configmaps", kind="ConfigMap")
PODS = Resource(plural="pods", kind="Pod")
EVENTS = Resource(plural="events", kind="Event")
NODES = Resource(plural="nodes", kind="Node")
CLAIMS = Resource(plural="persistentvolumeclaims", kind="PersistentVolumeClaim")
STORAGE_CLASSES = Resource(group="storage.k8s.io", plural="storageclasses", kind="StorageClass")
QUOTAS = Resource(plural="resourcequotas", kind="ResourceQuota")
LIMIT_RANGES = Resource(plural="limitranges", kind="LimitRange")
POD_GROUPS = Resource(group="scheduling.x-k8s.io", version="v1alpha1", plural="podgroups", kind="PodGroup")
WORKLOADS = Resource(group="kueue.x-k8s.io", version="v1beta1", plural="workloads", kind="Workload")
WORKLOADS_V1BETA2 = Resource(group="kueue.x-k8s.io", version="v1beta2", plural="workloads", kind="Workload")
LOCAL_QUEUES = Resource(group="kueue.x-k8s.io", version="v1beta1", plural="localqueues", kind="LocalQueue")
LOCAL_QUEUES_V1BETA2 = Resource(
    group="kueue.x-k8s.io", version="v1beta2", plural="localqueues", kind="LocalQueue"
)
CLUSTER_QUEUES = Resource(
    group="kueue.x-k8s.io", version="v1beta1", plural="clusterqueues", kind="ClusterQueue"
)
CLUSTER_QUEUES_V1BETA2 = Resource(
    group="kueue.x-k8s.io", version="v1beta2", plural="clusterqueues", kind="ClusterQueue"
)
COHORTS = Resource(group="kueue.x-k8s.io", version="v1beta1", plural="cohorts", kind="Cohort")
COHORTS_V1BETA2 = Resource(group="kueue.x-k8s.io", version="v1beta2", plural="cohorts", kind="Cohort")
RULES_REVIEWS = Resource(
    group="authorization.k8s.io", plural="selfsubjectrulesreviews", kind="SelfSubjectRulesReview"
)
"""Which rules a user has in a namespace; creating one stores nothing."""
NAMESPACES = Resource(plural="namespaces", kind="Namespace")
SERVICES = Resource(plural="services", kind="Service")
ENDPOINT_SLICES = Resource(group="discovery.k8s.io", plural="endpointslices", kind="EndpointSlice")
DEPLOYMENTS = Resource(group="apps", plural="deployments", kind="Deployment")
LEASES = Resource(group="coordination.k8s.io", plural="leases", kind="Lease")
ACCESS_REVIEWS = Resource(
    group="authorization.k8s.io", plural="selfsubjectaccessreviews", kind="SelfSubjectAccessReview"
)
"""Whether a user may do one thing; creating one stores nothing."""

POD_GROUP_LABEL = "scheduling.x-k8s.io/pod-group"
_LIVING = ("Pending", "Running", "Unknown")


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """A condition that holds.

    Attributes:
        since_s: Unix time, or None where the operator wrote none.
    """

    reason: str
    message: str
    since_s: float | None


def name_of(item: KubeObject) -> str:
    """Return an object's name."""
    return str(item["metadata"]["name"])


def uid_of(item: KubeObject) -> str:
    """Return what tells an object from another of the same name."""
    return str(item["metadata"]["uid"])


def run_id_of(item: KubeObject) -> str:
    """Return the run that an object belongs to, or an empty string where it is not ours."""
    return str((item["metadata"].get("labels") or {}).get(RUN_ID_LABEL, ""))


def is_owned(item: KubeObject, *, by: str | None = None) -> bool:
    """Say whether an object goes when its owner goes.

    Args:
        item: Any object.
        by: Uid of the owner that counts, or None for any.
    """
    owners = [str(reference["uid"]) for reference in item["metadata"].get("ownerReferences") or []]
    return bool(owners) if by is None else by in owners


def is_being_deleted(item: KubeObject) -> bool:
    """Say whether an object's end has been asked for."""
    return item["metadata"].get("deletionTimestamp") is not None


def created_s(item: KubeObject) -> float:
    """Return when the server stored an object, in Unix time."""
    return unix_time(item["metadata"].get("creationTimestamp")) or 0.0


def unix_time(text: str | None) -> float | None:
    """Read an RFC 3339 time as the API writes it; None where there is none."""
    if not text:
        return None
    return parse_unix_time(text)


def conditions_of(job: KubeObject) -> Mapping[str, Condition]:
    """Return the conditions that hold now, by type."""
    listed = (job.get("status") or {}).get("conditions") or []
    return {
        str(item["type"]): Condition(
            reason=str(item.get("reason", "")),
            message=str(item.get("message", "")),
            since_s=unix_time(item.get("lastTransitionTime")),
        )
        for item in listed
        if item.get("status") == "True"
    }


def queue_of(job: KubeObject) -> str:
    """Return the queue of Kueue that a job is in; empty for none."""
    return str((job["metadata"].get("labels") or {}).get(QUEUE_LABEL, ""))


def trim_pod(pod: KubeObject) -> KubeObject:
    """Keep of a pod what says where and how it is; whole ones would be tens of megabytes of a large job."""
    return {
        "metadata": {key: value for key, value in pod["metadata"].items() if key != "managedFields"},
        "spec": {"nodeName": pod["spec"].get("nodeName")},
        "status": pod.get("status") or {},
    }


def host_of(pod: KubeObject) -> str:
    """Return the cluster's node that a pod is on; empty where it has none yet."""
    return str(pod["spec"].get("nodeName") or "")


def phase_of(pod: KubeObject) -> str:
    """Return a pod's phase by Kubernetes' name."""
    return str((pod.get("status") or {}).get("phase", "Pending"))


def is_living(pod: KubeObject) -> bool:
    """Say whether a pod has not ended yet, as far as is known."""
    return phase_of(pod) in _LIVING


def requests_of(spec: KubeObject) -> dict[str, Decimal]:
    """Return what a pod asks for, by resource; a limit without a request counts as one.

    As the scheduler counts it: the sum of its containers, at least its largest init container, and its
    overhead (kubernetes v1.34.7, k8s.io/component-helpers/resource).
    """
    from decimal import Decimal

    from launcher.quantity import parse_quantity

    def asked(container: KubeObject) -> dict[str, Decimal]:
        resources = container.get("resources") or {}
        both = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        return {name: parse_quantity(amount) for name, amount in both.items()}

    def add(total: dict[str, Decimal], more: Mapping[str, Decimal]) -> None:
        for name, amount in more.items():
            total[name] = total.get(name, Decimal(0)) + amount

    total = {"pods": Decimal(1)}
    for container in spec.get("containers") or []:
        add(total, asked(container))
    sidecars: dict[str, Decimal] = {}
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":
            add(sidecars, asked(container))
    add(total, sidecars)
    for container in spec.get("initContainers") or []:
        for name, amount in asked(container).items():
            total[name] = max(total.get(name, Decimal(0)), amount)
    add(total, {name: parse_quantity(amount) for name, amount in (spec.get("overhead") or {}).items()})
    return total
