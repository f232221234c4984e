"""Gathers a snapshot: a bounded number of requests, side by side, each only where some rule needs its answer.

What may not be looked at is left out and said; only the job itself must be readable.

There are two rounds. The first asks for the job, its pods and the namespace's warnings, which every answer
needs. What it shows decides the second: nodes and everybody's pods are megabytes on a large cluster and are
asked for only where a pod has no node, quotas only where pods are missing, and so on. A third request, for a
ClusterQueue, depends on the second round's answer. All of a round go out side by side, so that the command
takes as long as its slowest request, not as long as their sum.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from textwrap import shorten
from typing import Any

from launcher import objects
from launcher.backends.kubernetes.events import LOUD, WARNINGS
from launcher.backends.kubernetes.kueue import find_kind
from launcher.backends.kubernetes.pods import lost_pod
from launcher.backends.kubernetes.progress import PROGRESS_LINES
from launcher.backends.kubernetes.workloads import reduce_workload
from launcher.errors import LaunchError, NotFoundError
from launcher.kinds.base import JobKind
from launcher.kinds.pods import container_of, node_of
from launcher.kinds.registry import DEFAULT
from launcher.kube.api import Keep, KubeApi, PodLogs, whole
from launcher.kube.errors import AbsentError, DeniedError
from launcher.names import RUN_ID_LABEL
from launcher.objects import (
    CLAIMS,
    EVENTS,
    JOBS,
    LIMIT_RANGES,
    NODES,
    POD_GROUPS,
    PODS,
    QUOTAS,
    STORAGE_CLASSES,
    KubeObject,
    Resource,
)
from launcher.plan.handle import Handle
from launcher.why.queries import ended_of, is_pending, not_started, template_of, without_node
from launcher.why.rules.queueing import name_of_closed
from launcher.why.snapshot import Objects, Skipped, Snapshot, read_status, reduce_pod, trim

MAX_EVENTS, MAX_NODES, MAX_PODS, MAX_OTHERS = 1000, 5000, 10_000, 500
"""Of each kind. Where there are more pods, what is free is not counted."""
MAX_LOGS = 3
LOG_BYTES = 65_536
_THREADS = 6
_MAX_REASON = 200
_OF_ROOM = ("nodes", "pods", "storageclasses", "clusterqueues")
"""What k8s/rbac/capacity.yaml shows of the whole cluster."""
ALIVE = "status.phase!=Succeeded,status.phase!=Failed"

Query = Callable[[], Objects | None]


class Lister:
    """Lists objects that rules can do without, and keeps what could not be listed.

    Attributes:
        skipped: What could not be looked at.
    """

    def __init__(self, api: KubeApi) -> None:
        self.skipped: list[Skipped] = []
        self._api = api

    def list(
        self,
        resource: Resource,
        *,
        namespace: str,
        fields: str = "",
        labels: str = "",
        at_most: int = MAX_OTHERS,
        keep: Keep = whole,
    ) -> Objects | None:
        """Return objects, none of a kind that is not served, or None where they may not be seen."""
        try:
            return self._api.list(
                resource, namespace=namespace, fields=fields, labels=labels, at_most=at_most, keep=keep
            )
        except AbsentError:
            return ()
        except LaunchError as error:
            self.skipped.append(describe_skipped(resource, namespace=namespace, error=error))
            return None

    def one(self, resource: Resource, name: str, *, namespace: str) -> Objects | None:
        """Return the object of a name, none where there is none, or None where it may not be seen."""
        try:
            return (self._api.get(resource, name, namespace=namespace),)
        except AbsentError:
            return ()
        except LaunchError as error:
            self.skipped.append(describe_skipped(resource, namespace=namespace, error=error))
            return None

    def list_kueue(
        self, plural: str, *, namespace: str, fields: str = "", at_most: int = MAX_OTHERS, keep: Keep = whole
    ) -> Objects | None:
        """Return objects of Kueue, as `list` does."""
        try:
            kind = find_kind(self._api, plural)
        except LaunchError as error:
            self.skipped.append(
                Skipped(what=plural, reason=shorten(error.finding, width=_MAX_REASON, placeholder=" …"))
            )
            return None
        if kind is None:
            return ()
        return self.list(kind, namespace=namespace, fields=fields, at_most=at_most, keep=keep)


def describe_skipped(resource: Resource, *, namespace: str, error: LaunchError) -> Skipped:
    """Say which objects could not be looked at."""
    where = f"in {namespace}" if namespace else "of the cluster"
    is_of_room = not namespace and resource.plural in _OF_ROOM
    reason = shorten(error.finding, width=_MAX_REASON, placeholder=" …")
    if is_of_room and isinstance(error, DeniedError):
        reason = "not allowed; the optional k8s/rbac/capacity.yaml has the rule"
    return Skipped(what=f"{resource.plural} {where}", reason=reason, is_of_room=is_of_room)


def gather(
    api: KubeApi,
    logs: PodLogs,
    handle: Handle,
    *,
    kind: JobKind = DEFAULT,
    clock: Callable[[], float] = time.time,
) -> Snapshot:
    """Look at a job and at what is around it.

    Raises:
        NotFoundError: There is no such job of ours.
        UnreachableError: The cluster does not answer, or does not show the job.
    """
    from concurrent.futures import ThreadPoolExecutor  # here: a submit uses the rest of this module

    namespace, lister = handle.namespace, Lister(api)
    labels = kind.pod_selector(handle.job)
    with ThreadPoolExecutor(_THREADS) as pool:
        asked_job = pool.submit(api.get, kind.resource, handle.job, namespace=namespace)
        asked_pods = pool.submit(api.list, PODS, namespace=namespace, labels=labels)
        asked_events = pool.submit(
            lister.list, EVENTS, namespace=namespace, fields=WARNINGS, at_most=MAX_EVENTS
        )
        around = {name: pool.submit(query) for name, query in _parts_of(lister, handle, kind).items()}
        job = asked_job.result()
        if not objects.run_id_of(job):
            raise NotFoundError(
                where=handle, expected="a job of ours", got=f"one without the label {RUN_ID_LABEL}"
            )
        pods = kind.pods_of(job, asked_pods.result())
        parts: dict[str, Any] = {name: asked.result() for name, asked in around.items()}
        first = Snapshot(
            now_s=clock(), status=read_status(job, pods, {}, kind=kind), kind=kind, job=job, pods=pods,
            **parts,
        )  # fmt: skip
        asked_logs = {
            pod: pool.submit(
                _read_log, logs, pod, namespace=namespace, container=kind.container, previous=previous
            )
            for pod, previous in _pods_with_logs(pods)
        }
        more = {name: pool.submit(query) for name, query in _queries(lister, first).items()}
        texts = {pod: asked.result() for pod, asked in asked_logs.items()}
        found = {name: asked.result() for name, asked in more.items()}
    if name := name_of_closed(job, found.get("local_queues") or ()):
        found["cluster_queues"] = lister.list_kueue(
            "clusterqueues", namespace="", fields=f"metadata.name={name}"
        )
    # The same event comes from several queries; `_key` is its uid, and the last one read wins.
    asked = (asked_events.result(), found.pop("events", None), found.pop("unscheduled", None))
    events = [event for part in asked for event in part or ()]
    texts = {pod: text for pod, text in texts.items() if text}
    others: dict[str, Any] = dict(found)
    return replace(
        first,
        now_s=clock(),
        status=read_status(job, pods, texts, kind=kind),
        events=tuple({_key(event): event for event in events}.values()),
        logs=texts,
        skipped=tuple(dict.fromkeys(lister.skipped)),
        **others,
    )


def capacity_queries(lister: Lister) -> dict[str, Query]:
    """Return the questions about nodes and what stands on them."""

    def placed() -> Objects | None:
        pods = lister.list(PODS, namespace="", fields=ALIVE, at_most=MAX_PODS, keep=reduce_pod)
        if pods is not None and len(pods) >= MAX_PODS:
            reason = f"there are more than {MAX_PODS} pods"
            lister.skipped.append(Skipped(what="what is free on nodes", reason=reason))
            return None
        return None if pods is None else tuple(pod for pod in pods if objects.host_of(pod))

    return {
        "nodes": lambda: lister.list(NODES, namespace="", at_most=MAX_NODES, keep=trim),
        "placed": placed,
    }


def claim_queries(lister: Lister, namespace: str) -> dict[str, Query]:
    """Return the questions about claims."""
    return {
        "claims": lambda: lister.list(CLAIMS, namespace=namespace),
        "storage_classes": lambda: lister.list(STORAGE_CLASSES, namespace=""),
    }


def limit_queries(lister: Lister, namespace: str) -> dict[str, Query]:
    """Return the questions about what a namespace allows."""
    return {
        "quotas": lambda: lister.list(QUOTAS, namespace=namespace),
        "limit_ranges": lambda: lister.list(LIMIT_RANGES, namespace=namespace),
    }


def queue_queries(lister: Lister, job: KubeObject, namespace: str) -> dict[str, Query]:
    """Return the questions about Kueue's queues, and about a job's place in them."""

    def query(plural: str, keep: Keep = whole) -> Query:
        return lambda: lister.list_kueue(plural, namespace=namespace, keep=keep)

    queries = {"local_queues": query("localqueues")}
    return queries | ({"workloads": query("workloads", reduce_workload)} if objects.queue_of(job) else {})


def has_claims(snapshot: Snapshot) -> bool:
    """Say whether a job's pods mount claims."""
    return any("persistentVolumeClaim" in volume for volume in template_of(snapshot).get("volumes") or [])


def _parts_of(lister: Lister, handle: Handle, kind: JobKind) -> dict[str, Query]:
    """Return the questions about objects that are a part of the job beside its own."""
    queries: dict[str, Query] = {}
    if kind.pods_beside:
        queries["beside"] = lambda: lister.one(kind.companions[-1], handle.job, namespace=handle.namespace)
    if (inner := kind.inner_job_name(handle.job)) is not None:
        queries["inner_jobs"] = lambda: lister.one(JOBS, inner, namespace=handle.namespace)
    return queries


def _queries(lister: Lister, first: Snapshot) -> dict[str, Query]:
    """Return what else is worth asking, by field of the snapshot."""
    job, pods, namespace = first.job, first.pods, first.status.handle.namespace
    if first.status.state.is_terminal:
        return {}
    queries: dict[str, Query] = {}
    waiting = without_node(first)
    if waiting or lost_pod(pods) is not None or any(objects.is_being_deleted(pod) for pod in pods):
        queries |= capacity_queries(lister)
    if has_claims(first) and (waiting or not_started(first)):
        queries |= claim_queries(lister, namespace)
    if len(pods) < first.kind.replicas_of(job) and not first.kind.is_suspended(job):
        queries |= limit_queries(lister, namespace)
    if waiting and any(objects.POD_GROUP_LABEL in (pod["metadata"].get("labels") or {}) for pod in waiting):
        own = f"metadata.name={objects.name_of(job)}"  # the operator names a group as its job
        queries["pod_groups"] = lambda: lister.list(POD_GROUPS, namespace=namespace, fields=own)
    if first.kind.is_suspended(job):
        queries |= queue_queries(lister, job, namespace)
    if len(waiting) > 1:
        loud = f"type=Warning,reason={LOUD}"
        queries["unscheduled"] = lambda: lister.list(EVENTS, namespace=namespace, fields=loud)
    if behind := next((pod for pod in pods if is_pending(pod)), None):
        fields = f"involvedObject.name={objects.name_of(behind)}"
        queries["events"] = lambda: lister.list(EVENTS, namespace=namespace, fields=fields)
    return queries


def _pods_with_logs(pods: Sequence[KubeObject]) -> list[tuple[str, bool]]:
    """Return the pods whose last lines are worth reading, and whether those before the last restart."""
    chosen: dict[str, bool] = {}
    pods = [pod for pod in pods if lost_pod([pod]) is None]  # the API waits long for a node that is silent
    for pod in pods:
        state = container_of(pod).get("state") or {}
        ended, name = ended_of(pod), objects.name_of(pod)
        if ended.get("exitCode"):
            chosen[name] = "waiting" in state
        elif node_of(pod) == 0 and ("running" in state or ended):
            chosen[name] = False
    running = [pod for pod in pods if "running" in (container_of(pod).get("state") or {})]
    for pod in running[:2]:
        chosen.setdefault(objects.name_of(pod), False)
    first = [objects.name_of(pod) for pod in pods if node_of(pod) == 0 and objects.name_of(pod) in chosen]
    return [(name, chosen[name]) for name in [*first, *(name for name in chosen if name not in first)]][
        :MAX_LOGS
    ]


def _read_log(logs: PodLogs, pod: str, *, namespace: str, container: str, previous: bool) -> str:
    try:
        text = logs.read_pod_log(
            pod,
            namespace=namespace,
            container=container,
            previous=previous,
            tail_lines=PROGRESS_LINES,
        )
    except LaunchError:  # a lost node's log is not needed to name the node
        return ""
    return text[-LOG_BYTES:].decode("utf-8", "replace")


def _key(event: KubeObject) -> str:
    metadata = event["metadata"]
    return str(metadata.get("uid") or metadata["name"])
