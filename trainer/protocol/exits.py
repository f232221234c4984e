"""Exit codes of the trainer and of the node process."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How a trainer or node process ended.

    Under the restart policy `ExitCode` the training operator recreates a pod that exits with 128 or more and
    fails the job for 1 to 127 (kubeflow/training-operator v1.9.3, pkg/controller.v1/common/pod.go), so
    143 is the only code above 127 that a node process may use.
    """

    DONE = 0
    INTERNAL = 1
    CONFIG = 2
    DATA = 3
    DIVERGED = 4
    CHECKPOINT = 5
    NOT_BETTER = 7
    ATTEMPTS_USED_UP = 20
    RENDEZVOUS = 21
    HUNG_RANK = 22
    DEADLINE = 23
    STOP_IF = 24
    INTERRUPTED = 130
    STOPPED = 143


MEANINGS: dict[Exit, str] = {
    Exit.DONE: "done",
    Exit.INTERNAL: "internal error",
    Exit.CONFIG: "the config was refused",
    Exit.DATA: "the data was refused",
    Exit.DIVERGED: "the loss is no longer a number",
    Exit.CHECKPOINT: "a checkpoint or the output folder failed",
    Exit.NOT_BETTER: "what was looked at has a problem, or is no better",
    Exit.ATTEMPTS_USED_UP: "all attempts are used up",
    Exit.RENDEZVOUS: "the nodes did not find each other",
    Exit.HUNG_RANK: "a rank hung",
    Exit.DEADLINE: "the deadline passed",
    Exit.STOP_IF: "what Launch.stop_if names came true",
    Exit.INTERRUPTED: "interrupted",
    Exit.STOPPED: "stopped after saving",
}

DETERMINISTIC = frozenset({Exit.CONFIG, Exit.DATA})
"""Codes that another attempt would only repeat."""


def describe_exit(code: int) -> str:
    """Say in a few words what an exit code means, signals included (128 + n, or Popen's -n)."""
    if code in set(Exit):
        return MEANINGS[Exit(code)]
    number = -code if code < 0 else code - 128
    return f"killed by signal {number}" if 0 < number < 65 else f"exit code {code}"
