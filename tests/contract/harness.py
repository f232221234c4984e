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
from launcher.kinds.base import JobKind
from launcher.kinds.registry import DEFAULT, PADDLE_JOB
from launcher.logs.source import Container, End, LogRequest, Snapshot
from launcher.names import RUN_ID_LABEL, KindName
from launcher.plan.handle import Handle
from launcher.render.manifest import parse_manifest

RUN_ID, OTHER_RUN_ID = "0123456789abcdef" * 2, "fedcba9876543210" * 2
T = TypeVar("T")


def manifest_text(*, name: str, run_id: str, nodes: int, command: list[str], kind: JobKind = DEFAULT) -> str:
    """Write the smallest manifest of a kind that every backend takes."""
    labels = {RUN_ID_LABEL: run_id}
    container: dict[str, Any] = {
        "name": kind.container, "image": "registry.example/trainer:1", "command": command
    }  # fmt: skip
    config_map = {
        "apiVersion": "v1", "kind": "ConfigMap", "immutable": True,
        "metadata": {"name": f"{name}-config", "labels": labels}, "data": {"cfg.yaml": "Global: {}\n"},
    }  # fmt: skip
    template = {
        "metadata": {"labels": labels},
        "spec": {
            "containers": [container], "terminationGracePeriodSeconds": 20, **kind.pod_fields(name),
        },
    }  # fmt: skip
    objects = ENVELOPES[kind.name](template, nodes, kind.container, name)
    for document, resource in zip(objects, (*kind.companions, kind.resource), strict=True):
        document |= {
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": {"name": name, "labels": labels},
        }  # fmt: skip
    return str(yaml.safe_dump_all([config_map, *objects], sort_keys=False))


def _wrap_paddlejob(template: Any, nodes: int, container: str, name: str) -> list[Any]:
    del container, name
    worker = {"replicas": nodes, "restartPolicy": "ExitCode", "template": template}
    return [{"spec": {"runPolicy": {"cleanPodPolicy": "None"}, "paddleReplicaSpecs": {"Worker": worker}}}]


def _job_spec(template: Any, nodes: int, container: str) -> Any:
    codes = {"containerName": container, "values": [137, 143]}
    rules = [
        {"action": "Ignore", "onExitCodes": {**codes, "operator": "In"}},
        {"action": "FailIndex", "onExitCodes": {**codes, "operator": "NotIn"}},
    ]
    return {
        "completionMode": "Indexed", "completions": nodes, "parallelism": nodes,
        "backoffLimitPerIndex": 1000000, "podFailurePolicy": {"rules": rules}, "template": template,
    }  # fmt: skip


def _wrap_job(template: Any, nodes: int, container: str, name: str) -> list[Any]:
    service = {
        "spec": {
            "clusterIP": "None", "publishNotReadyAddresses": True,
            "selector": {"batch.kubernetes.io/job-name": name},
        }
    }  # fmt: skip
    return [service, {"spec": _job_spec(template, nodes, container)}]


def _wrap_set(template: Any, nodes: int, container: str, *, sized: bool) -> Any:
    spec = _job_spec(template, nodes, container)
    if not sized:
        del spec["completions"], spec["parallelism"]
    return {"replicatedJobs": [{"name": "node", "replicas": 1, "template": {"spec": spec}}]}


def _wrap_jobset(template: Any, nodes: int, container: str, name: str) -> list[Any]:
    del name
    return [{"spec": _wrap_set(template, nodes, container, sized=True)}]


def _wrap_trainjob(template: Any, nodes: int, container: str, name: str) -> list[Any]:
    runtime = {
        "mlPolicy": {"numNodes": nodes},
        "template": {"spec": _wrap_set(template, nodes, container, sized=False)},
    }
    reference = {"apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": name}
    return [{"spec": runtime}, {"spec": {"runtimeRef": reference, "trainer": {"numNodes": nodes}}}]


ENVELOPES: dict[KindName, Callable[[Any, int, str, str], list[Any]]] = {
    "paddlejob": _wrap_paddlejob, "jobset": _wrap_jobset, "job": _wrap_job, "trainjob": _wrap_trainjob,
}  # fmt: skip
"""What a kind puts around the pod template: the objects beside the job, then the job."""


class BackendUnderTest(ABC):
    """One backend and the place that its pods run in; a test plays the pods' programs.

    Attributes:
        backend: What is tested.
        folder: Empty at first.
        kind: Of the jobs.
    """

    backend: Backend
    folder: Path
    kind: JobKind = PADDLE_JOB

    def submission(self, *, name: str = "flowers", run_id: str = RUN_ID, nodes: int = 2) -> Submission:
        text = manifest_text(name=name, run_id=run_id, nodes=nodes, command=self.command(), kind=self.kind)
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

    def pod(self, handle: Handle, node: int) -> str:
        """Return the name of a node's present pod."""
        return next(pod.pod for pod in self.backend.status(handle).pods if pod.node == node)

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
