"""What a node does to its pods, as told by a test, and the logs that it keeps."""

from __future__ import annotations

from typing import Any

from tests.fakes.admission import RefusalError
from tests.fakes.store import KubeObject, ObjectStore
from trainer.protocol.termination import Termination, format_termination


class Kubelet:
    """Plays the first container of each pod."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._logs: dict[str, bytearray] = {}
        self._nanoseconds = 0

    def hold(self, pod: KubeObject, *, reason: str, message: str) -> None:
        """Let the container wait, as for an image that does not come."""
        assert pod["status"]["phase"] == "Pending", f"expected a pending pod, got {pod['status']['phase']}"
        self._set(pod, "Pending", {"waiting": {"reason": reason, "message": message}})

    def start(self, pod: KubeObject) -> None:
        assert pod["status"]["phase"] == "Pending", f"expected a pending pod, got {pod['status']['phase']}"
        self._set(pod, "Running", {"running": {"startedAt": self._store.now_text()}})
        self._logs[pod["metadata"]["uid"]] = bytearray()

    def write(self, pod: KubeObject, data: bytes) -> None:
        """Append to the container's log; a line gets its time where it begins."""
        assert pod["status"]["phase"] == "Running", f"expected a running pod, got {pod['status']['phase']}"
        log = self._logs[pod["metadata"]["uid"]]
        for line in _lines(data):
            if not log or log.endswith(b"\n"):
                log += f"{self._store.now_text()[:-1]}.{self._tick():09d}Z ".encode()
            log += line

    def finish(self, pod: KubeObject, *, exit_code: int, termination: Termination | str, reason: str) -> None:
        assert pod["status"]["phase"] == "Running", f"expected a running pod, got {pod['status']['phase']}"
        message = termination if isinstance(termination, str) else format_termination(termination).decode()
        started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        ended: dict[str, Any] = {
            "exitCode": exit_code, "reason": reason or ("Error" if exit_code else "Completed"),
            "startedAt": started, "finishedAt": self._store.now_text(),
        }  # fmt: skip
        if message:
            ended["message"] = message
        self._set(pod, "Failed" if exit_code else "Succeeded", {"terminated": ended})

    def read(self, pod: KubeObject, *, container: str, previous: bool, tail_lines: int | None) -> bytes:
        name = pod["metadata"]["name"]
        if container != pod["spec"]["containers"][0]["name"]:
            raise RefusalError(400, "BadRequest", f"container {container} is not valid for pod {name}")
        what = f'container "{container}" in pod "{name}"'
        if previous:  # ExitCode means that nothing is ever restarted in place
            raise RefusalError(400, "BadRequest", f"previous terminated {what} not found")
        log = self._logs.get(pod["metadata"]["uid"])
        if log is None:
            raise RefusalError(400, "BadRequest", f"{what} is waiting to start: ContainerCreating")
        lines = _lines(bytes(log))
        return b"".join(lines if tail_lines is None else lines[-tail_lines:])

    def _set(self, pod: KubeObject, phase: str, state: KubeObject) -> None:
        pod["status"]["phase"] = phase
        pod["spec"].setdefault("nodeName", "n1")
        pod["status"]["containerStatuses"] = [
            {"name": pod["spec"]["containers"][0]["name"], "restartCount": 0, "state": state}
        ]

    def _tick(self) -> int:
        self._nanoseconds += 1
        return self._nanoseconds


def _lines(data: bytes) -> list[bytes]:
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
