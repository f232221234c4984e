"""Asks a cluster what tells when a job of a queue starts: queues, what waits and runs in them, and how far.

A bounded number of requests: three lists of Kueue's (four where a queue has a cohort), of all namespaces
where they may be seen and else of the job's, one of pods, one of each kind of job that holds quota there, and
the ends of the logs of those running jobs of these queues that no annotation tells the pace of, at most
`MAX_LOGS`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from launcher import objects
from launcher.backends.kubernetes import workloads
from launcher.backends.kubernetes.progress import PROGRESS_LINES, last_progress
from launcher.backends.kubernetes.workloads import reduce_demand
from launcher.errors import LaunchError
from launcher.kinds.base import JobKind
from launcher.kinds.pods import container_of
from launcher.kinds.registry import KINDS
from launcher.kube.api import Keep, KubeApi, PodLogs, whole
from launcher.names import PROGRESS, RUN_ID_LABEL
from launcher.objects import PODS, KubeObject, Resource
from launcher.why.forecast import Estimate
from launcher.why.gather import Lister
from launcher.why.queue_model import (
    JobProgress,
    QueueView,
    estimate_of,
    owner_of,
    read_cohort,
    remaining_s,
)
from launcher.why.snapshot import Objects
from trainer.protocol.codec import FormatError
from trainer.protocol.progress import MARK, Progress, parse_progress

MAX_LOGS = 24
_MAX_WORKLOADS, _MAX_JOBS, _MAX_PODS = 5000, 5000, 20_000
_THREADS = 8
_Name = tuple[str, str]


def fetch_estimate(
    api: KubeApi, logs: PodLogs, job: KubeObject, *, kind: JobKind, clock: Callable[[], float] = time.time
) -> Estimate | None:
    """Say when a job starts that a queue of Kueue holds; None for another job.

    What may not be seen makes the estimate one that cannot be told, and is no error.

    Args:
        api: The cluster.
        logs: Of its pods.
        job: As the API gave it.
        kind: Of the job.
        clock: Gives Unix time.
    """
    if not kind.is_queued(job) or kind.is_cancelled(job):
        return None
    return estimate_of(fetch_queues(api, logs, namespace=str(job["metadata"]["namespace"]), clock=clock), job)


def fetch_queues(
    api: KubeApi, logs: PodLogs, *, namespace: str, clock: Callable[[], float] = time.time
) -> QueueView:
    """Ask for queues, for what waits and runs in them, and for how far that is."""
    from concurrent.futures import ThreadPoolExecutor

    def everywhere(plural: str, keep: Keep = whole) -> Objects:
        for place in ("", namespace):
            found = Lister(api).list_kueue(plural, namespace=place, keep=keep, at_most=_MAX_WORKLOADS)
            if found is not None:
                return found
        return ()

    def list_ours(resource: Resource, *, at_most: int, keep: Keep) -> Objects:
        for place in ("", namespace):
            found = Lister(api).list(
                resource, namespace=place, labels=RUN_ID_LABEL, at_most=at_most, keep=keep
            )
            if found is not None:
                return found
        return ()

    def list_jobs(kind: JobKind) -> Objects:
        return list_ours(kind.resource, at_most=_MAX_JOBS, keep=_reduce_notes)

    with ThreadPoolExecutor(_THREADS) as pool:
        asked_workloads = pool.submit(everywhere, "workloads", reduce_demand)
        asked_locals = pool.submit(everywhere, "localqueues")
        asked_above = pool.submit(Lister(api).list_kueue, "clusterqueues", namespace="")
        asked_pods = pool.submit(list_ours, PODS, at_most=_MAX_PODS, keep=_reduce_first)
        above = asked_above.result()
        shared = any(read_cohort(item) for item in above or ())
        asked_cohorts = pool.submit(Lister(api).list_kueue, "cohorts", namespace="") if shared else None
        held = asked_workloads.result()
        admitted = [item for item in held if workloads.has_quota(item)]
        running = {_name_of(item) for item in admitted}
        noted = {_name_of_job(job): job for jobs in pool.map(list_jobs, _kinds_of(admitted)) for job in jobs}
        first = _newest_by_name(asked_pods.result())
        now_s = clock()
        reported = {
            name: _read_reported(first.get(name), noted.get(name))
            for name in sorted(running & (first.keys() | noted.keys()))
        }
        unheard = [
            name
            for name, said in reported.items()
            if said.began_s is not None and remaining_s(said, now_s) is None
        ]
        told = pool.map(lambda name: _read_log(logs, first[name]), unheard[:MAX_LOGS])
        for name, progress in zip(unheard, told, strict=False):
            if progress is not None:
                reported[name] = replace(reported[name], progress=progress)
        return QueueView(
            now_s=now_s,
            workloads=held,
            local_queues=asked_locals.result(),
            cluster_queues=above,
            cohorts=() if asked_cohorts is None else asked_cohorts.result(),
            reported=reported,
            ours=frozenset(first) | frozenset(noted),
        )


def _name_of(workload: KubeObject) -> _Name:
    return str(workload["metadata"].get("namespace", "")), owner_of(workload)


def _name_of_job(job: KubeObject) -> _Name:
    metadata = job["metadata"]
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))


def _kinds_of(admitted: Sequence[KubeObject]) -> list[JobKind]:
    """Return the kinds of our jobs that Workloads are of."""
    owners = {
        (owner.get("apiVersion"), owner.get("kind"))
        for item in admitted
        for owner in item["metadata"].get("ownerReferences") or ()
    }
    return [kind for kind in KINDS if (kind.resource.api_version, kind.resource.kind) in owners]


def _reduce_notes(job: KubeObject) -> KubeObject:
    """Keep of a job its name, and what its first node has written of its progress."""
    metadata = job["metadata"]
    kept = {key: metadata[key] for key in ("name", "namespace") if key in metadata}
    return {"metadata": {**kept, "annotations": _progress_note(metadata)}}


def _progress_note(metadata: KubeObject) -> dict[str, str]:
    notes = metadata.get("annotations") or {}
    return {PROGRESS: notes[PROGRESS]} if PROGRESS in notes else {}


def _reduce_first(pod: KubeObject) -> KubeObject:
    """Keep of a job's first pod where it is and what it says; of the others nothing."""
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    if not any(labels.get(kind.index_label) == "0" for kind in KINDS):
        return {"metadata": {}}
    return {
        "metadata": {
            "name": metadata.get("name"), "namespace": metadata.get("namespace"), "labels": labels,
            "creationTimestamp": metadata.get("creationTimestamp"),
            "annotations": _progress_note(metadata),
        },
        "status": {"containerStatuses": (pod.get("status") or {}).get("containerStatuses") or []},
    }  # fmt: skip


def _newest_by_name(pods: Objects) -> dict[_Name, KubeObject]:
    """Return the newest first pod of each job, by the names by which its labels call the job."""
    found: dict[_Name, KubeObject] = {}
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        for label in {kind.job_label for kind in KINDS} & labels.keys():
            name = (str(pod["metadata"].get("namespace", "")), str(labels[label]))
            if name not in found or objects.created_s(pod) >= objects.created_s(found[name]):
                found[name] = pod
    return found


def _read_reported(pod: KubeObject | None, job: KubeObject | None) -> JobProgress:
    """Read how far a job is, as its object says or else its first pod.

    What is written at a job stays there when its pods go. Of an earlier start it tells no pace of this one: a
    job that lost its quota for an hour would seem to have trained through it.
    """
    began_s: float | None = None
    if pod is not None:
        running = (container_of(pod).get("state") or {}).get("running") or {}
        began_s = objects.unix_time(running.get("startedAt"))
    progress = None if job is None else _parse_note(job)
    if progress is not None and began_s is not None and progress.time_s < began_s:
        progress = None
    if progress is None and pod is not None:
        progress = _parse_note(pod)
    return JobProgress(progress=progress, began_s=began_s)


def _parse_note(item: KubeObject) -> Progress | None:
    text = item["metadata"]["annotations"].get(PROGRESS)
    if text is None:
        return None
    try:
        return parse_progress(MARK + text.encode())
    except FormatError:
        return None


def _read_log(logs: PodLogs, pod: KubeObject) -> Progress | None:
    metadata = pod["metadata"]
    try:
        log = logs.read_pod_log(
            metadata["name"], namespace=metadata["namespace"], container=container_of(pod)["name"],
            tail_lines=PROGRESS_LINES,
        )  # fmt: skip
    except LaunchError:  # not allowed, or a node that does not answer: its progress is not known
        return None
    return last_progress(log)
