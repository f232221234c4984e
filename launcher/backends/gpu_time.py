"""How long a run has held GPUs, over all of its pods. Pure.

A GPU is held from the moment at which its pod is given a node, through pulling and waiting for the others,
until its container ends: nobody else can have it meanwhile. Pods come and go with restarts, and controllers
delete some of them, so that what is seen at one moment may be less than what there was; the result says so
where that shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from launcher.backends.states import JobStatus, PodState, PodStatus

_LATE_S = 120.0
"""After its peers a pod of a first start is not made so late, nor so long after a job that no queue holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodHold:
    """A pod that holds, or held, a node's room.

    Attributes:
        node: Its number.
        start_s: Unix time at which it was given a node.
        end_s: Unix time; None while it holds it.
    """

    node: int
    start_s: float
    end_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuTime:
    """How long a run has held GPUs.

    Attributes:
        gpu_s: GPUs times seconds.
        estimate: Why it is not exact, a few words; empty where it is.
    """

    gpu_s: float
    estimate: str = ""

    @property
    def gpu_hours(self) -> float:
        """GPUs times hours."""
        return self.gpu_s / 3600


def holds_of(pods: Iterable[PodStatus], *, ended_s: float | None) -> dict[str, PodHold]:
    """Return what pods hold, by what tells one pod from another of the same name.

    Args:
        pods: Those that have been given no node yet are left out.
        ended_s: When the job ended, Unix time; for pods that do not say when they did.
    """
    found = {}
    for pod in pods:
        start_s = pod.bound_s if pod.bound_s is not None else pod.started_s
        if start_s is None:
            continue
        gone = pod.state in (PodState.SUCCEEDED, PodState.FAILED)
        end_s = pod.ended_s if pod.ended_s is not None else (ended_s or start_s if gone else None)
        key = pod.uid or f"{pod.pod}@{start_s:.0f}"
        found[key] = PodHold(
            node=pod.node, start_s=start_s, end_s=None if end_s is None else max(end_s, start_s)
        )
    return found


def add_up(
    holds: Mapping[str, PodHold], status: JobStatus, *, gpus: int, now_s: float, is_queued: bool = False
) -> GpuTime:
    """Add up what pods held, and say why that may not be all.

    Args:
        holds: Of all pods that are known, gone ones too.
        status: Of the job.
        gpus: Of each pod.
        now_s: Unix time.
        is_queued: The job waits for a queue before it has pods.
    """
    if not gpus:
        return GpuTime(gpu_s=0.0)
    if not holds:
        never = not status.state.is_terminal or status.ended_s is None
        return GpuTime(gpu_s=0.0, estimate="" if never else "none of its pods is there any more")
    until_s = status.ended_s if status.ended_s is not None else now_s
    gpu_s = sum(max(0.0, (hold.end_s or until_s) - hold.start_s) for hold in holds.values()) * gpus
    firsts: dict[int, float] = {}
    for hold in holds.values():
        firsts[hold.node] = min(firsts.get(hold.node, hold.start_s), hold.start_s)
    begin_s = min(firsts.values()) if is_queued else min(status.created_s, *firsts.values())
    late = max(firsts.values()) - begin_s > _LATE_S
    return GpuTime(gpu_s=gpu_s, estimate="at least: pods of earlier starts are gone" if late else "")
