"""The controller of batch.paddlepaddle.org/v1: one look at a job and its pods, and what it then does.

As PaddleFlow/paddle-operator is written (controllers/paddlejob_controller.go 0fb2701 and paddlejob_helper.go
11fa710), without elastic jobs, parameter servers and cleaning: a phase instead of conditions, labels by pod.
A pod that failed fails the job for good, and missing pods are made whatever the phase.
"""

from __future__ import annotations

import copy
from typing import Any

from tests.fakes.store import ObjectStore


class PaddleFlowOperator:
    """Looks at one job until nothing is left to do."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def reconcile(self, job: dict[str, Any]) -> None:
        name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
        if job["metadata"].get("deletionTimestamp"):
            return
        count = job["spec"]["worker"]["replicas"]
        pods = [self._store.find("pods", namespace, f"{name}-worker-{index}") for index in range(count)]
        for index, pod in enumerate(pods):
            if pod is None:
                self._make(job, index)
        self._conclude(job, [pod["status"]["phase"] for pod in pods if pod is not None], count)
        if self._store.find("configmaps", namespace, name) is None and all(pods):
            owned = {"name": name, "ownerReferences": [_owner(job)]}
            self._store.add(
                "configmaps", {"metadata": owned, "data": {"PADDLE_PORT": "36000"}}, namespace=namespace
            )

    def _conclude(self, job: dict[str, Any], phases: list[str], count: int) -> None:
        status = job.setdefault("status", {})
        if status.get("phase") in ("Completed", "Failed"):
            return
        if "Failed" in phases:
            status["phase"] = "Failed"
        elif phases.count("Running") == count:
            status["phase"] = "Running"
            status.setdefault("startTime", self._store.now_text())
        elif phases.count("Succeeded") == count:
            status["phase"] = "Completed"
        else:
            status["phase"] = "Pending"
        if status["phase"] in ("Completed", "Failed"):
            status["completionTime"] = self._store.now_text()

    def _make(self, job: dict[str, Any], index: int) -> None:
        template = copy.deepcopy(job["spec"]["worker"]["template"])
        name = f"{job['metadata']['name']}-worker-{index}"
        metadata = template.get("metadata", {})
        labels = {**metadata.get("labels", {}), "paddle-res-name": name, "paddle-res-type": "worker"}
        pod = {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {**metadata, "name": name, "labels": labels, "ownerReferences": [_owner(job)]},
            "spec": template["spec"], "status": {"phase": "Pending"},
        }  # fmt: skip
        env = {"POD_IP": name, "PADDLE_TRAINER_ID": str(index), "TRAINING_ROLE": "TRAINER"}
        first = pod["spec"]["containers"][0]
        first["env"] = [*first.get("env", []), *({"name": key, "value": env[key]} for key in env)]
        first["envFrom"] = [{"configMapRef": {"name": job["metadata"]["name"]}}]
        self._store.add("pods", pod, namespace=job["metadata"]["namespace"])


def _owner(job: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "batch.paddlepaddle.org/v1", "kind": "PaddleJob", "name": job["metadata"]["name"],
        "uid": job["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
