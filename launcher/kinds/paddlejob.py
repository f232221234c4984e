"""PaddleJob of kubeflow.org/v1, which the training operator runs (v1.9).

Sources: kubeflow/training-operator v1.9.3, pkg/controller.v1/paddlepaddle and pkg/apis/kubeflow.org/v1.
Observed with it: a finished job may lack completionTime, its `active` count stays above 0, and the
condition Restarting replaces Running; so conditions and pods are read, counts never.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from launcher.kinds.base import (
    Controller,
    FieldPath,
    Grant,
    JobKind,
    Refuse,
    refuse_unknown,
)
from launcher.names import KindName
from launcher.objects import PADDLE_JOBS, Condition, KubeObject, Resource, conditions_of, is_owned, uid_of
from trainer.protocol.environment import STORE_PORT

_SOURCE = "github.com/kubeflow/training-operator.git/manifests/overlays/standalone?ref=v1.9.3"
_SPECS = ("spec", "paddleReplicaSpecs")
_WORKER = (*_SPECS, "Worker")
_FIRST_RETRIED_EXIT = 128
"""Under `ExitCode` a pod that exits with this or more is made again; 1 to 127 fail the job."""


class PaddleJob(JobKind):
    """All pods are Workers: a Master would mean parameter servers. Pods have names, and a Service each."""

    name: ClassVar[KindName] = "paddlejob"
    resource: ClassVar[Resource] = PADDLE_JOBS
    controller = Controller(
        title="training operator",
        deployment="training-operator",
        check="operator",
        install=f'kubectl apply --server-side -k "{_SOURCE}"',  # its README, release 1.9
    )
    template = "paddlejob.yaml.j2"
    pods_path = (*_WORKER, "template")
    suspend_path = ("spec", "runPolicy", "suspend")
    container = "paddle"  # its webhook demands one of this name
    success_condition = "Succeeded"
    job_label = "training.kubeflow.org/job-name"
    index_label = "training.kubeflow.org/replica-index"
    max_name = 52  # pods and Services are `<job>-worker-<i>` with up to 3 digits, at most 63 characters
    grants = (
        Grant(
            group=PADDLE_JOBS.group, resource=PADDLE_JOBS.plural,
            verbs=("create", "get", "list", "watch", "patch", "delete"),
        ),
    )  # fmt: skip
    cannot: ClassVar[Mapping[tuple[str, ...], str]] = {
        ("nodes", "min"): (
            "it has succeeded only once all its pods have, and one may never start; leave api out, or take "
            "jobset or job"
        ),
    }  # fmt: skip
    keys: ClassVar[Mapping[FieldPath, tuple[str, ...]]] = {
        ("spec", "runPolicy", "ttlSecondsAfterFinished"): ("keep_finished",),
        ("spec", "runPolicy", "schedulingPolicy"): ("queue",),
        ("spec", "runPolicy", "schedulingPolicy", "queue"): ("queue", "volcano"),
        ("spec", "runPolicy", "schedulingPolicy", "priorityClass"): ("priority_class",),
        (*_WORKER, "replicas"): ("nodes",),
    }

    def coordinator_host(self, job: str) -> str:
        """See `JobKind`; a Service's name, which DNS knows once the pod is ready: no probe may delay that."""
        return self.pod_name(job, 0)

    def complete_path(self, path: FieldPath) -> FieldPath:
        """See `JobKind`; where its webhook cannot decode a value, it leaves out the role."""
        if path[:2] == _SPECS and path[2:3] in (("template",), ("replicas",)):
            return (*_WORKER, *path[2:])
        return path

    def probe(self, name: str) -> KubeObject:
        """See `JobKind`: it has no container `paddle`."""
        template = {"spec": {"containers": [{"name": "probe", "image": "probe"}]}}
        worker = {"replicas": 1, "restartPolicy": "ExitCode", "template": template}
        policy = {"cleanPodPolicy": "None", "suspend": True, "schedulingPolicy": {"minAvailable": 1}}
        return {
            "apiVersion": self.resource.api_version, "kind": self.resource.kind, "metadata": {"name": name},
            "spec": {"runPolicy": policy, "paddleReplicaSpecs": {"Worker": worker}},
        }  # fmt: skip

    def sample(self, name: str, *, labels: Mapping[str, str]) -> KubeObject:
        """See `JobKind`."""
        template = {"spec": {"containers": [{"name": self.container, "image": "sample"}]}}
        worker = {"replicas": 1, "restartPolicy": "ExitCode", "template": template}
        return {
            "apiVersion": self.resource.api_version, "kind": self.resource.kind,
            "metadata": {"name": name, "labels": dict(labels)},
            "spec": {"paddleReplicaSpecs": {"Worker": worker}},
        }  # fmt: skip

    @property
    def maker(self) -> str:
        """See `JobKind`."""
        return "the operator"

    def pod_name(self, job: str, node: int) -> str:
        """See `JobKind`; the same again after a restart."""
        return f"{job}-worker-{node}"

    def is_name_of(self, name: str, *, job: str) -> bool:
        """See `JobKind`; pods and Services have one name."""
        prefix, _, index = name.rpartition("-")
        return name == job or (prefix == f"{job}-worker" and index.isdigit())

    def pods_of(self, job: KubeObject, pods: Iterable[KubeObject]) -> tuple[KubeObject, ...]:
        """See `JobKind`; a pod that ended is deleted before the next one is made: there is one a number."""
        own = [pod for pod in pods if is_owned(pod, by=uid_of(job))]
        return tuple(sorted(own, key=lambda pod: int(pod["metadata"]["labels"][self.index_label])))

    def replicas_of(self, job: KubeObject) -> int:
        """See `JobKind`; also of jobs that others have made, whose parts may be missing."""
        specs = (job.get("spec") or {}).get("paddleReplicaSpecs") or {}
        return int((specs.get("Worker") or {}).get("replicas") or 1)

    def restarting_of(self, job: KubeObject) -> Condition | None:
        """See `JobKind`; it stays until all pods run again."""
        return conditions_of(job).get("Restarting")

    def late_deadline_of(self, job: KubeObject) -> float | None:
        """See `JobKind`; observed with v1.9.3: the requeue for activeDeadlineSeconds never comes."""
        limit_s = ((job.get("spec") or {}).get("runPolicy") or {}).get("activeDeadlineSeconds")
        return None if limit_s is None else float(limit_s)

    def trim_spec(self, spec: KubeObject) -> KubeObject:
        """See `JobKind`."""
        workers = (spec.get("paddleReplicaSpecs") or {}).get("Worker") or {}
        return {
            "runPolicy": spec.get("runPolicy") or {},
            "paddleReplicaSpecs": {"Worker": {"replicas": workers.get("replicas", 1)}},
        }

    def check_playable(self, job: KubeObject, refuse: Refuse) -> None:
        """See `JobKind`."""
        spec, worker_at = job["spec"], ".".join(_WORKER)
        refuse_unknown(spec, {"runPolicy", "paddleReplicaSpecs"}, "spec", refuse)
        policy = spec.get("runPolicy", {})
        known = {"cleanPodPolicy", "ttlSecondsAfterFinished", "schedulingPolicy"}
        refuse_unknown(policy, known, "spec.runPolicy", refuse)
        if policy.get("cleanPodPolicy") not in (None, "None"):
            refuse("spec.runPolicy.cleanPodPolicy", "None", policy["cleanPodPolicy"])
        specs = spec.get("paddleReplicaSpecs", {})
        if set(specs) != {"Worker"}:
            refuse(".".join(_SPECS), "Worker alone", sorted(specs))
            return
        worker = specs["Worker"]
        refuse_unknown(worker, {"replicas", "restartPolicy", "template"}, worker_at, refuse)
        if worker.get("restartPolicy") != "ExitCode":
            refuse(f"{worker_at}.restartPolicy", "ExitCode", worker.get("restartPolicy"))
        if worker.get("replicas", 1) < 1:
            refuse(f"{worker_at}.replicas", "at least 1", worker["replicas"])

    def is_retried(self, exit_code: int | None) -> bool:
        """See `JobKind`; by `restartPolicy: ExitCode`."""
        return exit_code is not None and exit_code >= _FIRST_RETRIED_EXIT

    def labels_of_pod(self, job: str, node: int) -> Mapping[str, str]:
        """See `JobKind`."""
        return {
            self.job_label: job,
            "training.kubeflow.org/operator-name": "paddlejob-controller",
            "training.kubeflow.org/replica-type": "worker",
            self.index_label: str(node),
        }

    def variables_of_pod(
        self, job: str, node: int, *, replicas: int, ports: Mapping[str, int]
    ) -> list[KubeObject]:
        """See `JobKind`; envvar.go."""
        own_ip = {"name": "POD_IP_DUMMY", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        host = "$(POD_IP_DUMMY)" if node == 0 else self.pod_name(job, 0)
        return [
            {"name": "PYTHONUNBUFFERED", "value": "1"},
            {"name": "PADDLE_JOB_ID", "value": job},
            {"name": "PADDLE_NNODES", "value": str(replicas)},
            *([own_ip] if node == 0 else []),
            {"name": "PADDLE_MASTER", "value": f"{host}:{ports.get('master', STORE_PORT)}"},
        ]
