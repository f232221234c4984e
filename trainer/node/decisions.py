"""What is decided of an attempt: which rank hangs, which failed first, where all stop, what follows. Pure.

`coordinator` and `attempt` gather what happened and carry out what is decided here, so that each decision can
be tested with made-up events, and none waits for a clock or a process. In short:

* Of ranks that fail together one is the root cause, and the others failed because it was gone. Its own words
  are what people read (`find_root_cause`).
* In a collective all ranks fall silent, so that silence does not name the one that hangs; being the only one
  outside of it does (`find_hang`).
* All ranks must stop after one and the same step, and none can be asked what it does just now; so that step
  lies beyond what any may have begun (`choose_stop_step`).
* What fails the same way at the same step again is not tried a third time (`decide`).
"""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from trainer.node.messages import Exited, RankState
from trainer.protocol.exits import DETERMINISTIC, Exit, describe_exit
from trainer.protocol.heartbeat import Phase
from trainer.protocol.known_failures import GPU_MEMORY

MAX_PAUSE_S = 300.0  # the kubelet's own ceiling for restarts

NOT_RETRIED = DETERMINISTIC | {Exit.DIVERGED}
"""A run that diverged would diverge again from the same checkpoint with the same order of images."""

_PASSED_ON = frozenset({Exit.INTERNAL, Exit.CONFIG, Exit.DATA, Exit.DIVERGED, Exit.CHECKPOINT})


class Kind(Enum):
    """What went wrong."""

    RANK = "rank"
    HANG = "hang"
    NODE = "node"


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why an attempt failed.

    Attributes:
        rank: Rank that decided it, or None where a node did.
        code: That rank's exit code; negative for a signal, None where it did not exit by itself.
        reason: A sentence.
        step: Steps that this rank had completed, or None where unknown.
        checkpoint: Last whole checkpoint that the rank knew, or None.
    """

    kind: Kind
    rank: int | None
    code: int | None
    reason: str
    step: int | None
    checkpoint: str | None = None

    @property
    def fingerprint(self) -> str:
        """What it failed of, so that the same failure is known again: not which rank, which may vary."""
        where = "unknown step" if self.step is None else f"step {self.step}"
        if self.kind is Kind.RANK and self.code is not None:
            return f"{describe_exit(self.code)} at {where}: {self.reason}"[:400]
        return f"{self.kind.value} at {where}"


@dataclass(frozen=True, slots=True)
class Retry:
    """Start all ranks again after a pause."""

    pause_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the run with this exit code; `why` says why there is no further attempt."""

    exit: Exit
    why: str


def decide(
    failure: Failure, *, attempts: int, earlier: Sequence[str], max_restarts: int, backoff_s: float
) -> Retry | GiveUp:
    """Decide what follows a failed attempt.

    Args:
        failure: Of the attempt that just ended.
        attempts: Attempts that count so far, this one included.
        earlier: Fingerprints of the attempts before this one.
        max_restarts: Attempts after the first.
        backoff_s: Pause before the second attempt; doubled for each further one up to `MAX_PAUSE_S`.
    """
    if failure.kind is Kind.RANK and failure.code in NOT_RETRIED:
        return GiveUp(Exit(failure.code), "another attempt would only repeat it")
    if failure.kind is Kind.RANK and re.search(GPU_MEMORY, failure.reason):
        return GiveUp(_own_exit(failure), "another attempt would need as much of the GPU's memory")
    # Without a step nothing says that it failed at the same place: a start can fail of a slow volume twice.
    if failure.kind is Kind.RANK and failure.step is not None and failure.fingerprint in earlier:
        return GiveUp(_own_exit(failure), "it failed of the same at the same step before")
    if attempts > max_restarts:
        first_is_last = max_restarts == 0
        why = "no restarts are allowed" if first_is_last else f"all {attempts} attempts are used up"
        if failure.kind is Kind.HANG:
            return GiveUp(Exit.HUNG_RANK, why)
        return GiveUp(_own_exit(failure) if first_is_last else Exit.ATTEMPTS_USED_UP, why)
    return Retry(pause(attempts, backoff_s=backoff_s))


def pause(attempts: int, *, backoff_s: float) -> float:
    """Return the seconds to wait after so many failed attempts: doubled each time, up to `MAX_PAUSE_S`."""
    return min(backoff_s * 2.0 ** min(max(0, attempts - 1), 30), max(backoff_s, MAX_PAUSE_S))


def _own_exit(failure: Failure) -> Exit:
    # A death by signal, 143 included, is never passed on: it would make the operator recreate the pod.
    return Exit(failure.code) if failure.code in _PASSED_ON else Exit.ATTEMPTS_USED_UP


def find_root_cause(exits: Iterable[Exited], *, stopping: bool) -> Failure | None:
    """Return what failed, or None where every rank ended as it should or was killed.

    When a rank dies, its peers fail in their collectives within the same second, some with words of their
    own. A rank that names a cause by its code (config, data, divergence, checkpoint) was first; then one that
    was killed (SIGABRT is how gloo's peers end); then one that left any words; then the one heard of first.

    Args:
        exits: In the order in which they were heard of.
        stopping: Whether ranks were asked to stop, so that `Exit.STOPPED` is no failure.
    """
    failed = [
        exited
        for exited in exits
        if not exited.killed and exited.code != 0 and not (stopping and exited.code == Exit.STOPPED)
    ]
    if not failed:
        return None
    first = min(failed, key=_precedence)  # min takes the first of equals
    return Failure(
        kind=Kind.RANK,
        rank=first.rank,
        code=first.code,
        reason=first.reason or describe_exit(first.code),
        step=first.step,
        checkpoint=first.checkpoint,
    )


def blame_node(failure: Failure, lost: Mapping[int, str]) -> Failure:
    """Return what failed where nodes were lost in the same moment: ranks of the others die of their absence.

    Args:
        failure: As the ranks tell it. One that names a cause by its code stays.
        lost: Nodes that disappeared, and how.
    """
    if failure.kind is not Kind.RANK or failure.code in (*NOT_RETRIED, Exit.CHECKPOINT):
        return failure
    node, reason = min(lost.items())
    return Failure(
        kind=Kind.NODE, rank=None, code=None, step=None, reason=f"node {node} disappeared: {reason}",
        checkpoint=failure.checkpoint,
    )  # fmt: skip


def describe_exited(exited: Exited) -> str:
    """Say how a rank ended."""
    said = f": {exited.reason}" if exited.reason else ""
    number = f" ({exited.code})" if exited.code > 0 else ""
    at = f" after step {exited.step}" if exited.step is not None else ""
    return f"rank {exited.rank} ended{at}, {describe_exit(exited.code)}{number}{said}"


def _precedence(exited: Exited) -> int:
    if exited.code in (Exit.CONFIG, Exit.DATA, Exit.DIVERGED, Exit.CHECKPOINT):
        return 0
    # By the kernel's OOM killer, a fault, or a person; gloo aborts where a peer is gone.
    if exited.code < 0 and exited.code != -signal.SIGABRT:
        return 1
    return 2 if exited.reason is not None else 3


_COMPUTE = Phase.COMPUTE.name.lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class Hang:
    """A rank that hung, and what it was at."""

    rank: int
    step: int
    phase: str
    silent_s: float

    def describe(self) -> str:
        """Say it in a sentence."""
        return (
            f"rank {self.rank} hung: in {self.phase} after step {self.step}, silent for {self.silent_s:.0f} s"
        )


def find_hang(states: Iterable[RankState], *, timeout_s: float) -> Hang | None:
    """Return the rank that the others wait for, once any rank was silent for `timeout_s`.

    In a collective all ranks fall silent, so the longest silence proves little: the one that hangs is the
    one that never got there, which is outside `compute` with the lowest step. Ranks that have been silent for
    less than half the limit are at work.
    """
    states = tuple(states)
    if not any(state.silent_s > timeout_s for state in states):
        return None
    silent = [state for state in states if state.silent_s > timeout_s / 2]
    hung = min(silent, key=lambda state: (state.phase == _COMPUTE, state.step, state.rank))
    return Hang(rank=hung.rank, step=hung.step, phase=hung.phase, silent_s=hung.silent_s)


_START = Phase.START.name.lower()
# The furthest rank may be inside the next step already and must see the request before its end; and what it
# says is how many steps it has handed to its device, of which a GPU's host may hand over one more than usual
# in the time that the request takes.
BEYOND = 3


def is_computing(states: Iterable[RankState]) -> bool:
    """Say whether any rank has got beyond its start, so that there may be something to save."""
    return any(state.recorded and state.phase != _START for state in states)


def choose_stop_step(states: Iterable[RankState], *, steps_per_s: float, lead_s: float) -> int:
    """Return the step after which all ranks are to stop.

    Three beyond the furthest rank, and as many more as ranks take while the request travels: a rank that
    passed the step before it saw the request would wait in a collective for peers that have stopped.

    Args:
        states: Of all ranks, fresh.
        steps_per_s: How fast they go, or 0 while unknown.
        lead_s: Time that the request may take to reach every rank.
    """
    furthest = max((state.step for state in states), default=0)
    return furthest + BEYOND + math.ceil(max(0.0, steps_per_s) * lead_s)


class Speedometer:
    """Measures the steps per second of the furthest rank between reports."""

    def __init__(self) -> None:
        self.steps_per_s = 0.0
        self._step = 0
        self._at_s: float | None = None

    def take(self, states: Iterable[RankState], *, now_s: float) -> None:
        """Take a report; ones that follow within a tenth of a second are put together."""
        step = max((state.step for state in states if state.recorded), default=None)
        if step is None:
            return
        if self._at_s is None:
            self._step, self._at_s = step, now_s
        # A report of a node that is behind another one says nothing, and a tenth of a second is too short.
        elif now_s - self._at_s >= 0.1 and step >= self._step:
            self.steps_per_s = (step - self._step) / (now_s - self._at_s)
            self._step, self._at_s = step, now_s
