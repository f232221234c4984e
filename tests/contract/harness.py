"""What the contract suite needs of a backend: a way to submit jobs whose pods do what a test wants."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from launcher.backends.base import Backend, Submission
from launcher.backends.states import JobStatus
from launcher.logs.source import Container, End, LogRequest, Snapshot
from launcher.names import RUN_ID_LABEL
from launcher.plan.handle import Handle
from launcher.render.manifest import parse_manifest

RUN_ID, OTHER_RUN_ID = "0123456789abcdef" * 2, "fedcba9876543210" * 2
T = TypeVar("T")


def manifest_text(*, name: str, run_id: str, nodes: int, command: list[str]) -> str:
    """Write the smallest manifest that every backend takes."""
    metadata = {"name": name, "labels": {RUN_ID_LABEL: run_id}}
    container: dict[str, Any] = {"name": "paddle", "image": "registry.example/trainer:1", "command": command}
    config_map = {
        "apiVersion": "v1", "kind": "ConfigMap", "immutable": True,
        "metadata": {**metadata, "name": f"{name}-config"}, "data": {"cfg.yaml": "Global: {}\n"},
    }  # fmt: skip
    template = {
        "metadata": {"labels": {RUN_ID_LABEL: run_id}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 20},
    }
    worker = {"replicas": nodes, "restartPolicy": "ExitCode", "template": template}
    job = {
        "apiVersion": "kubeflow.org/v1", "kind": "PaddleJob", "metadata": metadata,
        "spec": {"runPolicy": {"cleanPodPolicy": "None"}, "paddleReplicaSpecs": {"Worker": worker}},
    }  # fmt: skip
    return str(yaml.safe_dump_all([config_map, job], sort_keys=False))


class BackendUnderTest(ABC):
    """One backend and the place that its pods run in; a test plays the pods' programs.

    Attributes:
        backend: What is tested.
        folder: Empty at first.
    """

    backend: Backend
    folder: Path

    def submission(self, *, name: str = "flowers", run_id: str = RUN_ID, nodes: int = 2) -> Submission:
        text = manifest_text(name=name, run_id=run_id, nodes=nodes, command=self.command())
        run_folder = self.folder / "runs" / name
        run_folder.mkdir(parents=True, exist_ok=True)
        (run_folder / "manifest.yaml").write_text(text)
        return Submission(manifest=parse_manifest(text), run_folder=run_folder, workdir=self.folder)

    def submit(self, **changes: Any) -> Handle:
        """Submit and let all pods run."""
        submission = self.submission(**changes)
        handle = self.backend.submit(submission)
        self.run_pods(handle)
        return handle

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command of the pods."""

    @abstractmethod
    def run_pods(self, handle: Handle) -> None:
        """Return once all pods of a job run that should."""

    @abstractmethod
    def say(self, handle: Handle, node: int, data: bytes) -> None:
        """Let a pod write."""

    @abstractmethod
    def finish(self, handle: Handle, node: int, exit_code: int, *, reason: str = "") -> None:
        """Let a pod end; with a reason it leaves its last words."""

    @abstractmethod
    def end_pods(self, handle: Handle) -> None:
        """Let all pods obey that were told to stop."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind."""

    def wait_for(self, fact: Callable[[], T], *, what: str, timeout_s: float = 20.0) -> T:
        """Return the first true value of `fact`."""
        until_s = time.monotonic() + timeout_s
        while not (value := fact()):
            assert time.monotonic() < until_s, f"expected {what} within {timeout_s} s"
            time.sleep(0.01)
        return value

    def reaches(self, handle: Handle, fact: Callable[[JobStatus], bool], *, what: str) -> JobStatus:
        """Return the first status of which `fact` holds."""
        last: list[JobStatus] = []

        def look() -> bool:
            last[:] = [self.backend.status(handle)]
            return fact(last[0])

        self.wait_for(look, what=what)
        return last[0]

    def snapshot(self, handle: Handle) -> Snapshot:
        """Return what following a job's logs would see now."""
        return asyncio.run(self.backend.log_source(handle).snapshot())

    def containers(self, handle: Handle) -> list[Container]:
        """Return the containers whose logs can be read now, by node and in their order."""
        return [
            container
            for pod in self.snapshot(handle).pods
            for container in (*pod.earlier, *([pod.container] if pod.has_started else []))
        ]

    def log(self, handle: Handle, container: Container, **options: Any) -> bytes:
        """Return a container's log as it is now: lines of `RFC3339Nano text`."""
        receiver = Collector()

        async def read() -> None:
            source = self.backend.log_source(handle)
            response = source.open(LogRequest(container=container, **options), receiver)
            while receiver.result is None:
                await asyncio.sleep(0.005)
            response.close()

        asyncio.run(asyncio.wait_for(read(), 20.0))
        assert receiver.result == End(), receiver.result
        return receiver.data

    def text(self, handle: Handle, container: Container) -> str:
        """Return a log's text without times."""
        lines = self.log(handle, container).decode().splitlines()
        return "\n".join(line.partition(" ")[2] for line in lines)


class Collector:
    """Receives an answer as it is. A `Receiver`."""

    def __init__(self) -> None:
        self.data = b""
        self.has_begun = False
        self.result: End | None = None

    def begin(self) -> None:
        self.has_begun = True

    def take(self, piece: bytes) -> None:
        self.data += piece

    def end(self, end: End) -> None:
        self.result = end
