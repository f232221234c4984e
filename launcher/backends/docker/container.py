"""One start of a pod in an engine: its container, the stream of its output, its log."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from launcher.backends.docker.engine import Engine, EngineError
from launcher.backends.supervised.identity import identify
from launcher.backends.supervised.kubelet import Container
from launcher.backends.supervised.output import Output
from launcher.errors import LaunchError, UnreachableError
from trainer.protocol.children import start_child_into

_LAST_WORDS_S = 5.0
_ASK_AGAIN_S = 1.0
_GONE = 137  # as the training operator counts a pod that was deleted
_STATE = "{{.State.Status}} {{.State.ExitCode}}"
_ENDED = ("exited", "dead", "stopped")  # the last is Podman's, of a container that it has not cleaned up yet


class EngineContainer(Container):
    """A container that has been started, and a `logs --follow` that shows its output from the beginning."""

    def __init__(self, engine: Engine, name: str, *, log: Path, known_bytes: int = 0) -> None:
        """`known_bytes` of its output are in the log already."""
        self._engine = engine
        self._name = name
        self._ask_at_s = 0.0
        self._exit_code: int | None = None
        # Its writing end stays ours: the stream may end before the container does, and is then begun again.
        reading, self._writing = os.pipe()
        self.output = Output(reading, log=log, known_bytes=known_bytes)
        self._follow()

    def has_ended(self) -> bool:
        """Say whether the container has ended: its stream has, and the engine says so.

        The stream ends with the engine, too; where the container lives on, it is followed again.
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
        if status in _ENDED:
            self._exit_code = int(code)
            return True
        self._follow()
        return False

    def stop(self) -> None:
        """Send SIGTERM to the container's first process."""
        self._signal("TERM")

    def kill(self) -> None:
        """Send SIGKILL."""
        self._signal("KILL")

    def close(self) -> int:
        """See `Container.close`."""
        self._process.wait()
        os.close(self._writing)
        self.output.drain(within_s=_LAST_WORDS_S)
        self.output.close()
        return self._exit_code if self._exit_code is not None else _GONE

    def _signal(self, name: str) -> None:
        with contextlib.suppress(LaunchError):  # it has ended; or the next look finds that out
            self._engine.run("kill", "--signal", name, self._name)

    def _follow(self) -> None:
        self.output.begin_again()
        self._process = start_child_into(
            self._writing, [self._engine.program, "logs", "--follow", self._name],
            env=self._engine.environment(),
        )  # fmt: skip
        self.process = None
        with contextlib.suppress(ProcessLookupError):
            self.process = identify(self._process.pid)
