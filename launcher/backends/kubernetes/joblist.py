"""Many jobs in few requests: those of a namespace, or of some runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from launcher import objects
from launcher.backends.kubernetes.restarts import RestartCounter
from launcher.backends.kubernetes.status import read_job
from launcher.backends.states import JobStatus
from launcher.kinds.base import JobKind
from launcher.kube.api import KubeApi
from launcher.names import RUN_ID_LABEL
from launcher.objects import PODS

NAMED = 100
"""Runs in one question, which then is a URL of 4 KiB; proxies take twice that."""
MOST_NAMED = 300
"""For more runs all of a namespace are asked for, 500 in an answer."""


def list_jobs(
    api: KubeApi, counter: RestartCounter, *, kind: JobKind, namespace: str, run_ids: Sequence[str]
) -> tuple[JobStatus, ...]:
    """Say how jobs stand, newest first: two requests for a hundred runs, or for five hundred jobs.

    Jobs that have ended keep their pods for days. These are not asked for: the job says that it has ended.

    Args:
        api: The cluster.
        counter: What was seen of pods.
        kind: Of the jobs.
        namespace: Where.
        run_ids: Only these; none for all.
    """
    jobs = [
        job for labels in _selectors(run_ids)
        for job in api.list(kind.resource, namespace=namespace, labels=labels, keep=kind.trim)
    ]  # fmt: skip
    going = [objects.run_id_of(job) for job in jobs if kind.ending_of(job) is None]
    pods = [
        pod for labels in (_selectors(going) if going else ())
        for pod in api.list(PODS, namespace=namespace, labels=labels, keep=objects.trim_pod)
    ]  # fmt: skip
    owned = kind.group_pods(jobs, pods)
    found = []
    for job in jobs:
        own = owned.get(objects.uid_of(job), ())
        restarts = {objects.name_of(pod): counter.look(job, pod).number for pod in own}
        found.append(read_job(job, own, kind=kind, restarts=restarts, progress=None))
    return tuple(sorted(found, key=lambda status: (-status.created_s, status.handle.job)))


def _selectors(run_ids: Sequence[str]) -> Iterator[str]:
    if not run_ids or len(run_ids) > MOST_NAMED:
        yield RUN_ID_LABEL
        return
    for begin in range(0, len(run_ids), NAMED):
        yield f"{RUN_ID_LABEL} in ({','.join(run_ids[begin : begin + NAMED])})"
