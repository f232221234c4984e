"""Situations of jobs that are a Job inside: as a Job, a JobSet or a TrainJob. As `made`, which takes them in.

Words are those of Kubernetes v1.34.7, JobSet v0.12.0 and Kubeflow Trainer v2.3.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from launcher.kinds.base import JobKind
from launcher.kinds.registry import JOB_SET, PLAIN_JOB, TRAIN_JOB
from tests.launcher.why.situations import (
    JOB,
    NAMESPACE,
    UID,
    Item,
    clock,
    ended,
    event,
    node,
    runs,
    snapshot,
    template,
)

RUN_ID = "0" * 32
QUEUE: Item = {"metadata": {"name": "team-a", "namespace": NAMESPACE}, "spec": {"clusterQueue": "team"}}


def job_of(
    kind: JobKind, *conditions: str, age_s: float = 120, queue: str = "", suspend: bool = False
) -> Item:
    """Return a job of two pods with these conditions, such as `Failed FailedJobs: message`."""
    labels = {"ftlaunch.io/run-id": RUN_ID} | ({"kueue.x-k8s.io/queue-name": queue} if queue else {})
    listed = [
        {
            "type": text.split()[0], "status": "True", "reason": text.partition(":")[0].split()[1],
            "message": text.partition(": ")[2], "lastTransitionTime": clock(age_s / 2),
        }
        for text in conditions
    ]  # fmt: skip
    spec: Any = {"completions": 2, "template": {"spec": pods_of(kind)}}
    if kind is JOB_SET:
        spec = {"replicatedJobs": [{"name": "node", "replicas": 1, "template": {"spec": spec}}]}
    if kind is TRAIN_JOB:
        spec = {"runtimeRef": {"kind": "TrainingRuntime", "name": JOB}, "trainer": {"numNodes": 2}}
    return {
        "apiVersion": kind.resource.api_version, "kind": kind.resource.kind,
        "metadata": {
            "name": JOB, "namespace": NAMESPACE, "uid": UID, "creationTimestamp": clock(age_s),
            "labels": labels,
        },
        "spec": {**spec, "suspend": suspend}, "status": {"conditions": listed},
    }  # fmt: skip


def pods_of(kind: JobKind) -> Item:
    spec = template()
    spec["containers"][0]["name"] = kind.container
    return spec


def of_kind(item: Item, kind: JobKind, number: int, suffix: str = "x7k2p") -> Item:
    """Turn a pod of a PaddleJob into one of another kind."""
    inner = kind.inner_job_name(JOB) or JOB
    metadata = item["metadata"]
    metadata["name"] = f"{inner}-{number}-{suffix}"
    metadata["labels"] = {
        **kind.labels_of_pod(JOB, number), "ftlaunch.io/run-id": RUN_ID,
        "jobset.sigs.k8s.io/jobset-uid": UID,
    }  # fmt: skip
    for container in item["status"].get("containerStatuses", ()):
        container["name"] = kind.container
    item["spec"]["containers"] = pods_of(kind)["containers"]
    return item


def inner(kind: JobKind, *conditions: str) -> Item:
    """Return the Job inside, as the controller has made it."""
    made = job_of(PLAIN_JOB, *conditions)
    made["metadata"] |= {"name": kind.inner_job_name(JOB), "uid": "inner-uid"}
    return made


def runtime() -> Item:
    """Return the TrainingRuntime of a TrainJob."""
    return {
        "metadata": {"name": JOB, "namespace": NAMESPACE, "uid": "runtime-uid"},
        "spec": {"template": {"spec": job_of(JOB_SET)["spec"]}},
    }


def other_kinds() -> Iterator[tuple[str, str, str, Item]]:
    """Yield name, what it is, the code, the snapshot."""
    for kind in (PLAIN_JOB, JOB_SET, TRAIN_JOB):
        parts: Item = {"beside": [runtime()]} if kind is TRAIN_JOB else {}
        if kind is not PLAIN_JOB:
            parts["inner_jobs"] = [inner(kind)]
        yield from _of_every_kind(kind, parts)
    yield (
        "jobset-refused",
        "JobSet took what its Job refuses",
        "job-refused",
        snapshot(
            job_of(JOB_SET),
            inner_jobs=[],
            events=[
                event(
                    job_of(JOB_SET), "JobCreationFailed",
                    'job creation failed with error: Job.batch "flowers-node-0" is invalid: '
                    'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
                    kind="JobSet",
                )
            ],
        ),
    )  # fmt: skip
    refusal = event(
        job_of(JOB_SET), "JobCreationFailed",
        'job "flowers-node-0" creation failed with error: Job.batch "flowers-node-0" is invalid: '
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
        kind="JobSet",
    )  # fmt: skip
    refusal["involvedObject"]["uid"] = "of-the-jobset"
    yield (
        "trainjob-refused",
        "the Job of its JobSet is refused",
        "job-refused",
        snapshot(job_of(TRAIN_JOB), beside=[runtime()], inner_jobs=[], events=[refusal]),
    )
    yield (
        "jobset-deadline",
        "the Job inside had a deadline; its pods are gone",
        "failed",
        snapshot(
            job_of(
                JOB_SET,
                "Failed FailedJobs: jobset failed due to one or more job failures (first failed job:"
                " flowers-node-0)",
            ),
            inner_jobs=[
                inner(JOB_SET, "Failed DeadlineExceeded: Job was active longer than specified deadline")
            ],
        ),
    )
    for name, pods in (("trainjob-without-runtime", [runs(0), runs(1)]), ("trainjob-cannot-start", [])):
        yield (
            name,
            "its runtime was deleted",
            "runtime-missing",
            snapshot(
                job_of(TRAIN_JOB),
                *(of_kind(item, TRAIN_JOB, number) for number, item in enumerate(pods)),
                beside=[],
                inner_jobs=[inner(TRAIN_JOB)],
            ),
        )


def _of_every_kind(kind: JobKind, parts: Item) -> Iterator[tuple[str, str, str, Item]]:
    name = kind.name
    owner = parts.get("inner_jobs", [job_of(kind)])[0]
    yield (
        f"{name}-pod-security",
        "the Job controller may not make the pods",
        "pod-security",
        snapshot(
            job_of(kind),
            events=[
                event(
                    owner, "FailedCreate",
                    'Error creating: pods "flowers-1-x7k2p" is forbidden: violates PodSecurity '
                    '"restricted:latest": unrestricted capabilities (container "node" must not include '
                    '"IPC_LOCK" in securityContext.capabilities.add)',
                    kind="Job",
                )
            ],
            **parts,
        ),
    )  # fmt: skip
    lost = of_kind(runs(1, ready=False, host="g2"), kind, 1)
    yield (
        f"{name}-node-lost",
        "a node fell silent",
        "node-lost",
        snapshot(
            job_of(kind), of_kind(runs(0), kind, 0), lost, nodes=[node("g1"), node("g2", ready=False)],
            placed=[], **parts,
        ),
    )  # fmt: skip
    yield (
        f"{name}-delete-stuck",
        "a pod of a silent node should be gone",
        "delete-stuck",
        snapshot(
            job_of(kind), of_kind(runs(0), kind, 0),
            of_kind(runs(1, host="g2", deleted_s=300), kind, 1), nodes=[node("g1"), node("g2")], placed=[],
            **parts,
        ),
    )  # fmt: skip
    yield (
        f"{name}-fails",
        "one node has failed, and its peer goes on",
        "data-refused",
        snapshot(
            job_of(kind), of_kind(runs(0), kind, 0),
            of_kind(ended(3, "expected images, got none", index=1, own=3), kind, 1), **parts,
        ),
    )  # fmt: skip
    yield (
        f"{name}-again",
        "a pod that has saved is made again",
        "restarting",
        snapshot(
            job_of(kind), of_kind(runs(0), kind, 0),
            of_kind(ended(143, "stopped after saving", index=1, own=143), kind, 1), **parts,
        ),
    )  # fmt: skip
    yield (
        f"{name}-again-refused",
        "a pod that has saved may not be made again",
        "webhook-unreachable",
        snapshot(
            job_of(kind), of_kind(runs(0), kind, 0),
            of_kind(ended(143, "stopped after saving", index=1, own=143), kind, 1),
            events=[
                event(
                    owner, "FailedCreate",
                    'Error creating: Internal error occurred: failed calling webhook "mpod.kb.io": failed to '
                    "call webhook: dial tcp 10.99.0.1:9444: connect: connection refused",
                    kind="Job", age_s=5,
                )
            ],
            **parts,
        ),
    )  # fmt: skip
    yield (
        f"{name}-suspended",
        "somebody has suspended it",
        "suspended",
        snapshot(job_of(kind, "Suspended Suspended: suspended", suspend=True), **parts),
    )
    yield (
        f"{name}-suspended-later",
        "somebody has suspended it while it ran, where there are queues of which it names none",
        "suspended",
        snapshot(job_of(kind, "Suspended Suspended: suspended", suspend=True), **parts, local_queues=[QUEUE]),
    )
    yield (
        f"{name}-unnamed",
        "Kueue has suspended it from the beginning, since it names no queue",
        "queue-unnamed",
        snapshot(
            job_of(kind, "Suspended Suspended: suspended", age_s=20, suspend=True),
            **parts,
            local_queues=[QUEUE],
        ),
    )
    yield (
        f"{name}-asleep",
        "nobody has looked at it",
        "no-controller",
        snapshot(job_of(kind, age_s=300) | {"status": {}}, **{**parts, "inner_jobs": []}),
    )
