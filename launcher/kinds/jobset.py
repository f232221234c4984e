"""JobSet of jobset.x-k8s.io/v1alpha2: a Job of equal nodes inside an object that says "training job".

For one group of pods a JobSet is one Job and one headless Service; all that is said of pods in `job` holds
here. Sources: kubernetes-sigs/jobset v0.12.0, api/jobset/v1alpha2 and pkg/controllers. Observed with v0.11.1
and v0.12.0 on Kubernetes 1.34:

- While it runs it has no condition at all. It has been noticed once `replicatedJobsStatus` is there.
- `Suspended` is noted within a second, while the pods still save.
- It takes a Job that the Job's own checks refuse, writes JobCreationFailed events for ever and no condition:
  hence `inner_job_of`, which is tried out before.
- It says that a Job of it has failed; why stands on that Job. No failure policy of its own is rendered: by
  one, all Jobs would be made again, their pods and logs gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from launcher.kinds.base import (
    Controller,
    FieldPath,
    Grant,
    JobKind,
    Refuse,
    refuse_unknown,
)
from launcher.kinds.job import JOB_NAME_LABEL, NO_GROUP, IndexedJob, check_playable_spec
from launcher.names import KindName
from launcher.objects import JOB_SETS, JOBS, KubeObject, Resource, name_of, uid_of

GROUP = "node"
"""Name of the one group of pods. Longer ones make pods' names too long."""
JOB_SET_LABEL = "jobset.sigs.k8s.io/jobset-name"
JOB_PATH: FieldPath = ("spec", "replicatedJobs", 0, "template")
_UID_LABEL = "jobset.sigs.k8s.io/jobset-uid"
_SOURCE = "https://github.com/kubernetes-sigs/jobset/releases/download/v0.12.0/manifests.yaml"
_LONGEST = 49  # pods are `<name>-node-0-<i>-<5 letters>` with at most 63 characters


class JobSetKind(IndexedJob):
    """What JobSet and TrainJob, which makes one, have in common."""

    job_label = JOB_SET_LABEL
    max_name = _LONGEST - len("999")

    def max_name_of(self, nodes: int) -> int:
        """See `JobKind`; its webhook counts the digits."""
        return _LONGEST - len(str(max(nodes - 1, 0)))

    def coordinator_host(self, job: str) -> str:
        """See `JobKind`; the pod's host name below the JobSet's Service, which tells it at once."""
        return f"{job}-{GROUP}-0-0.{job}"

    def is_name_of(self, name: str, *, job: str) -> bool:
        """See `JobKind`; the Job is `<job>-node-0`, pods are `<job>-node-0-<i>-<5 letters>`."""
        if name in (job, self.inner_job_name(job)):
            return True
        inner = f"{self.inner_job_name(job)}-"
        index, _, suffix = name.removeprefix(inner).partition("-")
        return name.startswith(inner) and index.isdigit() and len(suffix) == 5

    def inner_job_name(self, job: str) -> str:
        """See `JobKind`."""
        return f"{job}-{GROUP}-0"

    def labels_of_pod(self, job: str, node: int) -> Mapping[str, str]:
        """See `JobKind`."""
        return {
            self.job_label: job, "jobset.sigs.k8s.io/replicatedjob-name": GROUP,
            JOB_NAME_LABEL: self.inner_job_name(job), self.index_label: str(node),
        }  # fmt: skip


class JobSet(JobSetKind):
    """A JobSet by itself."""

    name: ClassVar[KindName] = "jobset"
    success_condition = "Completed"
    resource: ClassVar[Resource] = JOB_SETS
    controller = Controller(
        title="JobSet controller", deployment="jobset-controller-manager", check="jobset",
        install=f"kubectl apply --server-side -f {_SOURCE}",
    )  # fmt: skip
    template = "jobset.yaml.j2"
    pods_path = (*JOB_PATH, "spec", "template")
    grants = (
        Grant(
            group=JOB_SETS.group, resource=JOB_SETS.plural,
            verbs=("create", "get", "list", "watch", "patch", "delete"),
        ),
        Grant(group=JOBS.group, resource=JOBS.plural, verbs=("get",)),
    )  # fmt: skip
    cannot: ClassVar[Mapping[tuple[str, ...], str]] = {("queue", "volcano"): NO_GROUP}
    keys: ClassVar[Mapping[FieldPath, tuple[str, ...]]] = {
        ("spec", "ttlSecondsAfterFinished"): ("keep_finished",),
        (*JOB_PATH, "spec", "completions"): ("nodes",),
        (*JOB_PATH, "spec", "parallelism"): ("nodes",),
    }

    def probe(self, name: str) -> KubeObject:
        """See `JobKind`: its coordinator is none of its Jobs."""
        return self.sample(name, labels={}) | {
            "spec": {**self.sample(name, labels={})["spec"], "coordinator": {"replicatedJob": "nobody"}}
        }

    def sample(self, name: str, *, labels: Mapping[str, str]) -> KubeObject:
        """See `JobKind`."""
        container = {"name": self.container, "image": "sample"}
        template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
        return {
            "apiVersion": self.resource.api_version, "kind": self.resource.kind,
            "metadata": {"name": name, "labels": dict(labels)},
            "spec": {"replicatedJobs": [
                {"name": GROUP, "replicas": 1, "template": {"spec": {"template": template}}}
            ]},
        }  # fmt: skip

    def is_own_pod(self, job: KubeObject, pod: KubeObject) -> bool:
        """See `IndexedJob`; the pod's owner is a Job, and a label has the uid of the JobSet."""
        return (pod["metadata"].get("labels") or {}).get(_UID_LABEL) == uid_of(job)

    def inner_job_of(self, job: KubeObject, beside: Sequence[KubeObject] = ()) -> KubeObject:
        """See `JobKind`."""
        del beside
        return make_inner_job(self, job, job["spec"]["replicatedJobs"][0]["template"])

    def replicas_of(self, job: KubeObject) -> int:
        """See `JobKind`; also of JobSets that others have made."""
        groups = (job.get("spec") or {}).get("replicatedJobs") or [{}]
        return int(((groups[0].get("template") or {}).get("spec") or {}).get("completions") or 1)

    def is_noticed(self, job: KubeObject) -> bool:
        """See `JobKind`."""
        return super().is_noticed(job) or bool((job.get("status") or {}).get("replicatedJobsStatus"))

    def trim_spec(self, spec: KubeObject) -> KubeObject:
        """See `JobKind`."""
        sized = {"template": {"spec": {"completions": self.replicas_of({"spec": spec})}}}
        return {"suspend": bool(spec.get("suspend")), "replicatedJobs": [sized]}

    def check_playable(self, job: KubeObject, refuse: Refuse) -> None:
        """See `JobKind`."""
        check_playable_set(job["spec"], "spec", refuse)


def make_inner_job(kind: JobKind, job: KubeObject, template: KubeObject) -> KubeObject:
    """Return the Job of an object from the template that stands for it there."""
    name = kind.inner_job_name(name_of(job))
    spec = {"completions": kind.replicas_of(job), "parallelism": kind.replicas_of(job), **template["spec"]}
    labels = job["metadata"].get("labels") or {}
    return {
        "apiVersion": JOBS.api_version, "kind": JOBS.kind, "metadata": {"name": name, "labels": labels},
        "spec": spec,
    }  # fmt: skip


def check_playable_set(spec: KubeObject, at: str, refuse: Refuse) -> None:
    """Refuse every part of a JobSet's spec, its pod template aside, that docker and local cannot honour."""
    refuse_unknown(spec, {"network", "replicatedJobs", "suspend", "ttlSecondsAfterFinished"}, at, refuse)
    for key, value in (spec.get("network") or {}).items():
        if key not in ("enableDNSHostnames", "publishNotReadyAddresses") or value is not True:
            refuse(f"{at}.network.{key}", "what makes names of pods known at once", value)
    groups = spec.get("replicatedJobs") or []
    if [group.get("name") for group in groups] != [GROUP] or groups[0].get("replicas", 1) != 1:
        refuse(f"{at}.replicatedJobs", f"one named {GROUP}, with one replica", len(groups))
        return
    at = f"{at}.replicatedJobs[0].template"
    refuse_unknown(groups[0].get("template") or {}, {"metadata", "spec"}, at, refuse)
    check_playable_spec((groups[0].get("template") or {}).get("spec") or {}, f"{at}.spec", refuse)
