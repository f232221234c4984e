"""Where facts lie in PaddleJobs and their pods, and what the training operator means by them.

Observed with kubeflow/training-operator v1.9.3: a finished job may lack completionTime, its `active` count
stays above 0, and the condition Restarting replaces Running; so conditions and pods are read, counts never.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from launcher.kube.resources import KubeObject
from launcher.names import RUN_ID_LABEL

CONTAINER = "paddle"
JOB_NAME_LABEL = "training.kubeflow.org/job-name"
REPLICA_INDEX_LABEL = "training.kubeflow.org/replica-index"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
POD_GROUP_LABEL = "scheduling.x-k8s.io/pod-group"
CANCELLED_ANNOTATION = "ftlaunch.io/cancelled"
_TOLD = ("name", "namespace", "uid", "labels", "annotations", "creationTimestamp", "deletionTimestamp")
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
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc).timestamp()


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


def completed_s(job: KubeObject) -> float | None:
    """Return the operator's time of completion, which a failed job may lack."""
    return unix_time((job.get("status") or {}).get("completionTime"))


def is_suspended(job: KubeObject) -> bool:
    """Say whether the job is asked to have no pods."""
    return bool((job["spec"].get("runPolicy") or {}).get("suspend"))


def replicas_of(job: KubeObject) -> int:
    """Return how many pods a job is to have."""
    return int(job["spec"]["paddleReplicaSpecs"]["Worker"].get("replicas", 1))


def queue_of(job: KubeObject) -> str:
    """Return the queue of Kueue that a job is in; empty for none."""
    return str((job["metadata"].get("labels") or {}).get(QUEUE_LABEL, ""))


def is_queued(job: KubeObject) -> bool:
    """Say whether a queue of Kueue decides when the job has pods; it does so through `suspend`."""
    return is_suspended(job) and bool(queue_of(job))


def is_cancelled(job: KubeObject) -> bool:
    """Say whether it was us who suspended the job, for good."""
    return is_suspended(job) and CANCELLED_ANNOTATION in (job["metadata"].get("annotations") or {})


def pods_of(job: KubeObject, pods: Iterable[KubeObject]) -> tuple[KubeObject, ...]:
    """Return the pods of this very job, by node index; a namesake's leftovers are not among them."""
    own = [pod for pod in pods if is_owned(pod, by=uid_of(job))]
    return tuple(sorted(own, key=node_of))


def group_by_owner(pods: Iterable[KubeObject]) -> Mapping[str, tuple[KubeObject, ...]]:
    """Return the pods of many jobs, each job's as `pods_of` does, by the uid of the job."""
    groups: dict[str, list[KubeObject]] = {}
    for pod in pods:
        for reference in pod["metadata"].get("ownerReferences") or []:
            groups.setdefault(str(reference["uid"]), []).append(pod)
    return {uid: tuple(sorted(own, key=node_of)) for uid, own in groups.items()}


def trim_job(job: KubeObject) -> KubeObject:
    """Keep of a job what says how it stands, and not what its pods are made of: there may be thousands."""
    spec, metadata = job["spec"], {key: job["metadata"][key] for key in _TOLD if key in job["metadata"]}
    for kind, told in (("labels", (RUN_ID_LABEL, QUEUE_LABEL)), ("annotations", (CANCELLED_ANNOTATION,))):
        said = metadata.get(kind) or {}
        metadata[kind] = {key: said[key] for key in told if key in said}
    kept = {"runPolicy": spec.get("runPolicy") or {}}
    workers = (spec.get("paddleReplicaSpecs") or {}).get("Worker") or {}
    kept["paddleReplicaSpecs"] = {"Worker": {"replicas": workers.get("replicas", 1)}}
    return {"metadata": metadata, "spec": kept, "status": job.get("status") or {}}


def trim_pod(pod: KubeObject) -> KubeObject:
    """Keep of a pod what says where and how it is; whole ones would be tens of megabytes of a large job."""
    return {
        "metadata": {key: value for key, value in pod["metadata"].items() if key != "managedFields"},
        "spec": {"nodeName": pod["spec"].get("nodeName")},
        "status": pod.get("status") or {},
    }


def node_of(pod: KubeObject) -> int:
    """Return the index of the node that a pod is."""
    return int(pod["metadata"]["labels"][REPLICA_INDEX_LABEL])


def host_of(pod: KubeObject) -> str:
    """Return the cluster's node that a pod is on; empty where it has none yet."""
    return str(pod["spec"].get("nodeName") or "")


def phase_of(pod: KubeObject) -> str:
    """Return a pod's phase by Kubernetes' name."""
    return str((pod.get("status") or {}).get("phase", "Pending"))


def is_living(pod: KubeObject) -> bool:
    """Say whether a pod has not ended yet, as far as is known."""
    return phase_of(pod) in _LIVING


def container_of(pod: KubeObject) -> KubeObject:
    """Return the status of the container that trains; empty before the kubelet has seen the pod."""
    listed = (pod.get("status") or {}).get("containerStatuses") or []
    return next((item for item in listed if item["name"] == CONTAINER), {})
