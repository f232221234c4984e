"""Runs as a script between fork and exec of a child: ties its life to its parent's, then becomes it.

The local backend's supervisor starts node processes through it, a node process its ranks.

    python -I -S parent_death_signal.py PARENT_PID COMMAND ARGUMENT…

A program of its own rather than `preexec_fn`, which is not safe in a process that has threads (the event
loop resolves names in one). PR_SET_PDEATHSIG survives exec, prctl(2).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Ask for SIGKILL at the parent's death, and exec the child."""
    parent, command = int(argv[1]), argv[2:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{command[0]}: expected a program that runs, got: {error.strerror}\n")
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv)
