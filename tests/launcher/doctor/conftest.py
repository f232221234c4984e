from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.doctor.cluster_info import ClusterInfo
from launcher.doctor.findings import Finding
from launcher.doctor.permissions import read_needs
from launcher.kube.client import connect
from tests.launcher.kube.api_server import Answer, ApiServer, Asked
from tests.launcher.kube.test_client import write_kubeconfig

OPERATOR = "/apis/apps/v1/deployments"
JOBS = "/apis/kubeflow.org/v1/namespaces/ml/paddlejobs"
RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
DENIED = (
    'admission webhook "validator.paddlejob.training-operator.kubeflow.org" denied the request: '
    "spec.paddleReplicaSpecs[Worker].template.spec.containers: Required value: must have at least one "
    'container with name "paddle"'
)


def status(code: int, message: str, **details: Any) -> Answer:
    body = {"kind": "Status", "code": code, "reason": "Why", "message": message, "details": details}
    return Answer(code=code, body=json.dumps(body).encode())


def forbidden(verb: str, resource: str) -> Answer:
    return status(403, f'{resource} is forbidden: User "ann" cannot {verb} resource "{resource}"')


def items(*found: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "List", "items": list(found)}


def healthy() -> dict[str, Any]:
    """What a good cluster answers, by path; a value is a document or an `Answer`."""
    rules = [
        {"apiGroups": [need.group], "resources": [need.resource], "verbs": list(need.verbs)}
        for need in (*read_needs(), *read_needs("files.yaml"))
    ]
    node = {
        "metadata": {"name": "n1"}, "spec": {},
        "status": {
            "allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}],
        },
    }  # fmt: skip
    standard = {
        "metadata": {
            "name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "csi.example",
    }  # fmt: skip
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    deployment = {
        "metadata": {"name": "training-operator", "namespace": "kubeflow"}, "status": {"readyReplicas": 1},
    }  # fmt: skip
    slices = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"
    return {
        "/version": {"gitVersion": "v1.34.7"},
        "/apis/authentication.k8s.io/v1/selfsubjectreviews": {"status": {"userInfo": {"username": "ann"}}},
        RULES: {"status": {"resourceRules": rules}},
        "/apis/kubeflow.org/v1": {"resources": [{"name": "paddlejobs"}]},
        f"POST {JOBS}": status(403, DENIED),
        JOBS: items({"metadata": {"name": "a"}, "status": {"conditions": [{"type": "Running"}]}}),
        OPERATOR: items(deployment),
        "/api/v1/namespaces/ml": {"metadata": {"name": "ml", "labels": level}},
        "/api/v1/nodes": items(node, node),
        "/apis/storage.k8s.io/v1/storageclasses": items(standard),
        "/api/v1/namespaces/kube-system/services": items({"metadata": {"name": "kube-dns"}}),
        slices: items({"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]}),
        "/apis": {"groups": [
            {"name": "kueue.x-k8s.io", "preferredVersion": {"version": "v1beta2"}},
            {"name": "apps", "preferredVersion": {"version": "v1"}},
        ]},
        "/apis/kueue.x-k8s.io/v1beta2/namespaces/ml/localqueues": items({"metadata": {"name": "team-a"}}),
        "/api/v1/namespaces/ml/configmaps": items(),
        "/api/v1/namespaces/ml/pods": items(),
    }  # fmt: skip


@pytest.fixture
def answers() -> dict[str, Any]:
    """What the cluster answers; a test changes it."""
    return healthy()


@pytest.fixture
def server(answers: dict[str, Any]) -> Iterator[ApiServer]:
    def answer(asked: Asked) -> Answer:
        found = answers.get(f"{asked.method} {asked.path}", answers.get(asked.path))
        if found is None:
            return status(404, "the server could not find the requested resource")
        return found if isinstance(found, Answer) else Answer(body=json.dumps(found).encode())

    with ApiServer() as running:
        running.answer = answer
        yield running


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Path:
    return write_kubeconfig(tmp_path, url=server.url, user={"token": "t"})


@pytest.fixture
def info(kubeconfig: Path) -> ClusterInfo:
    client = connect(kubeconfig=kubeconfig, environ={})
    return ClusterInfo(api=client, namespace="ml")


@pytest.fixture
def only() -> Callable[[list[Finding]], tuple[str, str, str]]:
    """Return level, words and fix of the only finding."""

    def unpack(found: list[Finding]) -> tuple[str, str, str]:
        (finding,) = found
        return finding.level.value, finding.message, finding.fix

    return unpack
