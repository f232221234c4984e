"""Which PaddleJob a cluster serves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.backends.kubernetes import KubernetesBackend
from launcher.backends.kubernetes.apis import choose_kind
from launcher.errors import CliExit
from launcher.kube.client import connect
from launcher.kube.errors import UnservedError
from launcher.objects import PADDLE_JOBS, PODS, WORKLOADS
from tests.fakes.cluster import FakeCluster
from tests.launcher.kube.api_server import Answer, ApiServer, Asked
from tests.launcher.kube.conftest import NewSubmission
from tests.launcher.kube.test_client import write_kubeconfig

JOBS = {"kind": "APIResourceList", "resources": [{"name": "paddlejobs"}, {"name": "paddlejobs/status"}]}


def test_a_group_is_asked_for_once(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.path == "/apis/kubeflow.org/v1":
            return Answer(body=json.dumps(JOBS).encode())
        return Answer(code=404, body=b"404 page not found")

    with ApiServer() as server:
        server.answer = answer
        kubeconfig = write_kubeconfig(tmp_path, url=server.url, user={"token": "t"})
        client = connect(kubeconfig=kubeconfig, environ={})
        assert [client.serves(kind) for kind in (PADDLE_JOBS, WORKLOADS, PADDLE_JOBS)] == [
            True, False, True,
        ]  # fmt: skip
        assert [asked.path for asked in server.asked] == [
            "/apis/kubeflow.org/v1", "/apis/kueue.x-k8s.io/v1beta1",
        ]  # fmt: skip


@pytest.mark.parametrize(("served", "wanted", "found"), [
    ((PADDLE_JOBS,), "auto", "kubeflow"),
    ((PADDLE_JOBS, PODS), "kubeflow", "kubeflow"),
    ((PODS,), "auto", None),
    ((PODS,), "kubeflow", None),
])  # fmt: skip
def test_the_kind_is_chosen_of_what_is_served(cluster: FakeCluster, served, wanted, found) -> None:
    cluster.served = served
    if found is not None:
        assert choose_kind(cluster, wanted=wanted).name == found
        return
    with pytest.raises(UnservedError, match="install the training operator"):
        choose_kind(cluster, wanted=wanted)


def test_where_no_job_can_be_followed_nothing_is_made_and_the_cure_is_said(
    cluster: FakeCluster, backend: KubernetesBackend, submission: NewSubmission
) -> None:
    cluster.served = (PODS,)
    for act in (backend.submit, backend.check):
        with pytest.raises(UnservedError, match="install the training operator: kubectl apply") as caught:
            act(submission())
        assert caught.value.exit_code is CliExit.UNREACHABLE
    assert cluster.requests == []
