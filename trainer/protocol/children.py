"""Starts a child whose life is tied to its parent's: a rank of its node process, a pod of its supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from trainer.protocol import parent_death_signal


def start_child(
    command: Sequence[str], *, env: Mapping[str, str], workdir: str | None = None
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a command in a session of its own, so that a terminal's Ctrl-C reaches it only by its parent.

    Args:
        command: Program and arguments.
        env: Its whole environment.
        workdir: None for the parent's.

    Returns:
        The process, and the reading end of the pipe that its stdout and stderr share.

    Raises:
        OSError: The process could not be made.
    """
    reading, writing = os.pipe()
    try:
        process = start_child_into(writing, command, env=env, workdir=workdir)
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return process, reading


def start_child_into(
    output: int, command: Sequence[str], *, env: Mapping[str, str], workdir: str | None = None,
    pass_fds: Sequence[int] = (), stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:  # fmt: skip
    """Start a command whose stdout and stderr go to a file descriptor; else as `start_child`.

    `pass_fds` are descriptors that the child has under the same numbers; `stdin` is as for `Popen`.

    Raises:
        OSError: The process could not be made.
    """
    return subprocess.Popen(
        [sys.executable, "-I", "-S", parent_death_signal.__file__, str(os.getpid()), *command], cwd=workdir,
        stdin=stdin, stdout=output, stderr=output, env=dict(env), start_new_session=True,
        pass_fds=pass_fds,
    )  # fmt: skip
