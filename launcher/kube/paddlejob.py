"""Where facts lie in PaddleJobs and their pods, and what the training operator means by them.

Observed with kubeflow/training-operator v1.9.3: a finished job may lack completionTime, its `active` count
stays above 0, and the condition Restarting replaces Running; so conditions and pods are read, counts never.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from launcher.names import RUN_ID_LABEL
from launcher.objects import QUEUE_LABEL, KubeObject, is_owned, queue_of, uid_of, unix_time

CONTAINER = "paddle"
JOB_NAME_LABEL = "training.kubeflow.org/job-name"
REPLICA_INDEX_LABEL = "training.kubeflow.org/replica-index"
CANCELLED_ANNOTATION = "ftlaunch.io/cancelled"
_TOLD = ("name", "namespace", "uid", "labels", "annotations", "creationTimestamp", "deletionTimestamp")


def completed_s(job: KubeObject) -> float | None:
    """Return the operator's time of completion, which a failed job may lack."""
    return unix_time((job.get("status") or {}).get("completionTime"))


def is_suspended(job: KubeObject) -> bool:
    """Say whether the job is asked to have no pods."""
    return bool((job["spec"].get("runPolicy") or {}).get("suspend"))


def replicas_of(job: KubeObject) -> int:
    """Return how many pods a job is to have."""
    return int(job["spec"]["paddleReplicaSpecs"]["Worker"].get("replicas", 1))


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


def node_of(pod: KubeObject) -> int:
    """Return the index of the node that a pod is."""
    return int(pod["metadata"]["labels"][REPLICA_INDEX_LABEL])


def container_of(pod: KubeObject) -> KubeObject:
    """Return the status of the container that trains; empty before the kubelet has seen the pod."""
    listed = (pod.get("status") or {}).get("containerStatuses") or []
    return next((item for item in listed if item["name"] == CONTAINER), {})
