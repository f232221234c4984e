"""Which of the ranks that failed together is the one that failed first. Pure."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from trainer.node.attempts import Failure, Kind
from trainer.node.messages import Exited
from trainer.protocol.exits import Exit, describe_exit


def choose_culprit(exits: Iterable[Exited], *, stopping: bool) -> Failure | None:
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
    culprit = min(failed, key=_precedence)  # min takes the first of equals
    return Failure(
        kind=Kind.RANK,
        rank=culprit.rank,
        code=culprit.code,
        reason=culprit.reason or describe_exit(culprit.code),
        step=culprit.step,
        checkpoint=culprit.checkpoint,
    )


def describe_exited(exited: Exited) -> str:
    """Say how a rank ended."""
    said = f": {exited.reason}" if exited.reason else ""
    number = f" ({exited.code})" if exited.code > 0 else ""
    at = f" after step {exited.step}" if exited.step is not None else ""
    return f"rank {exited.rank} ended{at}, {describe_exit(exited.code)}{number}{said}"


def _precedence(exited: Exited) -> int:
    if exited.code in (Exit.CONFIG, Exit.DATA, Exit.DIVERGED, Exit.CHECKPOINT):
        return 0
    if exited.code < 0 and exited.code != -signal.SIGABRT:
        return 1
    return 2 if exited.reason is not None else 3
