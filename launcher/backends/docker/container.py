"""One start of a pod in an engine: its container, the stream of its output, its log."""

from __future__ import annotations

import contextlib
import os
import select
import time
from pathlib import Path

from launcher.backends.docker.engine import Engine, EngineError
from launcher.backends.kept.identity import identify
from launcher.backends.kept.kubelet import Container
from launcher.backends.kept.podlog import PodLog
from launcher.errors import LaunchError, UnreachableError
from trainer.protocol.children import start_child

_READ_BYTES = 1 << 16
_LAST_WORDS_S = 5.0
_ASK_AGAIN_S = 1.0
_GONE = 137  # as the training operator counts a pod that was deleted
_STATE = "{{.State.Status}} {{.State.ExitCode}}"


class EngineContainer(Container):
    """A container that has been started, and a `logs --follow` that shows its output from the beginning."""

    def __init__(self, engine: Engine, name: str, *, log: Path) -> None:
        self._engine = engine
        self._name = name
        self._log = PodLog(log)
        self._taken_bytes = 0
        self._skip_bytes = 0
        self._ask_at_s = 0.0
        self._exit_code: int | None = None
        self._follow()

    @property
    def lost_bytes(self) -> int:
        """Bytes of the log that could not be written."""
        return self._log.lost_bytes

    def has_ended(self) -> bool:
        """Say whether the container has ended: its stream has, and the engine says so.

        The stream ends with the engine, too; then it is followed again from where it was cut.
        """
        if self._process.poll() is None or time.monotonic() < self._ask_at_s:
            return False
        self._ask_at_s = time.monotonic() + _ASK_AGAIN_S
        try:
            status, code = self._engine.run("inspect", "--format", _STATE, self._name).split()
        except UnreachableError:
            return False
        except EngineError:  # removed by somebody
            self._exit_code = _GONE
            return True
        if status in ("exited", "dead"):
            self._exit_code = int(code)
            return True
        return False

    def read(self) -> bool:
        """Move output to the log; False at its end."""
        try:
            data = os.read(self.pipe, _READ_BYTES)
        except BlockingIOError:
            return True
        fresh = data[self._skip_bytes :]
        self._skip_bytes -= len(data) - len(fresh)
        self._taken_bytes += len(fresh)
        self._log.take(fresh)
        return bool(data)

    def stop(self) -> None:
        """Send SIGTERM to the container's first process."""
        self._signal("TERM")

    def kill(self) -> None:
        """Send SIGKILL."""
        self._signal("KILL")

    def close(self) -> int:
        """See `Container.close`."""
        until_s = time.monotonic() + _LAST_WORDS_S
        while (left_s := until_s - time.monotonic()) > 0:
            ready, _, _ = select.select([self.pipe], [], [], left_s)
            if not ready or not self.read():
                break
        os.close(self.pipe)
        self._log.close()
        self._process.wait()
        return self._exit_code if self._exit_code is not None else _GONE

    def _signal(self, name: str) -> None:
        with contextlib.suppress(LaunchError):  # it has ended; or the next look finds that out
            self._engine.run("kill", "--signal", name, self._name)

    def _follow(self) -> None:
        self._process, self.pipe = start_child(
            [self._engine.program, "logs", "--follow", self._name], env=self._engine.environment()
        )
        os.set_blocking(self.pipe, False)
        with contextlib.suppress(ProcessLookupError):
            self.process = identify(self._process.pid)
