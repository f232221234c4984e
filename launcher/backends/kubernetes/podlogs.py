"""Reads pods' logs in whole, and what node 0 last said of the ranks' progress."""

from __future__ import annotations

from collections.abc import Sequence

from launcher import objects
from launcher.backends.kubernetes.progress import PROGRESS_LINES, last_progress
from launcher.backends.kubernetes.restarts import Incarnation, Incarnations
from launcher.backends.states import LogRef
from launcher.errors import LaunchError
from launcher.kinds.pods import node_of
from launcher.kube.api import PodLogs
from launcher.kube.errors import AbsentError, InvalidError
from launcher.objects import KubeObject
from trainer.protocol.progress import Progress


def list_refs(incarnations: Incarnations, job: KubeObject, pods: Sequence[KubeObject]) -> tuple[LogRef, ...]:
    """Return the logs that the API still has of a job's pods, in order."""
    refs = []
    for pod in pods:
        look = incarnations.look(job, pod)
        numbers = [look.number - 1] * look.has_previous + [look.number] * look.has_started
        name, node = objects.name_of(pod), node_of(pod)
        refs += [LogRef(node=node, incarnation=number, pod=name) for number in numbers]
    return tuple(sorted(refs))


def has_log(look: Incarnation, ref: LogRef) -> bool:
    """Say whether the API has the log that is meant."""
    if ref.incarnation == look.number:
        return look.has_started
    return look.has_previous and ref.incarnation == look.number - 1


def read_whole(
    logs: PodLogs, *, namespace: str, pod: str, container: str, previous: bool, tail_lines: int | None = None
) -> bytes:
    """Return a pod's log; empty where it is gone, or has not started, since the pod was looked at."""
    try:
        return logs.read_pod_log(
            pod,
            namespace=namespace,
            container=container,
            previous=previous,
            tail_lines=tail_lines,
        )
    except (AbsentError, InvalidError):
        return b""


def fetch_progress(
    logs: PodLogs, pods: Sequence[KubeObject], looks: dict[str, Incarnation], *, container: str
) -> Progress | None:
    """Return what node 0 last said of the ranks; None before it has, and where its log cannot be read."""
    first = next((pod for pod in pods if node_of(pod) == 0), None)
    if first is None or not looks[objects.name_of(first)].has_started:
        return None
    namespace, name = first["metadata"]["namespace"], objects.name_of(first)
    try:
        log = read_whole(
            logs,
            namespace=namespace,
            pod=name,
            container=container,
            previous=False,
            tail_lines=PROGRESS_LINES,
        )
    except LaunchError:  # a lost node or a missing rule must not hide how the job stands
        return None
    return last_progress(log)
