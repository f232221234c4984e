"""Everybody's jobs of ours, read from what a cluster has listed. Pure.

Other people's objects carry our label too, and anybody may put it on anything: what cannot be read as a job
is counted and left out, and never ends the command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from launcher import objects
from launcher.backends.gpu_time import GpuTime, add_up, holds_of
from launcher.backends.kubernetes.status import read_job, read_pod
from launcher.backends.states import JobState, JobStatus, PodState, PodStatus
from launcher.kinds.base import JobKind
from launcher.kinds.pods import node_of
from launcher.kinds.registry import KINDS
from launcher.names import PROGRESS, RUN_ID_LABEL, SUBMITTED_BY, is_run_id
from launcher.objects import KubeObject, requests_of
from launcher.quantity import is_gpu
from trainer.protocol.codec import FormatError
from trainer.protocol.progress import MARK, Progress, parse_progress

MAX_USER = 64
_UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError)
_POD_METADATA = (
    "name", "namespace", "uid", "ownerReferences", "creationTimestamp", "deletionTimestamp",
)  # fmt: skip
_POD_STATUS = ("phase", "reason", "message", "startTime", "conditions", "containerStatuses")
_CONTAINER = ("name", "state", "lastState", "restartCount")


@dataclass(frozen=True, kw_only=True, slots=True)
class TeamJob:
    """A job of somebody's.

    Attributes:
        status: How it stands; `progress` where an annotation has it.
        kind: Of the object, such as `PaddleJob`.
        user: Who has submitted it, by their own word; empty where that is not known.
        queue: Of Kueue, or empty.
        nodes: How many pods it is to have.
        gpus: Of each pod.
        gpu_time: What its pods have held so far.
    """

    status: JobStatus
    kind: str
    user: str
    queue: str
    nodes: int
    gpus: int
    gpu_time: GpuTime

    @property
    def gpus_wanted(self) -> int:
        """GPUs of all its pods."""
        return self.nodes * self.gpus

    @property
    def gpus_held(self) -> int:
        """GPUs that its pods hold now, also those that do not run yet."""
        return self.gpus * sum(map(is_holding, self.status.pods))


def is_holding(pod: PodStatus) -> bool:
    """Say whether a pod holds a node's room: it was given one, and has not ended."""
    living = pod.state in (PodState.PENDING, PodState.RUNNING, PodState.UNKNOWN)
    return living and bool(pod.host or pod.bound_s or pod.started_s)


def count_gpus(asked: Mapping[str, Decimal]) -> int:
    """Return how many GPUs, or devices like them, are among amounts by name of resource."""
    return int(sum(amount for name, amount in asked.items() if is_gpu(name)))


def reduce_job(job: KubeObject, *, kind: JobKind) -> KubeObject:
    """Keep of a job what is read here, and in `gpus` what each of its pods asks for."""
    try:
        gpus: int | None = count_gpus(requests_of(kind.pod_template_of(job)["spec"]))
    except _UNREADABLE:  # a kind may have its pods described elsewhere
        gpus = None
    try:
        kept = kind.trim(job)
    except _UNREADABLE:
        return {"metadata": {}}
    kept["metadata"]["ownerReferences"] = job["metadata"].get("ownerReferences") or []
    return {**kept, "gpus": gpus}


def reduce_team_pod(pod: KubeObject) -> KubeObject:
    """Keep of a pod what is read here, and in `gpus` what it asks for; whole ones are ten times as large."""
    try:
        metadata, status = pod["metadata"], pod.get("status") or {}
        kept = {key: metadata[key] for key in _POD_METADATA if key in metadata}
        labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
        kept["labels"] = dict(labels)  # kinds know their pods by labels of their own, a JobSet by its uid
        if PROGRESS in notes:
            kept["annotations"] = {PROGRESS: notes[PROGRESS]}
        told = {key: status[key] for key in _POD_STATUS if key in status}
        told["containerStatuses"] = [
            {key: item[key] for key in _CONTAINER if key in item}
            for item in told.get("containerStatuses") or ()
        ]
        gpus = count_gpus(requests_of(pod["spec"]))
        return {"metadata": kept, "spec": {"nodeName": objects.host_of(pod)}, "status": told, "gpus": gpus}
    except _UNREADABLE:
        return {"metadata": {}}


def read_team_jobs(
    listed: Sequence[tuple[JobKind, Sequence[KubeObject]]], pods: Sequence[KubeObject], *, now_s: float
) -> tuple[tuple[TeamJob, ...], int]:
    """Read all jobs, newest first, and count those objects that are none that can be read.

    Args:
        listed: Reduced jobs of each kind. An object that another job's owns is a part of that.
        pods: Reduced pods of all of them; older ones of a number too.
        now_s: Unix time.
    """
    by_run: dict[str, list[KubeObject]] = {}
    for pod in pods:
        by_run.setdefault(((pod["metadata"].get("labels")) or {}).get(RUN_ID_LABEL, ""), []).append(pod)
    found, unreadable = [], 0
    for kind, jobs in listed:
        for job in jobs:
            if _is_part(job):
                continue
            try:
                found.append(_read(job, kind, by_run.get(objects.run_id_of(job), []), now_s=now_s))
            except _UNREADABLE:
                unreadable += 1
    found.sort(
        key=lambda item: (-item.status.created_s, item.status.handle.namespace, item.status.handle.job)
    )
    return tuple(found), unreadable


def _is_part(job: KubeObject) -> bool:
    """Say whether a job is what a controller has made for another job of ours, as a JobSet's Jobs."""
    owners = job["metadata"].get("ownerReferences") or ()
    ours = {(kind.resource.api_version, kind.resource.kind) for kind in KINDS}
    return any((owner.get("apiVersion"), owner.get("kind")) in ours for owner in owners)


def _read(job: KubeObject, kind: JobKind, pods: Sequence[KubeObject], *, now_s: float) -> TeamJob:
    if not is_run_id(objects.run_id_of(job)):
        raise ValueError(f"expected a run id, got {objects.run_id_of(job)!r}")
    own = kind.pods_of(job, pods)
    progress = _progress_of(job, own)
    status = read_job(job, own, kind=kind, restarts={}, progress=progress)
    gpus = job.get("gpus")
    if gpus is None:
        gpus = max((int(pod.get("gpus") or 0) for pod in own), default=0)
    holds = holds_of([read_pod(pod, restarts=0) for pod in pods], ended_s=status.ended_s)
    queue = objects.queue_of(job)
    return TeamJob(
        status=status,
        kind=kind.resource.kind,
        user=_user_of(job),
        queue=queue,
        nodes=kind.replicas_of(job),
        gpus=gpus,
        gpu_time=add_up(holds, status, gpus=gpus, now_s=now_s, is_queued=bool(queue)),
    )


def _user_of(job: KubeObject) -> str:
    said = (job["metadata"].get("annotations") or {}).get(SUBMITTED_BY) or ""
    return "".join(sign for sign in said if sign.isprintable())[:MAX_USER]


def _progress_of(job: KubeObject, pods: Sequence[KubeObject]) -> Progress | None:
    """Return what an annotation of node 0's pod or of the job says, where it is readable."""
    first = [pod for pod in pods if node_of(pod) == 0]
    for item in (*first, job):
        text = (item["metadata"].get("annotations") or {}).get(PROGRESS)
        if text is None:
            continue
        try:
            return parse_progress(MARK + text.encode())
        except FormatError:
            continue
    return None


def with_progress(job: TeamJob, progress: Progress | None) -> TeamJob:
    """Return a job with what its log says of its progress."""
    return replace(job, status=replace(job.status, progress=progress))


def is_running(job: TeamJob) -> bool:
    """Say whether a job has pods that may train."""
    return job.status.state in (JobState.RUNNING, JobState.RESTARTING)
