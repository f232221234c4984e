"""The controller of Jobs of batch/v1: one look at an indexed Job and its pods, and what it then does.

Behaves as that of Kubernetes 1.34 was seen to: pods have drawn names, a failed one stays beside the one that
is made in its place, a failed number fails the job once its peers have ended, `Suspended` is noted before the
pods are gone, and a running job has a start time and no condition. The ten seconds before a pod is made
again are left out.
"""

from __future__ import annotations

import copy
from typing import Any

from tests.fakes.store import ObjectStore

LABEL = "batch.kubernetes.io/"
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class JobController:
    """Looks at one job until nothing is left to do."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._made = 0

    def reconcile(self, job: dict[str, Any]) -> None:
        while self._step(job):
            pass

    def _step(self, job: dict[str, Any]) -> bool:
        if job["metadata"].get("deletionTimestamp"):
            return False
        status = job.setdefault("status", {})
        if holds(job, "Complete") or holds(job, "Failed"):
            return False
        pods = self._pods(job)
        if job["spec"].get("suspend"):
            status.pop("startTime", None)
            set_condition(self._store, job, "Suspended", "JobSuspended", "Job suspended")
            for pod in pods:
                if pod["status"]["phase"] in ("Pending", "Running"):
                    self._store.end("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
            return False
        if holds(job, "Suspended"):
            set_condition(self._store, job, "Suspended", "JobResumed", "Job resumed", status="False")
        status.setdefault("startTime", self._store.now_text())
        return self._play(job, pods)

    def _play(self, job: dict[str, Any], pods: list[dict[str, Any]]) -> bool:
        wanted, newest = int(job["spec"]["completions"]), {}
        for pod in pods:
            newest[int(pod["metadata"]["labels"][f"{LABEL}job-completion-index"])] = pod
        failed = [number for number, pod in newest.items() if self._has_failed(job, pod)]
        missing = [number for number in range(wanted) if number not in newest]
        again = [
            number for number, pod in newest.items()
            if pod["status"]["phase"] == "Failed" and number not in failed
        ]  # fmt: skip
        for number in (*missing, *again):
            self._make(job, number)
        if missing or again:
            return True
        phases = [pod["status"]["phase"] for pod in newest.values()]
        status = job["status"]
        status["active"] = sum(phase in ("Pending", "Running") for phase in phases)
        status["ready"] = phases.count("Running")
        if failed:
            status["failedIndexes"] = ",".join(map(str, sorted(failed)))
        if status["active"]:
            return False
        if failed:
            set_condition(self._store, job, "Failed", "FailedIndexes", "Job has failed indexes")
        else:
            set_condition(self._store, job, "Complete", "CompletionsReached", "Reached the number of pods")
            status["completionTime"] = self._store.now_text()
        return False

    def _has_failed(self, job: dict[str, Any], pod: dict[str, Any]) -> bool:
        if pod["status"]["phase"] != "Failed":
            return False
        ended = pod["status"]["containerStatuses"][0]
        for rule in job["spec"]["podFailurePolicy"]["rules"]:
            codes = rule.get("onExitCodes")
            if codes is None or codes["containerName"] != ended["name"]:
                continue
            if (ended["state"]["terminated"]["exitCode"] in codes["values"]) is (codes["operator"] == "In"):
                return bool(rule["action"] == "FailIndex")
        return False

    def _pods(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        uid = job["metadata"]["uid"]
        own = [
            pod for pod in self._store.all("pods", job["metadata"]["namespace"])
            if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences", []))
        ]  # fmt: skip
        return sorted(own, key=lambda pod: int(pod["metadata"]["uid"].rpartition("-")[2]))

    def _make(self, job: dict[str, Any], number: int) -> None:
        template = copy.deepcopy(job["spec"]["template"])
        metadata, name = template.get("metadata", {}), job["metadata"]["name"]
        owner = {
            "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"],
            "controller": True, "blockOwnerDeletion": True,
        }  # fmt: skip
        labels = {
            **metadata.get("labels", {}), f"{LABEL}job-name": name, "job-name": name,
            f"{LABEL}job-completion-index": str(number), f"{LABEL}controller-uid": job["metadata"]["uid"],
        }  # fmt: skip
        pod: dict[str, Any] = {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                **metadata, "name": f"{name}-{number}-{self._draw()}", "labels": labels,
                "ownerReferences": [owner],
            },
            "spec": {**template["spec"], "hostname": f"{name}-{number}"}, "status": {"phase": "Pending"},
        }  # fmt: skip
        for container in pod["spec"]["containers"]:
            container.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "value": str(number)})
        self._store.add("pods", pod, namespace=job["metadata"]["namespace"])

    def _draw(self) -> str:
        self._made += 1
        number, letters = self._made * 7919, ""
        for _ in range(5):
            number, rest = divmod(number, len(_LETTERS))
            letters += _LETTERS[rest]
        return letters


def holds(job: dict[str, Any], kind: str) -> bool:
    conditions = job.get("status", {}).get("conditions", [])
    return any(item["type"] == kind and item["status"] == "True" for item in conditions)


def set_condition(
    store: ObjectStore, job: dict[str, Any], kind: str, reason: str, message: str, *, status: str = "True"
) -> None:
    conditions = job["status"].setdefault("conditions", [])
    old = next((item for item in conditions if item["type"] == kind), None)
    if old is not None and (old["status"], old["reason"]) == (status, reason):
        return
    conditions[:] = [item for item in conditions if item["type"] != kind]
    conditions.append({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": store.now_text(),
    })  # fmt: skip
