"""Asks a cluster for everybody's jobs: as many lists as there are kinds, and one of pods, side by side.

The number of lists does not depend on how many jobs there are, nor on whose they are; a list comes in pages
of 500, and of each page only what is read later is kept. What the user may not see is left out and said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from launcher.backends.kubernetes.progress import PROGRESS_LINES, last_progress
from launcher.backends.states import JobState
from launcher.errors import LaunchError
from launcher.kinds.base import JobKind
from launcher.kinds.registry import KINDS
from launcher.kube.api import KubeApi, PodLogs
from launcher.names import RUN_ID_LABEL
from launcher.objects import PODS
from launcher.team.capacity import Top, read_top
from launcher.team.team_jobs import TeamJob, read_team_jobs, reduce_job, reduce_team_pod, with_progress
from launcher.why.gather import Lister, capacity_queries
from launcher.why.snapshot import Objects, Skipped

MAX_JOBS, MAX_PODS = 50_000, 150_000
"""Of each kind, and of all jobs; a cluster has no more pods (kubernetes.io, "Considerations for large
clusters")."""
MAX_LOGS = 40
"""Running jobs whose log's end is read for their progress, where no annotation tells it."""
_THREADS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """Everybody's jobs at one moment.

    Attributes:
        now_s: Unix time.
        namespace: Whose; empty for all of the cluster.
        jobs: Newest first.
        skipped: What could not be looked at.
        sees_pods: Whether the jobs' pods could be looked at, without which only ends and queues are known.
    """

    now_s: float
    namespace: str
    jobs: tuple[TeamJob, ...]
    sees_pods: bool = True
    skipped: tuple[Skipped, ...] = ()


def gather_team(
    api: KubeApi, *, namespace: str, fallback: str = "", clock: Callable[[], float] = time.time
) -> Team:
    """Ask for the jobs of a namespace, or of all namespaces, of every kind that is served.

    Args:
        api: The cluster.
        namespace: Where to look; empty for all namespaces.
        fallback: Namespace to look at where those of the whole cluster may not be seen.
        clock: Gives Unix time.

    Raises:
        LaunchError: No job may be seen at all; what the server said.
    """
    from concurrent.futures import ThreadPoolExecutor

    kinds = [kind for kind in KINDS if _is_served(api, kind)]
    lister = Lister(api)

    def list_kind(kind: JobKind) -> Objects | None:
        keep = partial(reduce_job, kind=kind)
        return lister.list(
            kind.resource, namespace=namespace, labels=RUN_ID_LABEL, at_most=MAX_JOBS, keep=keep
        )

    def list_pods() -> Objects | None:
        return lister.list(
            PODS, namespace=namespace, labels=RUN_ID_LABEL, at_most=MAX_PODS, keep=reduce_team_pod
        )

    with ThreadPoolExecutor(_THREADS) as pool:
        asked = [pool.submit(list_kind, kind) for kind in kinds]
        asked_pods = pool.submit(list_pods)
        listed = [
            (kind, answer)
            for kind, one in zip(kinds, asked, strict=True)
            if (answer := one.result()) is not None
        ]
        pods = asked_pods.result()
    if not listed and kinds:
        if not namespace and fallback:
            team = gather_team(api, namespace=fallback, clock=clock)
            return replace(team, skipped=(*lister.skipped, *team.skipped))
        # one of them again, for the error itself
        api.list(kinds[0].resource, namespace=namespace, labels=RUN_ID_LABEL, at_most=1)
    now_s = clock()
    jobs, unreadable = read_team_jobs(listed, pods or (), now_s=now_s)
    skipped = list(lister.skipped)
    if unreadable:
        skipped.append(
            Skipped(
                what=f"{unreadable} objects", reason=f"with the label {RUN_ID_LABEL}, and no jobs of ours"
            )
        )
    for what, most, found in (
        ("jobs", MAX_JOBS, max((len(items) for _, items in listed), default=0)),
        ("pods", MAX_PODS, len(pods or ())),
    ):
        if found >= most:
            skipped.append(Skipped(what=what, reason=f"there are more than {most}"))
    return Team(
        now_s=now_s, namespace=namespace, jobs=jobs, sees_pods=pods is not None,
        skipped=tuple(dict.fromkeys(skipped)),
    )  # fmt: skip


def gather_top(
    api: KubeApi, logs: PodLogs, *, namespace: str, fallback: str = "", clock: Callable[[], float] = time.time
) -> tuple[Team, Top]:
    """Ask for everybody's jobs, for nodes and what stands on them, and for queues.

    Args:
        api: The cluster.
        logs: Of its pods, for the progress of those jobs that run.
        namespace: Whose jobs; empty for all.
        fallback: As `gather_team` has it.
        clock: Gives Unix time.

    Raises:
        LaunchError: No job may be seen at all; what the server said.
    """
    from concurrent.futures import ThreadPoolExecutor

    lister = Lister(api)
    with ThreadPoolExecutor(_THREADS) as pool:
        asked_team = pool.submit(gather_team, api, namespace=namespace, fallback=fallback, clock=clock)
        asked = {name: pool.submit(query) for name, query in capacity_queries(lister).items()}
        asked["cluster_queues"] = pool.submit(lister.list_kueue, "clusterqueues", namespace="")
        team = asked_team.result()
        local_queues = lister.list_kueue("localqueues", namespace=team.namespace)
        found = {name: one.result() for name, one in asked.items()}
    # of those that run, the ones that hold most are asked for their progress first
    order = sorted(team.jobs, key=lambda job: -job.gpus_held)
    jobs = read_logs_progress(logs, order)
    jobs = tuple(sorted(jobs, key=lambda job: -job.status.created_s))
    team = replace(team, jobs=jobs, skipped=tuple(dict.fromkeys((*team.skipped, *lister.skipped))))
    top = read_top(jobs, now_s=team.now_s, local_queues=local_queues, **found)
    return team, top


def read_logs_progress(
    logs: PodLogs, jobs: Sequence[TeamJob], *, most: int = MAX_LOGS
) -> tuple[TeamJob, ...]:
    """Return the jobs, with the progress that the logs' ends tell of those that run and have no annotation.

    Args:
        logs: Of the cluster.
        jobs: Any.
        most: At most so many logs are read, of the jobs that come first.
    """
    from concurrent.futures import ThreadPoolExecutor

    asked: dict[int, str] = {}
    for index, job in enumerate(jobs):
        first = next((pod for pod in job.status.pods if pod.node == 0 and pod.started_s is not None), None)
        if (
            job.status.state is JobState.RUNNING
            and job.status.progress is None
            and first
            and len(asked) < most
        ):
            asked[index] = first.pod
    if not asked:
        return tuple(jobs)

    def read(index: int) -> TeamJob:
        job = jobs[index]
        kind = next(kind for kind in KINDS if kind.resource.kind == job.kind)
        try:
            log = logs.read_pod_log(
                asked[index], namespace=job.status.handle.namespace, container=kind.container,
                tail_lines=PROGRESS_LINES,
            )  # fmt: skip
        except LaunchError:  # not allowed, or a node that does not answer: its progress is not known
            return job
        return with_progress(job, last_progress(log))

    with ThreadPoolExecutor(_THREADS) as pool:
        told = dict(zip(asked, pool.map(read, asked), strict=True))
    return tuple(told.get(index, job) for index, job in enumerate(jobs))


def _is_served(api: KubeApi, kind: JobKind) -> bool:
    try:
        return api.serves(kind.resource)
    except LaunchError:  # discovery is not open to us: the list itself finds out
        return True
