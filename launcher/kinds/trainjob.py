"""TrainJob of trainer.kubeflow.org/v1alpha1, Kubeflow Trainer v2: a JobSet by way of a runtime.

The pods stand in a TrainingRuntime of the job's own, made before it and named as it is, because what a
TrainJob itself can say of pods changed with every release. Sources: kubeflow/trainer v2.3.0,
pkg/apis/trainer/v1alpha1, pkg/webhooks and pkg/runtime. Observed with v2.0.0 and v2.3.0:

- Its webhook refuses a TrainJob whose runtime is not there, so that a dry run of it is refused as well.
- A runtime needs a container `node` in the group with the label of the trainer's step.
- Once its runtime is gone, v2.3 refuses every change of the TrainJob, `suspend` with it, and so does the
  garbage collector's, who would take the finalizer of a foreground deletion off: hence `goes_first`. The
  runtime belongs to the TrainJob by an ownerReference, and goes after it.
- While it runs it has no condition; from v2.1 on `jobsStatus` mirrors the JobSet. `kubectl get` prints the
  type of the last condition, so that a resumed job is shown there as Suspended.
- Nothing deletes a finished one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from launcher.kinds.base import Controller, FieldPath, Grant, Refuse, refuse_unknown
from launcher.kinds.job import NO_GROUP
from launcher.kinds.jobset import JOB_PATH, JobSetKind, make_inner_job
from launcher.names import RUN_ID_LABEL, KindName
from launcher.objects import (
    JOBS,
    TRAIN_JOBS,
    TRAINING_RUNTIMES,
    KubeObject,
    Resource,
    run_id_of,
)

_SOURCE = "https://github.com/kubeflow/trainer.git/manifests/overlays/manager?ref=v2.3.0"


class TrainJob(JobSetKind):
    """A TrainJob, and its TrainingRuntime beside it."""

    name: ClassVar[KindName] = "trainjob"
    success_condition = "Complete"
    resource: ClassVar[Resource] = TRAIN_JOBS
    companions: ClassVar[tuple[Resource, ...]] = (TRAINING_RUNTIMES,)
    controller = Controller(
        title="Kubeflow Trainer", deployment="kubeflow-trainer-controller-manager", check="trainer",
        install=f'kubectl apply --server-side -k "{_SOURCE}"',
    )  # fmt: skip
    builds_on: ClassVar[tuple[KindName, ...]] = ("jobset",)
    template = "trainjob.yaml.j2"
    pods_path = ("spec", "template", *JOB_PATH, "spec", "template")
    pods_beside = True
    goes_first = True  # the finalizer of a foreground deletion could not be taken off without the runtime
    refused_alone = "must be created before the TrainJob"
    grants = (
        Grant(
            group=TRAIN_JOBS.group, resource=TRAIN_JOBS.plural,
            verbs=("create", "get", "list", "watch", "patch", "delete"),
        ),
        Grant(
            group=TRAINING_RUNTIMES.group, resource=TRAINING_RUNTIMES.plural,
            verbs=("create", "get", "patch", "delete"),
        ),
        Grant(group=JOBS.group, resource=JOBS.plural, verbs=("get",)),
    )  # fmt: skip
    cannot: ClassVar[Mapping[tuple[str, ...], str]] = {
        ("queue", "volcano"): NO_GROUP,
        ("keep_finished",): "nothing deletes a finished one; delete it with `ftlaunch delete`",
    }
    keys: ClassVar[Mapping[FieldPath, tuple[str, ...]]] = {("spec", "trainer", "numNodes"): ("nodes",)}

    def probe(self, name: str) -> KubeObject:
        """See `JobKind`: its runtime is not there."""
        return {
            "apiVersion": self.resource.api_version, "kind": self.resource.kind, "metadata": {"name": name},
            "spec": {"runtimeRef": {
                "apiGroup": TRAINING_RUNTIMES.group, "kind": TRAINING_RUNTIMES.kind, "name": name,
            }},
        }  # fmt: skip

    def is_own_pod(self, job: KubeObject, pod: KubeObject) -> bool:
        """See `IndexedJob`; the uids on a pod are the JobSet's and the Job's, and the run is ours."""
        return run_id_of(pod) == run_id_of(job) != ""

    def inner_job_of(self, job: KubeObject, beside: Sequence[KubeObject] = ()) -> KubeObject:
        """See `JobKind`."""
        found = beside[-1]["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]
        return make_inner_job(self, job, found)

    def replicas_of(self, job: KubeObject) -> int:
        """See `JobKind`; where it is not said it is the runtime's to say, of TrainJobs that others made."""
        return int(((job.get("spec") or {}).get("trainer") or {}).get("numNodes") or 1)

    def is_noticed(self, job: KubeObject) -> bool:
        """See `JobKind`."""
        return super().is_noticed(job) or bool((job.get("status") or {}).get("jobsStatus"))

    def trim_spec(self, spec: KubeObject) -> KubeObject:
        """See `JobKind`."""
        return {
            "suspend": bool(spec.get("suspend")), "trainer": {"numNodes": self.replicas_of({"spec": spec})}
        }  # fmt: skip

    def check_playable(self, job: KubeObject, refuse: Refuse) -> None:
        """See `JobKind`."""
        spec = job["spec"]
        refuse_unknown(spec, {"runtimeRef", "suspend", "trainer"}, "spec", refuse)
        refuse_unknown(spec.get("trainer") or {}, {"numNodes"}, "spec.trainer", refuse)
        label = (job["metadata"].get("labels") or {}).get(RUN_ID_LABEL)
        if (spec.get("runtimeRef") or {}).get("kind") != TRAINING_RUNTIMES.kind or not label:
            refuse("spec.runtimeRef", "a TrainingRuntime of the job's own", spec.get("runtimeRef"))
