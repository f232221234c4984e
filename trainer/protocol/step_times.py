"""Where the time of a rank's steps goes, and what there is to say of it.

Every number is what the host sees. On a CPU that is all. On a GPU the host only hands operations out, so that
what it does not spend on images, copies, other ranks and waiting for the device is the time of handing out,
and the device's own work shows where the host waits for it (`fetch_s`). The exchange of gradients runs inside
the backward pass; what is seen of it is how long a rank waited for the others before (`peers_s`, ranks on
CPUs), so that a slow rank is known by what it takes without that.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from trainer.protocol.codec import Count, Within

_Seconds: TypeAlias = Annotated[float, Within(0, 1e9)]

WAITING = 0.25
"""Share of a step that images may take before that is worth a word."""
SLOW = 1.3
"""So many times what half of the ranks take at most is a slow rank."""
_LEAST_S = 0.002
"""Steps that are shorter have no times worth comparing."""
_FEWEST = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTimes:
    """Means over the last steps of a rank, in seconds a step, and sums.

    Attributes:
        steps: Steps that the means are of.
        step_s: From batch to batch; all others are parts of it.
        wait_s: Until the readers had the batch.
        copy_s: To copy it to the device, or to begin to.
        peers_s: For other ranks, before gradients are exchanged.
        fetch_s: For the device and all ranks, where measurements are fetched.
        eval_s: All evaluations of this attempt.
        save_s: For which checkpoints of this attempt have stopped the training.
        workers: Reader processes of the rank; 0 where it reads by itself.
        ranks: On this node, which share the cores.
        cores: That the node gives them.
    """

    steps: Count
    step_s: _Seconds
    wait_s: _Seconds
    copy_s: _Seconds
    peers_s: _Seconds
    fetch_s: _Seconds
    eval_s: _Seconds
    save_s: _Seconds
    workers: Count
    ranks: Count
    cores: Annotated[float, Within(0, 1e6)]

    @property
    def compute_s(self) -> float:
        """Forward and backward pass and update; with a GPU, handing them out."""
        return max(0.0, self.step_s - self.wait_s - self.copy_s - self.peers_s - self.fetch_s)

    @property
    def own_s(self) -> float:
        """What the rank takes by itself."""
        return max(0.0, self.step_s - self.peers_s - self.fetch_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What is odd about the times of steps, and what to do."""

    sentence: str
    fix: str


def find_waiting(times: StepTimes, *, saves_decoding: bool | None = None) -> Finding | None:
    """Say that steps wait for images; None where they do not.

    Args:
        times: Of a rank.
        saves_decoding: Whether `loader.cache` or `decode: fast` is set: neither is proposed then, since they
            do not go together. None where the config is not known, as beside a progress line.
    """
    share = times.wait_s / times.step_s if times.step_s else 0.0
    if share < WAITING or times.step_s < _LEAST_S or times.steps < _FEWEST:
        return None
    cores = max(1, int(times.cores / max(1, times.ranks)))
    workers = f"{times.workers} workers" if times.workers != 1 else "1 worker"
    there = f"{times.cores:g} cores" + (f" for {times.ranks} ranks" if times.ranks > 1 else "")
    sentence = f"{share:.0%} of a step waits for images: {workers}, {there} are there"
    unless = " where it is not set" if saves_decoding is None else ""
    # As many as would have done the reading of a whole step in what is left of it, and no more than fit.
    wanted = min(cores, round(max(1, times.workers) / max(0.05, 1 - share) + 0.5))
    if times.workers < wanted:
        keep = "" if saves_decoding else f", or keep decoded images by loader.cache: memory{unless}"
        fix = f"set DataLoader.Train.loader.num_workers: {wanted}{keep}"
    elif saves_decoding:
        fix = "give the job more cores"
    else:
        fix = (
            f"keep decoded images by loader.cache: memory{unless}, decode less by loader.decode: fast, or "
            "give the job more cores"
        )
    return Finding(sentence=sentence, fix=fix)


def find_slow(ranks: Iterable[tuple[int, int, StepTimes | None]]) -> tuple[int, Finding] | None:
    """Name the rank that the others wait for, of (rank, node, times); None where none is much slower."""
    known = [
        (rank, node, times) for rank, node, times in ranks if times is not None and times.steps >= _FEWEST
    ]
    if len(known) < 2:
        return None
    rank, node, slowest = max(known, key=lambda one: one[2].own_s)
    median_s = statistics.median_low([times.own_s for _, _, times in known])
    if slowest.own_s < _LEAST_S or slowest.own_s < SLOW * median_s:
        return None
    images = find_waiting(slowest)
    why = f"; {images.sentence}" if images is not None else ""
    sentence = (
        f"rank {rank} (node {node}) takes {slowest.own_s:.3g} s a step by itself, half of the ranks at most "
        f"{median_s:.3g} s, and the others wait for it{why}"
    )
    return rank, Finding(sentence=sentence, fix=images.fix if images is not None else "")
