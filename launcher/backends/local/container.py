"""One start of a pod: its process, the pipe that it writes to, its log."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from pathlib import Path

from launcher.backends.kept.identity import identify
from launcher.backends.kept.kubelet import Container
from launcher.backends.kept.podlog import PodLog

_READ_BYTES = 1 << 16
_LAST_WORDS_S = 2.0  # what a killed process group has in the pipe is there at once


class ProcessContainer(Container):
    """A process that leads a session of its own. It is not reaped before its group is dead."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: int, *, log: Path) -> None:
        os.set_blocking(pipe, False)
        self._process = process
        self._log = PodLog(log)
        self.pipe = pipe
        self.process = identify(process.pid)

    @property
    def lost_bytes(self) -> int:
        """Bytes of the log that could not be written."""
        return self._log.lost_bytes

    def has_ended(self) -> bool:
        """Say whether its process has ended; that it stays a zombie keeps its pid from being used again."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def read(self) -> bool:
        """Move output to the log; False at its end."""
        try:
            data = os.read(self.pipe, _READ_BYTES)
        except BlockingIOError:
            return True
        self._log.take(data)
        return bool(data)

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
        until_s = time.monotonic() + _LAST_WORDS_S
        while (left_s := until_s - time.monotonic()) > 0:
            ready, _, _ = select.select([self.pipe], [], [], left_s)
            if not ready or not self.read():
                break
        os.close(self.pipe)
        self._log.close()
        code = self._process.wait()
        return 128 - code if code < 0 else code
