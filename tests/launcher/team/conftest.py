from __future__ import annotations

from collections.abc import Callable

import pytest

from launcher.backends.base import Submission
from launcher.backends.kubernetes import KubernetesBackend
from launcher.backends.kubernetes import backend as backend_module
from launcher.names import QUEUE_LABEL, SUBMITTED_BY
from launcher.plan.handle import Handle
from launcher.render.manifest import parse_manifest
from tests.fakes.cluster import FakeCluster
from tests.launcher.kube.conftest import manifest_text

Submit = Callable[..., Handle]


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(namespace="ml")


@pytest.fixture
def submit(cluster: FakeCluster, tmp_path, monkeypatch) -> Submit:
    """Let a user have submitted a job of so many pods with so many GPUs each, which commands then see."""
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    count = 0

    def connect(cls, *, context=None, namespace=None, kubeconfig=None, jobs=backend_module.DEFAULT):
        return cls(cluster, cluster, namespace=namespace or "ml", context="fake", jobs=jobs)

    monkeypatch.setattr(KubernetesBackend, "connect", classmethod(connect))

    def make(
        name: str, *, user: str = "", gpus: int = 0, nodes: int = 1, queue: str = "", namespace: str = "ml",
        resource: str = "nvidia.com/gpu", held: bool = False,
    ) -> Handle:  # fmt: skip
        nonlocal count
        count += 1
        policy = {"suspend": True} if held else {}
        manifest = parse_manifest(manifest_text(name=name, run_id=f"{count:032x}", nodes=nodes, **policy))
        metadata = manifest.job["metadata"]
        if user:
            metadata["annotations"] = {SUBMITTED_BY: user}
        if queue:
            metadata["labels"][QUEUE_LABEL] = queue
        if gpus:
            asked = {resource: str(gpus)}
            manifest.pod_spec["containers"][0]["resources"] = {"requests": asked, "limits": asked}
        cluster.allow_namespace(namespace)
        backend = KubernetesBackend(cluster, cluster, namespace=namespace, context="fake")
        return backend.submit(Submission(manifest=manifest, run_folder=tmp_path / name, workdir=tmp_path))

    return make
