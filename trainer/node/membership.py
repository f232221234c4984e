"""Which nodes take part in an attempt, of a job that may train with fewer than all. Pure.

An attempt begins once all nodes are there. Where `min_nodes` allows it, it begins without some of them
once these were away for `patience_s`, or have been waited for so long: a node that comes and goes holds
nobody up. Who comes later waits, and is let in at the end of an epoch (`choose_epoch_end`), where all ranks
save and stop together and the next attempt begins with more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set

from trainer.node.decisions import choose_stop_step
from trainer.node.messages import RankState
from trainer.protocol.nodefile import NodeFile
from trainer.protocol.runfile import format_nodes


def wait_for_more(
    there: Set[int], *, job: NodeFile, waited_s: float, away_s: Callable[[int], float]
) -> float | None:
    """Return the seconds until an attempt begins with the nodes that are there; 0 for now, None for never.

    Args:
        there: Nodes that could take part.
        job: How many there are, and with how many it may begin.
        waited_s: Since they are being gathered.
        away_s: Seconds for which a node has been away.
    """
    missing = set(range(job.nodes)) - there
    if not missing:
        return 0.0
    if job.min_nodes is None or job.patience_s is None or len(there) < job.min_nodes or 0 not in there:
        return None
    return max(0.0, job.patience_s - max(waited_s, min(map(away_s, missing))))


def choose_epoch_end(
    states: Iterable[RankState], *, steps_per_s: float, lead_s: float, window_s: float
) -> int | None:
    """Return a step at which an epoch ends and after which all ranks can stop; None while none is near.

    Asked for too early, it would be in the way of another stop, since ranks take one request only; so the
    end has to lie within a window behind the first step that all ranks can still hear of.

    Args:
        states: Of all ranks; they may be as old as `lead_s` allows for.
        steps_per_s: How fast they go, or 0 while unknown.
        lead_s: Time that a request may take to reach every rank, and age of the states.
        window_s: Longer than the time between two looks.
    """
    states = tuple(states)
    known = [state for state in states if state.epoch_steps > 0]
    if not known:
        return None
    first = max(known, key=lambda state: state.step)
    soonest = choose_stop_step(states, steps_per_s=steps_per_s, lead_s=lead_s)
    end = first.epoch_end
    if end < soonest:  # this one is too near; with short epochs so may the next ones be
        end += -(-(soonest - end) // first.epoch_steps) * first.epoch_steps
    latest = choose_stop_step(states, steps_per_s=steps_per_s, lead_s=lead_s + window_s)
    return end if end <= latest and end < first.total_steps else None


def say_nodes(nodes: Iterable[int]) -> str:
    """Name nodes: `node 2`, `nodes 1-3,7`."""
    named = tuple(nodes)
    return f"node{'s' * (len(named) != 1)} {format_nodes(named)}"


def say_size(count: int, job: NodeFile) -> str:
    """Say how many nodes there are: `2 nodes`, or `3 of 4 nodes`."""
    nodes = "node" if job.nodes == 1 else "nodes"
    return f"{count} {nodes}" if count == job.nodes else f"{count} of {job.nodes} {nodes}"
