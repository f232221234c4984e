"""One start of a pod: its process, the pipe that it writes to, its log."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from launcher.backends.supervised.identity import identify
from launcher.backends.supervised.kubelet import Container
from launcher.backends.supervised.output import Output

_LAST_WORDS_S = 2.0  # what a killed process group has in the pipe is there at once


class ProcessContainer(Container):
    """A process that leads a session of its own. It is not reaped before its group is dead."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: int, *, log: Path) -> None:
        self._process = process
        self.output = Output(pipe, log=log)
        self.process = identify(process.pid)

    def has_ended(self) -> bool:
        """Say whether its process has ended; that it stays a zombie keeps its pid from being used again."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def stop(self) -> None:
        """Ask the process to end, as the kubelet asks a container's first one."""
        os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> int:
        """End what is left of a process that has ended, and return a container's exit code: 128 + signal."""
        self.kill()
        self.output.drain(within_s=_LAST_WORDS_S)
        self.output.close()
        code = self._process.wait()
        return 128 - code if code < 0 else code
