"""The Kubernetes backend over the cluster in memory, whose kubelet a test plays."""

from __future__ import annotations

from pathlib import Path

from launcher.backends.kubernetes import KubernetesBackend
from launcher.kinds.base import JobKind
from launcher.kinds.registry import PADDLE_JOB
from launcher.plan.handle import Handle
from tests.contract.harness import BackendUnderTest
from tests.fakes.cluster import FakeCluster
from tests.fakes.log_client import FakeLogClient
from trainer.protocol.termination import Termination


class KubernetesUnderTest(BackendUnderTest):
    def __init__(self, folder: Path, kind: JobKind = PADDLE_JOB) -> None:
        self.folder, self.kind = folder, kind
        self.cluster = FakeCluster(namespace="ml")
        self.backend = KubernetesBackend(
            self.cluster, self.cluster, namespace="ml", context="fake", jobs=kind, pause=lambda _: None
        )
        self.backend.make_async_client = lambda: FakeLogClient(self.cluster)

    def command(self) -> list[str]:
        return ["python", "-m", "trainer.node"]

    def run_pods(self, handle: Handle) -> None:
        for pod in self.backend.status(handle).pods:
            if pod.state.value == "Pending":
                self.cluster.start_pod(pod.pod)
        self.cluster.pass_time(1)

    def say(self, handle: Handle, node: int, data: bytes) -> None:
        self.cluster.write_log(self.pod(handle, node), data)

    def finish(self, handle: Handle, node: int, exit_code: int, *, reason: str = "") -> None:
        words = Termination(exit=exit_code, attempt=1, reason=reason) if reason else ""
        self.cluster.finish_pod(self.pod(handle, node), exit_code, words)

    def end_pods(self, handle: Handle) -> None:
        for name in self.cluster.names("pods"):
            if self.kind.is_name_of(name, job=handle.job) and self.cluster.runs(name):
                self.cluster.finish_pod(name, 143)

    def close(self) -> None:
        """There is nothing outside of this process."""
