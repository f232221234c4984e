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

Rendered, read and played by the same code as every kind, and not offered by `Launch.api`: no command has
sent one to a cluster yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from launcher.kinds.base import Ending, FieldPath, Grant, JobKind, KindName, Refuse, ended_at, refuse_unknown
from launcher.objects import JOBS, SERVICES, KubeObject, Resource, conditions_of, created_s, is_owned, uid_of

_RETRIED_EXITS = (137, 143)
_SPEC = {
    "backoffLimitPerIndex", "completionMode", "completions", "parallelism", "podFailurePolicy", "suspend",
    "template", "ttlSecondsAfterFinished",
}  # fmt: skip


class PlainJob(JobKind):
    """Pods are found by label and number; their names are drawn."""

    name: ClassVar[KindName] = "job"
    resource: ClassVar[Resource] = JOBS
    companions: ClassVar[tuple[Resource, ...]] = (SERVICES,)
    template = "job.yaml.j2"
    pods_path = ("spec", "template")
    suspend_path = ("spec", "suspend")
    container = "node"  # as TrainJob demands it: the same pod template in all that a Job is inside of
    job_label = "batch.kubernetes.io/job-name"
    index_label = "batch.kubernetes.io/job-completion-index"
    max_name = 52  # host names are `<job>-<i>`, which leaves 59 for a thousand nodes; ours have at most 52
    grants = (
        Grant(
            group=JOBS.group, resource=JOBS.plural,
            verbs=("create", "get", "list", "watch", "patch", "delete"),
        ),
        Grant(group=SERVICES.group, resource=SERVICES.plural, verbs=("create", "get", "patch", "delete")),
    )  # fmt: skip
    cannot: ClassVar[Mapping[tuple[str, ...], str]] = {
        ("queue", "volcano"): "it makes no pod group; name a queue of Kueue",
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
        return {"restartPolicy": "Never", "subdomain": job}

    def pod_name(self, job: str, node: int) -> None:
        """See `JobKind`; it ends in five random letters."""
        del job, node

    def is_name_of(self, name: str, *, job: str) -> bool:
        """See `JobKind`; pods are `<job>-<i>-<5 letters>`."""
        index, _, suffix = name.removeprefix(f"{job}-").partition("-")
        return name == job or (name.startswith(f"{job}-") and index.isdigit() and len(suffix) == 5)

    def pods_of(self, job: KubeObject, pods: Iterable[KubeObject]) -> tuple[KubeObject, ...]:
        """See `JobKind`; the newest of each number, since failed ones stay beside it."""
        newest: dict[int, KubeObject] = {}
        for pod in pods:
            number = (pod["metadata"].get("labels") or {}).get(self.index_label)
            if number is None or not is_owned(pod, by=uid_of(job)):
                continue
            known = newest.get(int(number))
            if known is None or created_s(pod) >= created_s(known):
                newest[int(number)] = pod
        return tuple(newest[number] for number in sorted(newest))

    def replicas_of(self, job: KubeObject) -> int:
        """See `JobKind`."""
        return int((job.get("spec") or {}).get("completions") or 1)

    def ending_of(self, job: KubeObject) -> Ending | None:
        """See `JobKind`; what only foretells an end (FailureTarget, SuccessCriteriaMet) is none."""
        conditions = conditions_of(job)
        for kind in ("Complete", "Failed"):
            if condition := conditions.get(kind):
                return Ending(
                    succeeded=kind == "Complete", ended_s=ended_at(job, condition), message=condition.message
                )
        return None

    def is_noticed(self, job: KubeObject) -> bool:
        """See `JobKind`; a running job has no condition, and a start time once it was looked at."""
        return super().is_noticed(job) or bool((job.get("status") or {}).get("startTime"))

    def trim_spec(self, spec: KubeObject) -> KubeObject:
        """See `JobKind`."""
        return {key: spec[key] for key in ("completions", "suspend") if key in spec}

    def check_playable(self, job: KubeObject, refuse: Refuse) -> None:
        """See `JobKind`."""
        spec = job["spec"]
        refuse_unknown(spec, _SPEC, "spec", refuse)
        if spec.get("completionMode") != "Indexed":
            refuse("spec.completionMode", "Indexed", spec.get("completionMode"))
        if spec.get("parallelism") != spec.get("completions"):
            refuse("spec.parallelism", f"{spec.get('completions')}, as completions", spec.get("parallelism"))

    def is_retried(self, exit_code: int) -> bool:
        """See `JobKind`; by the policy of the template."""
        return exit_code in _RETRIED_EXITS

    def labels_of_pod(self, job: str, node: int) -> Mapping[str, str]:
        """See `JobKind`."""
        return {self.job_label: job, self.index_label: str(node)}

    def variables_of_pod(
        self, job: str, node: int, *, replicas: int, ports: Mapping[str, int]
    ) -> list[KubeObject]:
        """See `JobKind`."""
        del job, replicas, ports
        return [{"name": "JOB_COMPLETION_INDEX", "value": str(node)}]
