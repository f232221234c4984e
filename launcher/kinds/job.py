"""Job of batch/v1: what every cluster runs, without an operator and with the built-in role `edit`.

An indexed Job gives each pod a number, and a headless Service, made beside it, gives each a name before it
is ready. Sources: kubernetes.io "Jobs" (completion mode Indexed, backoffLimitPerIndex, podFailurePolicy)
and k8s.io/api/batch/v1. Observed on Kubernetes 1.34: a pod that is made again has another name, and the one
before stays as Failed with its log, so that a number has several pods; a running job has no condition;
`suspend` is noted before the pods are gone.

Which exits are retried is said by the policy that the template renders: 137 and 143 only, while the others
fail their number. FailIndex and not FailJob, which would delete the peers' pods with their logs. The limit
of retries is large, because attempts are counted by the node process; only pods that left no exit code
count against it.

`JobSet` and `TrainJob` are such a Job inside an envelope: what is said of its pods here holds for all three,
and stands in `IndexedJob`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import ClassVar

from launcher.kinds.base import FieldPath, Grant, JobKind, Refuse, refuse_unknown
from launcher.names import KindName
from launcher.objects import (
    JOBS,
    SERVICES,
    KubeObject,
    Resource,
    created_s,
    is_living,
    is_owned,
    uid_of,
)

_MADE_ANEW = 1_000_000
"""Pods of a Job of one pod: so many that they never run out."""

JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
"""Taint that says of a node that it is off, so that its pods are let go (kubernetes.io, "Node Shutdowns")."""
NO_GROUP = "it makes no pod group; name a queue of Kueue"
_RETRIED_EXITS = (137, 143)
_DONE_WITH_NODE_0 = {"rules": [{"succeededIndexes": "0"}]}
_SPEC = {
    "backoffLimitPerIndex", "completionMode", "completions", "parallelism", "podFailurePolicy",
    "successPolicy", "template",
}  # fmt: skip


class IndexedJob(JobKind):
    """Pods are those of an indexed Job: found by label and number, since their names are drawn."""

    suspend_path = ("spec", "suspend")
    container = "node"  # as TrainJob demands it: the same pod template in all that a Job is inside of
    index_label = "batch.kubernetes.io/job-completion-index"

    def pod_fields(self, job: str) -> Mapping[str, object]:
        """See `JobKind`; the policy of exit codes demands that nothing is restarted in place."""
        del job
        return {"restartPolicy": "Never"}

    def pod_name(self, job: str, node: int) -> None:
        """See `JobKind`; it ends in five random letters."""
        del job, node

    def pods_of(self, job: KubeObject, pods: Iterable[KubeObject]) -> tuple[KubeObject, ...]:
        """See `JobKind`; the newest of each number, since failed ones stay beside it."""
        return tuple(own[-1] for _, own in sorted(self._by_number(job, pods).items()))

    def earlier_of(self, job: KubeObject, pods: Iterable[KubeObject]) -> Mapping[int, tuple[KubeObject, ...]]:
        """See `JobKind`."""
        return {number: tuple(own[:-1]) for number, own in self._by_number(job, pods).items() if own[1:]}

    @property
    def maker(self) -> str:
        """See `JobKind`."""
        return "the Job controller"

    def free_lost_pod(self, *, pod: str, host: str, namespace: str) -> str:
        """See `JobKind`; a pod that is deleted by force stays for ever, for its finalizer (job-tracking)."""
        del pod, namespace
        return f"an administrator: kubectl taint node {host} {OUT_OF_SERVICE}, until it is back"

    def is_own_pod(self, job: KubeObject, pod: KubeObject) -> bool:
        """Say whether a pod is this very job's, and not that of a namesake before it."""
        return is_owned(pod, by=uid_of(job))

    def _by_number(self, job: KubeObject, pods: Iterable[KubeObject]) -> dict[int, list[KubeObject]]:
        found: dict[int, list[KubeObject]] = {}
        for pod in pods:
            number = (pod["metadata"].get("labels") or {}).get(self.index_label)
            if number is not None and self.is_own_pod(job, pod):
                found.setdefault(int(number), []).append(pod)
        for own in found.values():
            own.sort(key=lambda pod: (created_s(pod), is_living(pod)))
        return found

    def is_retried(self, exit_code: int | None) -> bool:
        """See `JobKind`; by the policy of the template."""
        return exit_code is None or exit_code in _RETRIED_EXITS

    def variables_of_pod(
        self, job: str, node: int, *, replicas: int, ports: Mapping[str, int]
    ) -> list[KubeObject]:
        """See `JobKind`."""
        del job, replicas, ports
        return [{"name": "JOB_COMPLETION_INDEX", "value": str(node)}]


class PlainJob(IndexedJob):
    """A Job by itself, and a Service beside it."""

    name: ClassVar[KindName] = "job"
    resource: ClassVar[Resource] = JOBS
    companions: ClassVar[tuple[Resource, ...]] = (SERVICES,)
    template = "job.yaml.j2"
    pods_path = ("spec", "template")
    success_condition = "Complete"
    job_label = JOB_NAME_LABEL
    max_name = 52  # host names are `<job>-<i>`, which leaves 59 for a thousand nodes; ours have at most 52
    grants = (
        Grant(
            group=JOBS.group, resource=JOBS.plural,
            verbs=("create", "get", "list", "watch", "patch", "delete"),
        ),
        Grant(group=SERVICES.group, resource=SERVICES.plural, verbs=("create", "get", "patch", "delete")),
    )  # fmt: skip
    cannot: ClassVar[Mapping[tuple[str, ...], str]] = {
        ("queue", "volcano"): NO_GROUP,
    }
    keys: ClassVar[Mapping[FieldPath, tuple[str, ...]]] = {
        ("spec", "ttlSecondsAfterFinished"): ("keep_finished",),
        ("spec", "completions"): ("nodes",),
        ("spec", "parallelism"): ("nodes",),
    }

    def coordinator_host(self, job: str) -> str:
        """See `JobKind`; the pod's host name below the Service's, which publishes addresses at once."""
        return f"{job}-0.{job}"

    def pod_fields(self, job: str) -> Mapping[str, object]:
        """See `JobKind`: the Service's name, without which a pod has none of its own."""
        return {**super().pod_fields(job), "subdomain": job}

    def sample(self, name: str, *, labels: Mapping[str, str]) -> KubeObject:
        """See `JobKind`."""
        container = {"name": self.container, "image": "sample"}
        return {
            "apiVersion": self.resource.api_version, "kind": self.resource.kind,
            "metadata": {"name": name, "labels": dict(labels)},
            "spec": {
                "completionMode": "Indexed", "completions": 1, "parallelism": 1,
                "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
            },
        }  # fmt: skip

    def is_name_of(self, name: str, *, job: str) -> bool:
        """See `JobKind`; pods are `<job>-<i>-<5 letters>`."""
        index, _, suffix = name.removeprefix(f"{job}-").partition("-")
        return name == job or (name.startswith(f"{job}-") and index.isdigit() and len(suffix) == 5)

    def replicas_of(self, job: KubeObject) -> int:
        """See `JobKind`."""
        return int((job.get("spec") or {}).get("completions") or 1)

    def is_noticed(self, job: KubeObject) -> bool:
        """See `JobKind`; a running job has no condition, and a start time once it was looked at."""
        return super().is_noticed(job) or bool((job.get("status") or {}).get("startTime"))

    def trim_spec(self, spec: KubeObject) -> KubeObject:
        """See `JobKind`."""
        return {key: spec[key] for key in ("completions", "suspend") if key in spec}

    def check_playable(self, job: KubeObject, refuse: Refuse) -> None:
        """See `JobKind`."""
        check_playable_spec(job["spec"], "spec", refuse, known=_SPEC | {"suspend", "ttlSecondsAfterFinished"})

    def labels_of_pod(self, job: str, node: int) -> Mapping[str, str]:
        """See `JobKind`."""
        return {self.job_label: job, self.index_label: str(node)}


def check_playable_spec(spec: KubeObject, at: str, refuse: Refuse, *, known: Set[str] = _SPEC) -> None:
    """Refuse every part of a Job's spec, its pod template aside, that docker and local could not honour."""
    refuse_unknown(spec, known, at, refuse)
    if spec.get("completionMode") != "Indexed":
        refuse(f"{at}.completionMode", "Indexed", spec.get("completionMode"))
    if spec.get("parallelism") != spec.get("completions"):
        refuse(f"{at}.parallelism", f"{spec.get('completions')}, as completions", spec.get("parallelism"))
    # Here every pod runs, and ends by itself where node 0 has: there is none to be left out.
    if spec.get("successPolicy") not in (None, _DONE_WITH_NODE_0):
        refuse(f"{at}.successPolicy", f"none, or {_DONE_WITH_NODE_0}", spec["successPolicy"])


def make_job_of_one_pod(
    metadata: KubeObject, pod: KubeObject, *, container: str, final_codes: Sequence[int]
) -> KubeObject:
    """Return a Job whose pod is made anew until it ends with 0, or with a code that it would only repeat.

    Args:
        metadata: Of the Job; its labels are the pod's too.
        pod: Its spec.
        container: Whose exit codes count.
        final_codes: That end the Job.
    """
    final = {"containerName": container, "operator": "In", "values": [*final_codes]}
    rules = [
        {"action": "FailIndex", "onExitCodes": final},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    spec = {
        "completionMode": "Indexed", "completions": 1, "parallelism": 1,
        "backoffLimitPerIndex": _MADE_ANEW, "podFailurePolicy": {"rules": rules},
        "template": {"metadata": {"labels": dict(metadata["labels"])}, "spec": pod},
    }  # fmt: skip
    return {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "metadata": metadata, "spec": spec}
