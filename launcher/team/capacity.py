"""Who holds which GPUs, what is free, and what is held for nothing. Pure.

GPUs are counted as the scheduler counts them: what pods ask for, on the node that they were given. Those of
pods that are no job of ours are only seen where all pods of the cluster may be listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from launcher import objects
from launcher.backends.states import JobState
from launcher.objects import KubeObject
from launcher.quantity import is_gpu, parse_quantity
from launcher.team.team_jobs import TeamJob, count_gpus, is_holding
from launcher.times import format_duration
from launcher.why.node_capacity import read_capacities

IDLE_S = 600.0
"""So long may a step, an evaluation or a start take before the GPUs under it are called idle."""
BLOCKS = (8, 4, 2, 1)
"""Sizes of pods, in GPUs, for which free room is counted."""
NO_USER = "(not said)"


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuUsage:
    """What a user or a queue has.

    Attributes:
        name: Of the user or the queue.
        gpus: Held now.
        running: Jobs that hold something.
        waiting: Jobs that wait for a queue or for room.
        gpus_waiting: What these ask for.
        gpu_hours: Of all their jobs that are still there.
        is_estimate: Some of these hours are.
        quota: GPUs that the queue has of its own; None where that is not known, and for users.
        borrowed: GPUs that it holds beyond that.
    """

    name: str
    gpus: int
    running: int
    waiting: int
    gpus_waiting: int
    gpu_hours: float
    is_estimate: bool = False
    quota: int | None = None
    borrowed: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeGpus:
    """A node with GPUs.

    Attributes:
        gpus: That pods may have.
        free: None where it is not known.
        is_open: It takes pods: it is ready and not cordoned.
        users: GPUs of jobs of ours on it, by user.
    """

    name: str
    gpus: int
    free: int | None
    is_open: bool
    users: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class IdleJob:
    """A job that holds GPUs and does not go on.

    Attributes:
        gpus: That it holds.
        idle_s: For how long, in seconds.
        reason: What is seen, a few words.
    """

    job: TeamJob
    gpus: int
    idle_s: float
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Top:
    """GPUs of a cluster or of a namespace.

    Attributes:
        users: Those that hold most first.
        queues: Those that hold most first, too.
        nodes: Those with GPUs, by name; None where nodes may not be seen.
        others: GPUs held by pods that are no job of ours; None where that is not known.
        blocks: Size of a pod in GPUs -> how many more of them find room now; None where that is not known.
        idle: Longest first.
        unheard: Running jobs with GPUs whose progress could not be seen.
    """

    users: tuple[GpuUsage, ...]
    queues: tuple[GpuUsage, ...]
    nodes: tuple[NodeGpus, ...] | None
    others: int | None
    blocks: Mapping[int, int] | None
    idle: tuple[IdleJob, ...]
    unheard: int

    @property
    def gpus(self) -> int | None:
        """GPUs of all nodes; None where they may not be seen."""
        return None if self.nodes is None else sum(node.gpus for node in self.nodes)

    @property
    def free(self) -> int | None:
        """GPUs that pods could have now; None where that is not known."""
        if self.nodes is None or any(node.free is None for node in self.nodes):
            return None
        return sum(node.free or 0 for node in self.nodes if node.is_open)

    @property
    def held(self) -> int:
        """GPUs that jobs of ours hold."""
        return sum(user.gpus for user in self.users)


def read_top(
    jobs: Sequence[TeamJob],
    *,
    now_s: float,
    nodes: Sequence[KubeObject] | None,
    placed: Sequence[KubeObject] | None,
    local_queues: Sequence[KubeObject] | None,
    cluster_queues: Sequence[KubeObject] | None,
) -> Top:
    """Add up who holds what.

    Args:
        jobs: Of everybody.
        now_s: Unix time.
        nodes: Of the cluster; None where they may not be seen, as for what follows.
        placed: All pods that hold room on nodes.
        local_queues: Kueue's, of where the jobs are.
        cluster_queues: Kueue's.
    """
    seen = None if nodes is None else _read_nodes(jobs, nodes, placed)
    used = None if seen is None or any(node.free is None for node in seen) else sum(
        node.gpus - (node.free or 0) for node in seen
    )  # fmt: skip
    held = sum(job.gpus_held for job in jobs)
    return Top(
        users=_usage_by(jobs, lambda job: job.user or NO_USER),
        queues=_read_queues(jobs, local_queues, cluster_queues),
        nodes=seen,
        others=None if used is None else max(0, used - held),
        blocks=None if seen is None or used is None else _count_blocks(seen),
        idle=tuple(sorted(_find_idle(jobs, now_s), key=lambda item: -item.idle_s)),
        unheard=sum(
            job.status.state is JobState.RUNNING and job.gpus_held > 0 and job.status.progress is None
            for job in jobs
        ),
    )


def _usage_by(jobs: Iterable[TeamJob], name_of: Callable[[TeamJob], str]) -> tuple[GpuUsage, ...]:
    grouped: dict[str, list[TeamJob]] = {}
    for job in jobs:
        if name := name_of(job):
            grouped.setdefault(name, []).append(job)
    usages = [_add_up(name, own) for name, own in grouped.items()]
    return tuple(sorted(usages, key=lambda usage: (-usage.gpus, -usage.gpus_waiting, usage.name)))


def _add_up(name: str, jobs: Sequence[TeamJob]) -> GpuUsage:
    waiting = [job for job in jobs if is_waiting(job)]
    return GpuUsage(
        name=name,
        gpus=sum(job.gpus_held for job in jobs),
        running=sum(any(map(is_holding, job.status.pods)) for job in jobs),
        waiting=len(waiting),
        gpus_waiting=sum(job.gpus_wanted - job.gpus_held for job in waiting),
        gpu_hours=sum(job.gpu_time.gpu_hours for job in jobs),
        is_estimate=any(job.gpu_time.estimate for job in jobs),
    )


def is_waiting(job: TeamJob) -> bool:
    """Say whether a job waits for a queue, or for room on nodes."""
    return job.status.state in (JobState.QUEUED, JobState.SCHEDULING, JobState.SUBMITTED)


def _read_queues(
    jobs: Sequence[TeamJob],
    local_queues: Sequence[KubeObject] | None,
    cluster_queues: Sequence[KubeObject] | None,
) -> tuple[GpuUsage, ...]:
    spaces = {job.status.handle.namespace for job in jobs if job.queue}
    spaces |= {str(item["metadata"].get("namespace", "")) for item in local_queues or ()}
    many = len(spaces) > 1

    def title(namespace: str, queue: str) -> str:
        return f"{namespace}/{queue}" if many else queue

    usages = {
        usage.name: usage
        for usage in _usage_by(
            jobs, lambda job: title(job.status.handle.namespace, job.queue) if job.queue else ""
        )
    }
    above = {objects.name_of(item): item for item in cluster_queues or ()}
    for item in local_queues or ():
        name = title(str(item["metadata"].get("namespace", "")), objects.name_of(item))
        usage = usages.get(name) or _add_up(name, ())
        cluster_queue = above.get(str((item.get("spec") or {}).get("clusterQueue") or ""))
        usages[name] = usage if cluster_queue is None else _with_quota(usage, cluster_queue)
    return tuple(sorted(usages.values(), key=lambda usage: (-usage.gpus, -usage.gpus_waiting, usage.name)))


def _with_quota(usage: GpuUsage, cluster_queue: KubeObject) -> GpuUsage:
    quota = Decimal(0)
    for group in (cluster_queue.get("spec") or {}).get("resourceGroups") or ():
        for flavor in group.get("flavors") or ():
            for item in flavor.get("resources") or ():
                if is_gpu(str(item.get("name"))):
                    quota += parse_quantity(item.get("nominalQuota"))
    borrowed = Decimal(0)
    for flavor in (cluster_queue.get("status") or {}).get("flavorsReservation") or ():
        for item in flavor.get("resources") or ():
            if is_gpu(str(item.get("name"))):
                borrowed += parse_quantity(item.get("borrowed") or 0)
    return replace(usage, quota=int(quota), borrowed=int(borrowed))


def _read_nodes(
    jobs: Sequence[TeamJob], nodes: Sequence[KubeObject], placed: Sequence[KubeObject] | None
) -> tuple[NodeGpus, ...]:
    users: dict[str, dict[str, int]] = {}
    for job in jobs:
        for pod in job.status.pods:
            if job.gpus and pod.host and is_holding(pod):
                on = users.setdefault(pod.host, {})
                on[job.user or NO_USER] = on.get(job.user or NO_USER, 0) + job.gpus
    found = []
    for capacity in read_capacities(nodes, placed):
        gpus = count_gpus(capacity.whole)
        if gpus:
            free = None if capacity.free is None else max(0, count_gpus(capacity.free))
            found.append(
                NodeGpus(
                    name=capacity.name, gpus=gpus, free=free, is_open=capacity.is_open,
                    users=users.get(capacity.name, {}),
                )
            )  # fmt: skip
    return tuple(found)


def _count_blocks(nodes: Iterable[NodeGpus]) -> dict[int, int]:
    free = [node.free or 0 for node in nodes if node.is_open]
    return {size: sum(gpus // size for gpus in free) for size in BLOCKS}


def _find_idle(jobs: Iterable[TeamJob], now_s: float) -> Iterable[IdleJob]:
    for job in jobs:
        gpus, status = job.gpus_held, job.status
        if not gpus:
            continue
        progress = status.progress
        if status.state is JobState.RUNNING:
            if progress is None:
                continue
            silent_s = now_s - progress.time_s + min((rank.silent_s for rank in progress.ranks), default=0.0)
            if silent_s >= IDLE_S:
                reason = f"no step for {format_duration(silent_s)}"
                yield IdleJob(job=job, gpus=gpus, idle_s=silent_s, reason=reason)
            continue
        since_s = min((pod.bound_s for pod in status.pods if pod.bound_s is not None), default=now_s)
        if now_s - since_s >= IDLE_S:
            held = sum(map(is_holding, status.pods))
            short = f"{held} of {job.nodes} pods have a node" if held < job.nodes else status.reason
            yield IdleJob(
                job=job, gpus=gpus, idle_s=now_s - since_s,
                reason=f"{status.state.value}{f': {short}' if short else ''}",
            )  # fmt: skip
