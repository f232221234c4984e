"""How trials share this machine: which job gets which GPUs, and how many run at once. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_ON_A_CLUSTER = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What a job gets of this machine.

    Attributes:
        slot: From 0; one job at a time has it.
        gpu_ids: GPUs by name; None where it may take any, or needs none.
    """

    slot: int
    gpu_ids: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharing:
    """Who gets what.

    Attributes:
        places: One a job that runs at the same time.
        sentence: The same for people.
        warning: What may be meant otherwise; empty for nothing.
    """

    places: tuple[Place, ...]
    sentence: str
    warning: str = ""


def share_cluster(asked: int | None) -> Sharing:
    """Return how many jobs a cluster is given at once; its queue decides when they start."""
    count = asked or _ON_A_CLUSTER
    return Sharing(
        places=tuple(Place(slot=slot) for slot in range(count)),
        sentence=f"{_jobs(count)} at once; when each starts is the cluster's matter",
    )


def share_machine(
    asked: int | None,
    *,
    ranks: int,
    nodes: int,
    gpus: int,
    present: tuple[str, ...],
    cores: int,
    per_gpu: int = 1,
) -> Sharing:
    """Divide this machine.

    Args:
        asked: Jobs at once; None for as many as there is room for.
        ranks: Processes of each job.
        nodes: Nodes of each job.
        gpus: GPUs of each node; 0 trains on CPUs.
        present: Names of this machine's GPUs.
        cores: Number of CPU cores.
        per_gpu: Jobs that share a GPU.
    """
    if gpus and nodes == 1 and len(present) >= gpus:
        return _share_gpus(asked, gpus=gpus, present=present, per_gpu=per_gpu)
    if gpus and nodes > 1 and len(present) >= gpus * nodes:
        count = asked or 1
        warning = "" if count == 1 else f"{count} jobs of {nodes} nodes at once have the same GPUs"
        return Sharing(
            places=tuple(Place(slot=slot) for slot in range(count)),
            sentence=f"{_jobs(count)} at once on {len(present)} GPUs", warning=warning,
        )  # fmt: skip
    room = max(1, cores // max(1, ranks))
    count = asked or room
    each = f"{ranks} process{'es' * (ranks != 1)}"
    return Sharing(
        places=tuple(Place(slot=slot) for slot in range(count)),
        sentence=f"{_jobs(count)} at once on {cores} cores, {each} each",
        warning="" if count <= room else f"{count * ranks} processes on {cores} cores: each takes longer",
    )


def _share_gpus(asked: int | None, *, gpus: int, present: tuple[str, ...], per_gpu: int) -> Sharing:
    groups = [present[start : start + gpus] for start in range(0, len(present) - gpus + 1, gpus)]
    room = len(groups) * per_gpu
    count = min(asked or room, room)
    few = asked is not None and asked > room
    shared = f", {per_gpu} jobs on each" if per_gpu > 1 else ""
    return Sharing(
        # first a job on each group, then a second one
        places=tuple(Place(slot=slot, gpu_ids=groups[slot % len(groups)]) for slot in range(count)),
        sentence=f"{_jobs(count)} at once, each with {gpus} of {len(present)} GPUs{shared}",
        warning=f"{asked} jobs at once were asked for; there are GPUs for {room}, and the others wait"
        if few
        else "",
    )


def _jobs(count: int) -> str:
    return f"{count} job{'s' * (count != 1)}"
