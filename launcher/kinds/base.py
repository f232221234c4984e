"""What is asked of a kind of job object.

A job of ours is always the same: equal pods of one template, numbered from 0, each with a node process,
which find node 0 by name. What differs between PaddleJob, Job, JobSet and TrainJob is the envelope around
that template and the words of its controller. `JobKind` is that difference, and all of it; who renders,
sends, reads, explains or plays a job has one in hand and asks it. To add a kind is a module with a
subclass, a template in `k8s/templates`, a schema in `k8s/crds` and a line in `registry`.

The questions, in the order in which a job meets them:

1. *Planning*: how long a name may be, by which name pods reach node 0, what of `Launch` the kind cannot do.
2. *Rendering*: which template wraps the pods, what the trainer's container is called, which field tells a
   pod its number; and back again, which key of `Launch` a field of the object came from.
3. *Sending*: the resource, what is made beside the object and goes with it, what must be allowed for it,
   which controller has to be there.
4. *Reading*: the pods of an object, each one's number, and what the controller's conditions mean.
   Conditions are the only thing that kinds name differently for the same fact, so they are asked for as
   facts (`ending_of`, `stopped_of`, `restarting_of`). Where pods themselves tell,
   `launcher.backends.kubernetes` reads these, for all kinds alike.
5. *Steering*: the merge patches that suspend and resume.
6. *Playing* (docker and local): which parts of the object are understood, and what the controller adds to a
   pod.

Pods of some kinds have random names and are several to a number, after restarts: who needs a pod asks
`pods_of`, which gives the present one of each number, and identifies it by number and uid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from launcher.names import MIN_NODES, PROGRESS, QUEUE_LABEL, RUN_ID_LABEL, SUBMITTED_BY, KindName
from launcher.objects import (
    Condition,
    KubeObject,
    Resource,
    conditions_of,
    queue_of,
    uid_of,
    unix_time,
)

CANCELLED_ANNOTATION = "ftlaunch.io/cancelled"
FieldPath: TypeAlias = tuple[str | int, ...]
Refuse: TypeAlias = Callable[[str, str, object], None]
"""Takes where in the object, what was expected there, and what was found."""
_TRIMMED = (
    "name", "namespace", "uid", "labels", "annotations", "creationTimestamp", "deletionTimestamp",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Controller:
    """What has to run in a cluster before objects of a kind come to anything.

    Attributes:
        title: What people call it, such as `training operator`.
        deployment: Name of its deployment, in whichever namespace.
        check: What `ftlaunch doctor` calls it, one word.
        install: How an administrator installs it, a command.
    """

    title: str
    deployment: str
    check: str
    install: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """Verbs that a user needs on a resource; `resource` may hold a subresource, `pods/log`."""

    group: str
    resource: str
    verbs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How an object has ended, for good.

    Attributes:
        ended_s: Unix time, or None where the controller wrote none.
        message: Its words.
    """

    succeeded: bool
    ended_s: float | None
    message: str


class JobKind(ABC):
    """A kind of job object. Stateless: one instance a kind.

    Attributes:
        name: As `Launch.api` and the records of runs have it.
        resource: Of the object.
        companions: Resources of the objects beside it, which go with it, in the order in which they are made:
            after the ConfigMap, before the job. Each is named as the job.
        controller: What must run for it; None where Kubernetes itself does it.
        builds_on: Other kinds that its controller makes, whose controllers must run too.
        template: File in `k8s/templates` that renders the object.
        pods_path: Of the pod template in the object, or in the last companion where `pods_beside` is set.
        pods_beside: Whether it is the last companion that holds the pod template.
        suspend_path: Of the field that asks for no pods.
        container: Name of the trainer's container.
        success_condition: Condition of a job that has succeeded; one that has failed is Failed in each kind.
        job_label: Label of pods whose value is the object's name.
        index_label: Label of pods whose value is the node's number.
        max_name: Longest name of an object, in characters, such that names made from it stay valid.
        refused_alone: Words of a webhook that refuses the object until its companions are there, which they
            are not in a dry run; empty where none does.
        goes_first: Whether the object is deleted before what belongs to it, without which nobody could take
            the finalizer off it that waits for that.
        grants: What a user needs on the object itself, on its companions, and on what is read of it.
        cannot: Key of `Launch` -> why the kind cannot do it.
        keys: Field of the object -> key of `Launch` that it was made from, the pod template aside.
    """

    name: ClassVar[KindName]
    resource: ClassVar[Resource]
    companions: ClassVar[tuple[Resource, ...]] = ()
    controller: ClassVar[Controller | None] = None
    builds_on: ClassVar[tuple[KindName, ...]] = ()
    template: ClassVar[str]
    pods_path: ClassVar[FieldPath]
    pods_beside: ClassVar[bool] = False
    suspend_path: ClassVar[tuple[str, ...]]
    container: ClassVar[str]
    success_condition: ClassVar[str]
    job_label: ClassVar[str]
    index_label: ClassVar[str]
    max_name: ClassVar[int]
    refused_alone: ClassVar[str] = ""
    goes_first: ClassVar[bool] = False
    grants: ClassVar[tuple[Grant, ...]]
    cannot: ClassVar[Mapping[tuple[str, ...], str]] = {}
    keys: ClassVar[Mapping[FieldPath, tuple[str, ...]]] = {}

    # Planning and rendering

    @abstractmethod
    def coordinator_host(self, job: str) -> str:
        """Return the name by which a job's pods reach node 0, ready or not."""

    @property
    def pods_field(self) -> str:
        """`pods_path` as Kubernetes writes it, such as `spec.replicatedJobs[0].template.spec.template`."""
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.pods_path)
        return text.removeprefix(".")

    @property
    def node_field(self) -> str:
        """Field of a pod, as a `fieldRef` names it, that holds the node's number."""
        return f"metadata.labels['{self.index_label}']"

    def pod_fields(self, job: str) -> Mapping[str, object]:
        """Return fields of the pods' spec that the kind needs beside ours, as plain data."""
        del job
        return {}

    def max_name_of(self, nodes: int) -> int:
        """Return the longest name of an object with so many pods."""
        del nodes
        return self.max_name

    def complete_path(self, path: FieldPath) -> FieldPath:
        """Put into a field's path what this kind's webhook leaves out of it."""
        return path

    # Sending

    @property
    def kueue_framework(self) -> str:
        """What Kueue's setting `integrations.frameworks` calls the kind."""
        return f"{self.resource.group}/{self.resource.kind.lower()}"

    def probe(self, name: str) -> KubeObject | None:
        """Return an object that the schema admits and the controller's webhook refuses; None without one."""
        del name
        return None

    @property
    def is_built_in(self) -> bool:
        """Whether every cluster serves it and looks after it."""
        return self.controller is None

    @property
    def title(self) -> str:
        """What people call an object, such as `PaddleJob of kubeflow.org/v1`."""
        return f"{self.resource.kind} of {self.resource.api_version}"

    def sample(self, name: str, *, labels: Mapping[str, str]) -> KubeObject | None:
        """Return the smallest object that a server takes, to try out who admits it; None where none shows."""
        del name, labels
        return None

    # Reading

    def pod_selector(self, job: str) -> str:
        """Return the label selector of a job's pods."""
        return f"{self.job_label}={job}"

    @abstractmethod
    def pod_name(self, job: str, node: int) -> str | None:
        """Return the name of a node's pod; None where the controller draws names, and pods must be listed."""

    @abstractmethod
    def is_name_of(self, name: str, *, job: str) -> bool:
        """Say whether an object of this name is the job or was made for it, as its events name it."""

    @abstractmethod
    def pods_of(self, job: KubeObject, pods: Iterable[KubeObject]) -> tuple[KubeObject, ...]:
        """Return the present pod of each number of this very job, by number; not those of a namesake."""

    def earlier_of(self, job: KubeObject, pods: Iterable[KubeObject]) -> Mapping[int, tuple[KubeObject, ...]]:
        """Return the pods before the present one of each number that are still there, oldest first."""
        del job, pods
        return {}

    def group_pods(
        self, jobs: Sequence[KubeObject], pods: Iterable[KubeObject]
    ) -> Mapping[str, tuple[KubeObject, ...]]:
        """Return the pods of many jobs, each job's as `pods_of` does, by the uid of the job."""
        by_run: dict[str, list[KubeObject]] = {}
        for pod in pods:
            by_run.setdefault((pod["metadata"].get("labels") or {}).get(RUN_ID_LABEL, ""), []).append(pod)
        return {
            uid_of(job): self.pods_of(
                job, by_run.get((job["metadata"].get("labels") or {}).get(RUN_ID_LABEL, ""), ())
            )
            for job in jobs
        }

    def pod_template_of(self, job: KubeObject, beside: Sequence[KubeObject] = ()) -> KubeObject:
        """Return the pod template: the very part of the object, which may be changed.

        Args:
            job: The object.
            beside: Its companions.

        Raises:
            LookupError: It is not there; a companion may be gone.
        """
        found: Any = beside[-1] if self.pods_beside else job
        for part in self.pods_path:
            found = found[part]
        template: KubeObject = found
        return template

    def inner_job_of(self, job: KubeObject, beside: Sequence[KubeObject] = ()) -> KubeObject | None:
        """Return the Job that the controller makes of an object, as far as it says it; None without one.

        The controllers take what the Job's own checks refuse, and then never make it: it is tried out before.
        """
        del job, beside
        return None

    def inner_job_name(self, job: str) -> str | None:
        """Return the name of the Job that the controller makes; None without one."""
        del job
        return None

    @abstractmethod
    def replicas_of(self, job: KubeObject) -> int:
        """Return how many pods a job is to have."""

    def needed_of(self, job: KubeObject) -> int:
        """Return with how many pods a job trains: those that it is to have, or fewer where it may."""
        said = str((job["metadata"].get("annotations") or {}).get(MIN_NODES, ""))
        return int(said) if said.isascii() and said.isdigit() else self.replicas_of(job)

    def is_suspended(self, job: KubeObject) -> bool:
        """Say whether the job is asked to have no pods."""
        found: object = job
        for part in self.suspend_path:
            found = found.get(part) if isinstance(found, dict) else None
        return bool(found)

    def is_queued(self, job: KubeObject) -> bool:
        """Say whether a queue of Kueue decides when the job has pods; it does so through `suspend`."""
        return self.is_suspended(job) and bool(queue_of(job))

    def is_cancelled(self, job: KubeObject) -> bool:
        """Say whether it was us who suspended the job, for good."""
        return self.is_suspended(job) and CANCELLED_ANNOTATION in (job["metadata"].get("annotations") or {})

    def ending_of(self, job: KubeObject) -> Ending | None:
        """Return how the job has ended; None while it has not.

        What only foretells an end (a Job's FailureTarget, SuccessCriteriaMet) is none.
        """
        conditions = conditions_of(job)
        for name in (self.success_condition, "Failed"):
            if condition := conditions.get(name):
                return Ending(
                    succeeded=name == self.success_condition, ended_s=ended_at(job, condition),
                    message=condition.message,
                )  # fmt: skip
        return None

    def stopped_of(self, job: KubeObject) -> Condition | None:
        """Return since when the controller has taken note of `suspend`; None before that."""
        return conditions_of(job).get("Suspended")

    def restarting_of(self, job: KubeObject) -> Condition | None:
        """Return the controller's note that a pod is made again; None where it writes none."""
        del job
        return None

    @property
    def maker(self) -> str:
        """What people call that which makes the pods."""
        return "its controller"

    def free_lost_pod(self, *, pod: str, host: str, namespace: str) -> str:
        """Return the command that has a pod made again whose node is off for good."""
        del host
        return f"kubectl -n {namespace} delete pod {pod} --force --grace-period=0"

    def is_noticed(self, job: KubeObject) -> bool:
        """Say whether a controller has looked at the job, as far as can be seen."""
        return bool((job.get("status") or {}).get("conditions"))

    def late_deadline_of(self, job: KubeObject) -> float | None:
        """Return a deadline, in seconds from the start, that the controller may notice late; None without."""
        del job
        return None

    def trim(self, job: KubeObject) -> KubeObject:
        """Keep of a job what says how it stands, and not what its pods are made of: there may be many."""
        told = (CANCELLED_ANNOTATION, SUBMITTED_BY, PROGRESS)
        metadata = {key: job["metadata"][key] for key in _TRIMMED if key in job["metadata"]}
        for part, keys in (("labels", (RUN_ID_LABEL, QUEUE_LABEL)), ("annotations", told)):
            said = metadata.get(part) or {}
            metadata[part] = {key: said[key] for key in keys if key in said}
        return {"metadata": metadata, "spec": self.trim_spec(job["spec"]), "status": job.get("status") or {}}

    @abstractmethod
    def trim_spec(self, spec: KubeObject) -> KubeObject:
        """Keep of a spec what `replicas_of` and `is_suspended` read."""

    # Steering

    def suspend_patch(self, *, suspend: bool) -> KubeObject:
        """Return the merge patch of an object that stops its pods, or lets it have pods again."""
        patch: object = suspend
        for part in reversed(self.suspend_path):
            patch = {part: patch}
        assert isinstance(patch, dict)
        return patch

    # Playing

    @abstractmethod
    def check_playable(self, job: KubeObject, refuse: Refuse) -> None:
        """Refuse every part of an object, its pod template aside, that docker and local could not honour."""

    @abstractmethod
    def is_retried(self, exit_code: int | None) -> bool:
        """Say whether the controller makes a pod again whose trainer ended so; else the job has failed.

        None is of a pod that left no exit code: it never started, or its node is gone.
        """

    @abstractmethod
    def labels_of_pod(self, job: str, node: int) -> Mapping[str, str]:
        """Return the labels that the controller adds to a pod, or sets over the template's."""

    def variables_of_pod(
        self, job: str, node: int, *, replicas: int, ports: Mapping[str, int]
    ) -> list[KubeObject]:
        """Return the variables that the controller appends to a container's own, and so over them.

        Args:
            job: Its name.
            node: The pod's number.
            replicas: Pods of the job.
            ports: Of the container, by name.
        """
        del job, node, replicas, ports
        return []


def refuse_unknown(mapping: KubeObject, known: Set[str], at: str, refuse: Refuse) -> None:
    """Refuse every key that is not known; `at` is where the mapping lies in the object."""
    for key in sorted(mapping.keys() - known):
        refuse(f"{at}.{key}", "no such field", mapping[key])


def ended_at(job: KubeObject, condition: Condition) -> float | None:
    """Return when a job ended: by its own field, which a failed one may lack, else by its condition."""
    return unix_time((job.get("status") or {}).get("completionTime")) or condition.since_s
