"""PaddleJobs of batch.paddlepaddle.org/v1, asked about as if they were those of kubeflow.org/v1.

Whoever reads jobs sees one form: a condition for the phase, workers in their place, pods by the same labels.
Source: PaddleFlow/paddle-operator, api/v1/paddlejob_types.go (289224d), controllers/paddlejob_helper.go
(11fa710) and paddlejob_controller.go (0fb2701): a pod is `<job>-worker-<i>`, keeps its template's labels, has
`paddle-res-type` beside them, and is owned by the job. No operator of it was run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from launcher.kube import paddlejob
from launcher.kube.api import Keep, KubeApi, whole
from launcher.kube.resources import BATCH_PADDLE_JOBS, PADDLE_JOBS, PODS, KubeObject, Resource
from launcher.kube.watch import WATCH_S, Change
from launcher.names import RUN_ID_LABEL

_TYPE_LABEL = "paddle-res-type"
_POD_NAME = re.compile(r"(?P<job>.+)-worker-(?P<index>\d+)")
_BY_JOB = f"{paddlejob.JOB_NAME_LABEL}="
_ENDS = {
    "Completed": "Succeeded", "Succeed": "Succeeded", "Failed": "Failed", "Aborted": "Failed",
    "Terminated": "Failed",
}  # fmt: skip
_ON_THE_WAY = {"Running": "Running", "Restarting": "Restarting"}


def as_kubeflow(job: KubeObject) -> KubeObject:
    """Return a job in the form of kubeflow.org/v1, its `apiVersion` aside; one of that API as it is."""
    if "worker" not in job["spec"]:
        return job
    worker = {
        key: job["spec"]["worker"][key] for key in ("replicas", "template") if key in job["spec"]["worker"]
    }
    form = {**job, "spec": {"paddleReplicaSpecs": {"Worker": worker}}}
    return form | ({"status": _as_status(job["status"])} if job.get("status") else {})


def _as_status(status: Mapping[str, object]) -> KubeObject:
    phase = str(status.get("phase") or "")
    if not phase:
        return {}
    kind = _ENDS.get(phase) or _ON_THE_WAY.get(phase) or "Created"
    moment = status.get("completionTime" if phase in _ENDS else "startTime")
    condition = {
        "type": kind, "status": "True", "reason": f"PaddleJob{phase}", "message": f"its phase is {phase}",
        "lastTransitionTime": moment,
    }  # fmt: skip
    return {"conditions": [condition], "completionTime": status.get("completionTime")}


def _as_pod(pod: KubeObject) -> KubeObject:
    metadata = pod["metadata"]
    labels, found = metadata.get("labels") or {}, _POD_NAME.fullmatch(metadata["name"])
    if labels.get(_TYPE_LABEL) != "worker" or found is None:
        return pod
    own = {paddlejob.JOB_NAME_LABEL: found["job"], paddlejob.REPLICA_INDEX_LABEL: found["index"]}
    return {**pod, "metadata": {**metadata, "labels": {**labels, **own}}}


class BatchJobs:
    """A cluster. A `KubeApi`: those of kubeflow.org/v1 are not seen through it."""

    def __init__(self, api: KubeApi) -> None:
        """`api` is the cluster as it is."""
        self._api = api
        self._run_ids: dict[tuple[str, str], str] = {}

    def create(
        self, resource: Resource, body: KubeObject, *, namespace: str, dry_run: bool = False
    ) -> KubeObject:
        """See `KubeApi.create`."""
        made = self._api.create(_kind(resource), body, namespace=namespace, dry_run=dry_run)
        return self._read(resource, made, namespace)

    def get(self, resource: Resource, name: str, *, namespace: str) -> KubeObject:
        """See `KubeApi.get`."""
        return self._read(resource, self._api.get(_kind(resource), name, namespace=namespace), namespace)

    def list(
        self, resource: Resource, *, namespace: str, labels: str = "", fields: str = "",
        at_most: int | None = None, keep: Keep = whole, metadata_only: bool = False,
    ) -> tuple[KubeObject, ...]:  # fmt: skip
        """See `KubeApi.list`."""
        return self._api.list(
            _kind(resource), namespace=namespace, labels=self._selector(labels, namespace), fields=fields,
            at_most=at_most, metadata_only=metadata_only,
            keep=keep if metadata_only else lambda item: keep(self._read(resource, item, namespace)),
        )  # fmt: skip

    def watch(
        self, resource: Resource, *, namespace: str, labels: str = "", fields: str = "", version: str = "",
        timeout_s: int = WATCH_S,
    ) -> Iterator[Change]:  # fmt: skip
        """See `KubeApi.watch`."""
        return self._api.watch(
            _kind(resource), namespace=namespace, labels=self._selector(labels, namespace), fields=fields,
            version=version, timeout_s=timeout_s,
        )  # fmt: skip

    def patch(self, resource: Resource, name: str, body: KubeObject, *, namespace: str) -> KubeObject:
        """See `KubeApi.patch`."""
        changed = self._api.patch(_kind(resource), name, body, namespace=namespace)
        return self._read(resource, changed, namespace)

    def delete(
        self, resource: Resource, name: str, *, namespace: str, uid: str, at_once: bool = False
    ) -> None:
        """See `KubeApi.delete`; its pods go after the job.

        The operator makes missing pods even of a job that waits for their end.
        """
        at_once = at_once or resource is PADDLE_JOBS
        self._api.delete(_kind(resource), name, namespace=namespace, uid=uid, at_once=at_once)

    def serves(self, resource: Resource) -> bool:
        """See `KubeApi.serves`."""
        return self._api.serves(_kind(resource))

    def _read(self, resource: Resource, item: KubeObject, namespace: str) -> KubeObject:
        if resource is PODS:
            return _as_pod(item)
        if resource is not PADDLE_JOBS:
            return item
        self._run_ids[namespace, paddlejob.name_of(item)] = paddlejob.run_id_of(item)
        return as_kubeflow(item)

    def _selector(self, labels: str, namespace: str) -> str:
        """Choose by run where the operator's label for the job is missing: run and job are one."""
        if not labels.startswith(_BY_JOB):
            return labels
        job = labels.removeprefix(_BY_JOB)
        if (namespace, job) not in self._run_ids:
            self.get(PADDLE_JOBS, job, namespace=namespace)
        return f"{RUN_ID_LABEL}={self._run_ids[namespace, job]}"


def _kind(resource: Resource) -> Resource:
    return BATCH_PADDLE_JOBS if resource is PADDLE_JOBS else resource
