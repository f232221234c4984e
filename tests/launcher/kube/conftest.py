from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.backends.base import Submission
from launcher.backends.kubernetes import KubernetesBackend
from launcher.names import RUN_ID_LABEL
from launcher.render.manifest import parse_manifest
from tests.fakes.cluster import FakeCluster

RUN_ID = "0123456789abcdef" * 2

NewSubmission = Callable[..., Submission]


def manifest_text(*, name: str, run_id: str, nodes: int, **run_policy: Any) -> str:
    metadata = {"name": name, "labels": {RUN_ID_LABEL: run_id}}
    container = {
        "name": "paddle", "image": "registry.example/ftlaunch-trainer:1",
        "command": ["python", "-m", "trainer.node", "--", "train", "-c", "/etc/ftlaunch/cfg.yaml"],
        "env": [{"name": "PADDLE_NNODES", "value": "9"}],
    }  # fmt: skip
    config_map = {
        "apiVersion": "v1", "kind": "ConfigMap", "immutable": True,
        "metadata": {**metadata, "name": f"{name}-config"}, "data": {"cfg.yaml": "Global: {}\n"},
    }  # fmt: skip
    worker = {
        "replicas": nodes, "restartPolicy": "ExitCode",
        "template": {"metadata": {"labels": {RUN_ID_LABEL: run_id}}, "spec": {"containers": [container]}},
    }  # fmt: skip
    job = {
        "apiVersion": "kubeflow.org/v1", "kind": "PaddleJob", "metadata": metadata,
        "spec": {
            "runPolicy": {"cleanPodPolicy": "None", **run_policy}, "paddleReplicaSpecs": {"Worker": worker},
        },
    }  # fmt: skip
    return str(yaml.safe_dump_all([config_map, job]))


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(namespace="ml")


@pytest.fixture
def pauses() -> list[float]:
    """How long the backend has waited between tries."""
    return []


@pytest.fixture
def backend(cluster: FakeCluster, pauses: list[float]) -> KubernetesBackend:
    return KubernetesBackend(cluster, cluster, namespace="ml", context="fake", pause=pauses.append)


@pytest.fixture
def submission(tmp_path: Path) -> NewSubmission:
    def make(*, name: str = "flowers", run_id: str = RUN_ID, nodes: int = 2, **run_policy: Any) -> Submission:
        text = manifest_text(name=name, run_id=run_id, nodes=nodes, **run_policy)
        return Submission(manifest=parse_manifest(text), run_folder=tmp_path, workdir=tmp_path)

    return make
