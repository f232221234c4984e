"""The controllers of JobSets and TrainJobs, as far as one group of pods goes.

As JobSet v0.12.0 and Kubeflow Trainer v2.3.0 were seen to: a JobSet makes one Job and one Service, is
Suspended before the pods are gone, has no condition while it runs, and says of a failed Job only that it has
failed. A TrainJob makes a JobSet of the template in its runtime, and mirrors it.
"""

from __future__ import annotations

import copy
from typing import Any

from tests.fakes.job_controller import holds, set_condition
from tests.fakes.store import ObjectStore

_LABEL = "jobset.sigs.k8s.io/"


class JobSetController:
    """Makes the Job and the Service of a JobSet, and says how it ended."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def reconcile(self, job: dict[str, Any]) -> None:
        if job["metadata"].get("deletionTimestamp"):
            return
        name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
        status = job.setdefault("status", {})
        if holds(job, "Completed") or holds(job, "Failed"):
            return
        (group,) = job["spec"]["replicatedJobs"]
        inner = self._store.find("jobs", namespace, f"{name}-{group['name']}-0")
        suspended = bool(job["spec"].get("suspend"))
        if inner is None:
            inner = self._make(job, group)
        inner["spec"]["suspend"] = suspended
        if suspended:
            set_condition(self._store, job, "Suspended", "SuspendedJobs", "jobset is suspended")
        elif holds(job, "Suspended"):
            set_condition(self._store, job, "Suspended", "ResumeJobs", "jobset is resumed", status="False")
        done = {"succeeded": int(holds(inner, "Complete")), "failed": int(holds(inner, "Failed"))}
        status["replicatedJobsStatus"] = [{
            "name": group["name"], "ready": 0, "suspended": int(suspended), **done,
            "active": int(not any(done.values())),
        }]  # fmt: skip
        if done["succeeded"]:
            set_condition(self._store, job, "Completed", "AllJobsCompleted", "jobset completed successfully")
        if done["failed"]:
            words = "jobset failed due to one or more job failures (first failed job: "
            set_condition(self._store, job, "Failed", "FailedJobs", f"{words}{inner['metadata']['name']})")

    def _make(self, job: dict[str, Any], group: dict[str, Any]) -> dict[str, Any]:
        name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
        labels = {
            f"{_LABEL}jobset-name": name, f"{_LABEL}jobset-uid": job["metadata"]["uid"],
            f"{_LABEL}replicatedjob-name": group["name"],
        }  # fmt: skip
        owner = {
            "apiVersion": job["apiVersion"], "kind": job["kind"], "name": name,
            "uid": job["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
        }  # fmt: skip
        template = copy.deepcopy(group["template"])
        pods = template["spec"]["template"].setdefault("metadata", {})
        pods["labels"] = {**pods.get("labels", {}), **labels}
        inner: dict[str, Any] = {
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": f"{name}-{group['name']}-0", "ownerReferences": [owner],
                "labels": {**template.get("metadata", {}).get("labels", {}), **labels},
            },
            "spec": template["spec"],
        }  # fmt: skip
        service: dict[str, Any] = {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "ownerReferences": [owner]},
            "spec": {"clusterIP": "None", "selector": {f"{_LABEL}jobset-name": name}},
        }  # fmt: skip
        self._store.add("services", service, namespace=namespace)
        self._store.add("jobs", inner, namespace=namespace)
        return inner


class TrainJobController:
    """Makes the JobSet of a TrainJob, and mirrors its conditions."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def reconcile(self, job: dict[str, Any]) -> None:
        if job["metadata"].get("deletionTimestamp"):
            return
        name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
        status = job.setdefault("status", {})
        suspended = bool(job["spec"].get("suspend"))
        made = self._store.find("jobsets", namespace, name)
        if made is None:
            runtime = self._store.find("trainingruntimes", namespace, job["spec"]["runtimeRef"]["name"])
            if runtime is None:
                return
            made = self._make(job, copy.deepcopy(runtime["spec"]))
        if not (holds(job, "Complete") or holds(job, "Failed")):
            made["spec"]["suspend"] = suspended
            if suspended:
                set_condition(self._store, job, "Suspended", "Suspended", "TrainJob is suspended")
            elif holds(job, "Suspended"):
                set_condition(self._store, job, "Suspended", "Resumed", "TrainJob is resumed", status="False")
        status["jobsStatus"] = made.get("status", {}).get("replicatedJobsStatus", [])
        for item in made.get("status", {}).get("conditions", []):
            kind = {"Completed": "Complete", "Failed": "Failed"}.get(item["type"])
            if kind is not None and item["status"] == "True":
                set_condition(self._store, job, kind, item["reason"], item["message"])

    def _make(self, job: dict[str, Any], runtime: dict[str, Any]) -> dict[str, Any]:
        nodes = job["spec"].get("trainer", {}).get("numNodes") or runtime["mlPolicy"]["numNodes"]
        spec = runtime["template"]["spec"]
        spec["replicatedJobs"][0]["template"]["spec"] |= {"completions": nodes, "parallelism": nodes}
        owner = {
            "apiVersion": job["apiVersion"], "kind": job["kind"], "name": job["metadata"]["name"],
            "uid": job["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
        }  # fmt: skip
        made: dict[str, Any] = {
            "apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
            "metadata": {
                **runtime["template"].get("metadata", {}), "name": job["metadata"]["name"],
                "ownerReferences": [owner],
            },
            "spec": spec,
        }  # fmt: skip
        self._store.add("jobsets", made, namespace=job["metadata"]["namespace"])
        return made
