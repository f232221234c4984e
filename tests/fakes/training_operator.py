"""The controller of PaddleJobs: one look at a job and its pods, and what it then does.

Behaves as kubeflow/training-operator v1.9.3 was seen to, its faults included: a failed job gets no
completionTime, its `active` count goes stale, Restarting replaces Running, and recreations are not counted.
"""

from __future__ import annotations

import copy
from typing import Any

from tests.fakes.store import ObjectStore

LABEL = "training.kubeflow.org/"
PORT = 36543


class TrainingOperator:
    """Looks at one job until nothing is left to do."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def reconcile(self, job: dict[str, Any]) -> None:
        while self._step(job):
            pass

    def _step(self, job: dict[str, Any]) -> bool:
        """Do one round; say whether it changed a pod, which brings the controller back."""
        if job["metadata"].get("deletionTimestamp"):
            return False
        status = job.setdefault("status", {"conditions": [], "replicaStatuses": {"Worker": {}}})
        if not status["conditions"]:
            self._set(job, "Created", "PaddleJobCreated", f"PaddleJob {_name(job)} is created.")
        if _holds(job, "Succeeded") or _holds(job, "Failed"):
            return False
        if job["spec"].get("runPolicy", {}).get("suspend"):
            return self._suspend(job)
        if _holds(job, "Suspended"):
            self._set(
                job, "Suspended", "PaddleJobResumed", f"PaddleJob {_name(job)} is resumed.", status="False"
            )
            status["startTime"] = self._store.now_text()
        status.setdefault("startTime", self._store.now_text())
        return self._play(job)

    def _suspend(self, job: dict[str, Any]) -> bool:
        if not _holds(job, "Suspended"):
            self._set(
                job, "Running", "PaddleJobSuspended", f"PaddleJob {_name(job)} is suspended.", status="False"
            )
            self._set(job, "Suspended", "PaddleJobSuspended", f"PaddleJob {_name(job)} is suspended.")
        for index in range(_replicas(job)):
            for plural in ("pods", "services"):
                self._store.end(plural, _namespace(job), f"{_name(job)}-worker-{index}")
        return False

    def _play(self, job: dict[str, Any]) -> bool:
        changed = False
        pods = []
        for index in range(_replicas(job)):
            pod = self._store.find("pods", _namespace(job), f"{_name(job)}-worker-{index}")
            if pod is None:
                self._make(job, index)
                changed = True
            else:
                pods.append(pod)
        return self._conclude(job, pods) or changed

    def _conclude(self, job: dict[str, Any], pods: list[dict[str, Any]]) -> bool:
        phases = [pod["status"]["phase"] for pod in pods]
        failed = [pod for pod in pods if pod["status"]["phase"] == "Failed"]
        for pod in failed:
            code = pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]
            message = f"PaddleJob {_name(job)} is failed because 1 Worker replica(s) failed."
            if code < 128:
                self._finish(job, "Failed", message)
                return False
            self._store.end("pods", _namespace(job), _name(pod))
            self._drop(job, "Running")
            message = f"PaddleJob {_name(job)} is restarting because Worker replica(s) failed."
            self._set(job, "Restarting", "PaddleJobRestarting", message)
        if failed:
            return True
        if len(pods) == _replicas(job) and all(phase == "Succeeded" for phase in phases):
            self._finish(job, "Succeeded", f"PaddleJob {_name(job)} is successfully completed.")
            job["status"]["completionTime"] = self._store.now_text()
        elif "Running" in phases:
            job["status"]["replicaStatuses"]["Worker"] = {"active": phases.count("Running")}
            self._drop(job, "Restarting")
            self._set(job, "Running", "PaddleJobRunning", f"PaddleJob {_name(job)} is running.")
        return False

    def _finish(self, job: dict[str, Any], kind: str, message: str) -> None:
        if any(item["type"] == "Running" for item in job["status"]["conditions"]):
            self._set(job, "Running", f"PaddleJob{kind}", message, status="False")
        self._set(job, kind, f"PaddleJob{kind}", message)

    def _make(self, job: dict[str, Any], index: int) -> None:
        template = copy.deepcopy(job["spec"]["paddleReplicaSpecs"]["Worker"]["template"])
        name = f"{_name(job)}-worker-{index}"
        labels = {
            f"{LABEL}job-name": _name(job), f"{LABEL}operator-name": "paddlejob-controller",
            f"{LABEL}replica-type": "worker", f"{LABEL}replica-index": str(index),
        }  # fmt: skip
        owner = {
            "apiVersion": "kubeflow.org/v1", "kind": "PaddleJob", "name": _name(job),
            "uid": job["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
        }  # fmt: skip
        metadata = template.get("metadata", {})
        pod: dict[str, Any] = {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                **metadata, "name": name, "labels": {**metadata.get("labels", {}), **labels},
                "ownerReferences": [owner],
            },
            "spec": {**template["spec"], "restartPolicy": "Never"},
            "status": {"phase": "Pending"},
        }  # fmt: skip
        for container in pod["spec"]["containers"]:
            container["env"] = [*container.get("env", []), *self._environment(job, index)]
        service = {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
            "spec": {"clusterIP": "None", "selector": labels, "ports": [{"name": "master", "port": PORT}]},
        }  # fmt: skip
        self._store.add("pods", pod, namespace=_namespace(job))
        if self._store.find("services", _namespace(job), name) is None:
            self._store.add("services", service, namespace=_namespace(job))

    def _environment(self, job: dict[str, Any], index: int) -> list[dict[str, Any]]:
        common = {
            "PYTHONUNBUFFERED": "1", "PADDLE_JOB_ID": _name(job), "PADDLE_NNODES": str(_replicas(job)),
        }  # fmt: skip
        env: list[dict[str, Any]] = [{"name": key, "value": value} for key, value in common.items()]
        if index == 0:
            env.append({"name": "POD_IP_DUMMY", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
        host = "$(POD_IP_DUMMY)" if index == 0 else f"{_name(job)}-worker-0"
        return [*env, {"name": "PADDLE_MASTER", "value": f"{host}:{PORT}"}]

    def _set(
        self, job: dict[str, Any], kind: str, reason: str, message: str, *, status: str = "True"
    ) -> None:
        conditions = job["status"]["conditions"]
        old = next((item for item in conditions if item["type"] == kind), None)
        if old is not None and (old["status"], old["reason"]) == (status, reason):
            return
        now = self._store.now_text()
        self._drop(job, kind)
        conditions.append({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": now, "lastUpdateTime": now,
        })  # fmt: skip

    def _drop(self, job: dict[str, Any], kind: str) -> None:
        job["status"]["conditions"][:] = [
            item for item in job["status"]["conditions"] if item["type"] != kind
        ]


def _name(item: dict[str, Any]) -> str:
    return str(item["metadata"]["name"])


def _namespace(job: dict[str, Any]) -> str:
    return str(job["metadata"]["namespace"])


def _replicas(job: dict[str, Any]) -> int:
    return int(job["spec"]["paddleReplicaSpecs"]["Worker"].get("replicas", 1))


def _holds(job: dict[str, Any], kind: str) -> bool:
    return any(item["type"] == kind and item["status"] == "True" for item in job["status"]["conditions"])
