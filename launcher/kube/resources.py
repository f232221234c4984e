"""The kinds of objects that the launcher touches, and where the API keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

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
