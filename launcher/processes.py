"""Ending a program with all that it has started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """End a program that was started with `start_new_session`, and what it has started, and wait for it.

    By the session's process group; on Windows, which has none, by the parents that `taskkill` knows.
    """
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        with contextlib.suppress(OSError):
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False
            )
        with contextlib.suppress(OSError):
            process.kill()  # where that program is not there; a process that has ended is no error
    process.wait()
