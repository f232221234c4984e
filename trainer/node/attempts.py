"""What follows a failed attempt: another one after a pause, or the end. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from trainer.protocol.exits import DETERMINISTIC, Exit, describe_exit

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
    """Seconds to wait after `attempts` attempts that failed."""
    return min(backoff_s * 2.0 ** min(max(0, attempts - 1), 30), max(backoff_s, MAX_PAUSE_S))


def _own_exit(failure: Failure) -> Exit:
    # A death by signal, 143 included, is never passed on: it would make the operator recreate the pod.
    return Exit(failure.code) if failure.code in _PASSED_ON else Exit.ATTEMPTS_USED_UP
