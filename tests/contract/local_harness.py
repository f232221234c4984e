"""The local backend, whose pods run `actor.py`: a program that obeys a test through files."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from launcher.backends.local import LocalBackend
from launcher.errors import NotFoundError
from launcher.plan.handle import Handle
from tests.contract.harness import BackendUnderTest
from trainer.protocol.termination import Termination, format_termination

ACTOR = Path(__file__).with_name("actor.py")


class LocalUnderTest(BackendUnderTest):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs_dir = folder / "runs"
        self.stage = folder / "stage"
        self.stage.mkdir()
        self.backend = LocalBackend(self.runs_dir, gpus=tuple)
        self._said: dict[str, int] = {}

    def command(self) -> list[str]:
        return [sys.executable, "-S", str(ACTOR), str(self.stage)]

    def run_pods(self, handle: Handle) -> None:
        for pod in self.backend.status(handle).pods:
            inbox = self.stage / f"{pod.pod}.{pod.restarts}"
            self.wait_for(inbox.is_dir, what=f"{pod.pod} to run")

    def say(self, handle: Handle, node: int, data: bytes) -> None:
        inbox = self._inbox(f"{handle.job}-worker-{node}")
        number = self._said[str(inbox)] = self._said.get(str(inbox), 0) + 1
        self._put(inbox / f"{number:06d}.say", data)
        self.wait_for(lambda: not (inbox / f"{number:06d}.say").exists(), what="the pod to write")

    def finish(self, handle: Handle, node: int, exit_code: int, *, reason: str = "") -> None:
        words = format_termination(Termination(exit=exit_code, attempt=1, reason=reason)) if reason else b""
        self.finish_with(handle, node, exit_code, words=words)

    def finish_with(self, handle: Handle, node: int, exit_code: int, *, words: bytes) -> None:
        """End a pod that leaves these bytes as its termination message."""
        inbox = self._inbox(f"{handle.job}-worker-{node}")
        self._put(inbox / "words", words)
        self._put(inbox / "999999.exit", str(exit_code).encode())

    def end_pods(self, handle: Handle) -> None:
        """SIGTERM ends the actor."""

    def close(self) -> None:
        for status in self.backend.list_jobs():
            with contextlib.suppress(NotFoundError):
                self.backend.delete(status.handle)

    def _inbox(self, pod: str) -> Path:
        """Return the folder of the pod's newest restart."""
        found = sorted(self.stage.glob(f"{pod}.*"), key=lambda path: int(path.suffix[1:]))
        return found[-1] if found else self.stage / f"{pod}.none"

    @staticmethod
    def _put(path: Path, data: bytes) -> None:
        partial = path.with_suffix(".tmp")
        partial.write_bytes(data)
        partial.replace(path)
