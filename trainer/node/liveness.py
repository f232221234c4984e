"""Which rank hangs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trainer.node.messages import RankState
from trainer.protocol.heartbeat import Phase

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

    In a collective all ranks fall silent, so the longest silence proves little: the culprit is the one that
    never got there, which is outside `compute` with the lowest step. Ranks that have been silent for less
    than half the limit are at work.
    """
    states = tuple(states)
    if not any(state.silent_s > timeout_s for state in states):
        return None
    silent = [state for state in states if state.silent_s > timeout_s / 2]
    culprit = min(silent, key=lambda state: (state.phase == _COMPUTE, state.step, state.rank))
    return Hang(rank=culprit.rank, step=culprit.step, phase=culprit.phase, silent_s=culprit.silent_s)
