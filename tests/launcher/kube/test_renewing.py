"""Following over real TLS while the cluster stops knowing us, or asks to wait."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from launcher.backends.kubernetes.logsource import KubernetesLogSource
from launcher.errors import LaunchError
from launcher.kube.async_client import AsyncClient
from launcher.kube.client import connect
from launcher.kube.errors import CertificateError, CredentialsError
from launcher.logs.follow import Follower
from launcher.logs.log_filter import LogFilter
from launcher.logs.log_format import Formatter, LogFormat
from launcher.plan.handle import Handle
from tests.launcher.kube.api_server import Answer, ApiServer, Asked
from tests.launcher.kube.test_access import counting_plugin, write_kubeconfig
from tests.launcher.kube.test_tls import trust

HANDLE = Handle(backend="kubernetes", namespace="ml", job="flowers")
NODES = 3
SHOWN = [f"[rank {node}] line {number}" for node in range(NODES) for number in range(4)]


@dataclass
class Cluster:
    """A job that has ended, with a log for each pod, for who brings the right token.

    Attributes:
        token: The right one; empty where everybody may ask, as over plain HTTP, where no token is sent.
        refusals: Answers that come first, to requests for logs.
    """

    token: str = "good"
    refusals: list[Answer] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        scheme, _, token = asked.headers.get("Authorization", "").partition(" ")
        if self.token and (scheme.lower(), token) != ("bearer", self.token):  # the library writes both cases
            return Answer(code=401, body=b'{"kind": "Status", "reason": "Unauthorized"}')
        if asked.path.endswith("/log"):
            node = int(asked.path.split("/")[-2][-1])
            lines = [b"2026-11-24T00:00:0%d.00000000%dZ [a1 r%d] line %d\n" % (number, node, node, number)
                     for number in range(4)]  # fmt: skip
            return self.refusals.pop(0) if self.refusals else Answer(pieces=tuple(lines))
        job = {
            "metadata": {
                "name": "flowers", "namespace": "ml", "uid": "j",
                "creationTimestamp": "2026-11-24T00:00:00Z",
            },
            "spec": {"paddleReplicaSpecs": {"Worker": {"replicas": NODES}}},
            "status": {"conditions": [{"type": "Succeeded", "status": "True"}]},
        }  # fmt: skip
        is_list = asked.path.endswith("/pods")
        body = {"items": [ended_pod(node) for node in range(NODES)]} if is_list else job
        return Answer(body=json.dumps(body).encode())


def ended_pod(node: int) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"flowers-worker-{node}", "namespace": "ml", "uid": f"u{node}",
            "labels": {"training.kubeflow.org/replica-index": str(node)}, "ownerReferences": [{"uid": "j"}],
            "creationTimestamp": "2026-11-24T00:00:00Z",
        },
        "spec": {"containers": [{"name": "paddle"}]},
        "status": {
            "phase": "Succeeded",
            "containerStatuses": [{"name": "paddle", "restartCount": 0, "state": {"terminated": {}}}],
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def server(authority: trustme.CA, cluster: Cluster) -> Iterator[ApiServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ApiServer(tls=context) as running:
        running.answer = cluster.answer
        yield running


def follow(read_access: Callable[[], Any], *, after: Callable[[], object] = lambda: None) -> list[str]:
    """Follow the job and return its lines, rank after rank.

    `after` is done between reading the access and the first request.
    """
    client = read_access()
    after()
    shown: list[bytes] = []
    said: list[str] = []

    async def run() -> None:
        source = KubernetesLogSource(AsyncClient(client), HANDLE)
        await Follower(
            source, show=shown.extend, say=said.append, recording=None, follow=True, draw=random.Random(1),
            formatter=lambda node: Formatter(node=node, log_filter=LogFilter(), form=LogFormat()),
        ).run()  # fmt: skip

    asyncio.run(asyncio.wait_for(run(), 60))
    assert said == []
    return sorted((line.decode() for line in shown), key=lambda line: line.partition("]")[0])


def from_kubeconfig(path: Path) -> Callable[[], Any]:
    return lambda: connect(kubeconfig=path, environ={})


def test_a_plugin_is_asked_for_a_new_token_once_for_all_streams(cluster, server, authority, tmp_path):
    cluster.token = "token-2"
    user = counting_plugin(tmp_path)
    path = write_kubeconfig(tmp_path, user=user, server=server.url, **trust(authority))
    assert follow(from_kubeconfig(path)) == SHOWN
    assert (tmp_path / "calls").read_text().count("x") == 2


def test_a_token_that_runs_out_while_logs_are_asked_for_is_renewed_once(cluster, server, authority, tmp_path):
    cluster.token = "token-1"
    answer = cluster.answer

    def run_out(asked: Asked) -> Answer:
        if asked.path.endswith("/log"):
            cluster.token = "token-2"
        return answer(asked)

    server.answer = run_out
    user = counting_plugin(tmp_path)
    path = write_kubeconfig(tmp_path, user=user, server=server.url, **trust(authority))
    assert follow(from_kubeconfig(path)) == SHOWN
    assert (tmp_path / "calls").read_text().count("x") == 2


def test_a_late_refusal_of_a_token_that_was_renewed_meanwhile_renews_nothing(
    cluster, server, authority, tmp_path
):
    cluster.token = "token-1"
    answer, refused, renewed = cluster.answer, [], threading.Event()

    def dawdle(asked: Asked) -> Answer:
        if asked.path.endswith("/log"):
            cluster.token = "token-2"
        answered = answer(asked)
        if answered.code == 401:
            refused.append(asked.path)
            if len(refused) > 1:
                assert renewed.wait(30)
        elif asked.path.endswith("/log"):
            renewed.set()
        return answered

    server.answer = dawdle
    path = write_kubeconfig(tmp_path, user=counting_plugin(tmp_path), server=server.url, **trust(authority))
    assert follow(from_kubeconfig(path)) == SHOWN
    assert len(refused) == NODES
    assert (tmp_path / "calls").read_text().count("x") == 2


def test_a_token_file_is_read_again(cluster, server, authority, tmp_path):
    token = tmp_path / "token"
    token.write_text("old")
    path = write_kubeconfig(tmp_path, user={"tokenFile": str(token)}, server=server.url, **trust(authority))
    assert follow(from_kubeconfig(path), after=lambda: token.write_text("good")) == SHOWN


def test_a_service_account_s_token_is_read_again(cluster, server, authority, tmp_path):
    (tmp_path / "token").write_text("old")
    (tmp_path / "namespace").write_text("ml")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    host, port = server.url.removeprefix("https://").split(":")
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}

    def read_access() -> Any:
        nowhere = {**environ, "KUBECONFIG": str(tmp_path / "none")}
        return connect(environ=nowhere, service_account=tmp_path)

    assert follow(read_access, after=lambda: (tmp_path / "token").write_text("good")) == SHOWN


def test_a_new_authority_is_read_as_a_new_token_is(cluster, server, authority, tmp_path):
    user = {"token": "good"}
    path = write_kubeconfig(tmp_path, user=user, server=server.url, **trust(trustme.CA()))

    def renew() -> None:
        write_kubeconfig(tmp_path, user=user, server=server.url, **trust(authority))

    assert follow(from_kubeconfig(path), after=renew) == SHOWN


@pytest.mark.parametrize(
    ("token", "own", "error"), [("bad", True, CredentialsError), ("good", False, CertificateError)],
    ids=["token", "authority"],
)  # fmt: skip
def test_what_stays_refused_is_an_error_soon(cluster, server, authority, tmp_path, token, own, error):
    authority = authority if own else trustme.CA()
    path = write_kubeconfig(tmp_path, user={"token": token}, server=server.url, **trust(authority))
    with pytest.raises(LaunchError) as refused:
        follow(from_kubeconfig(path))
    assert type(refused.value) is error
    fix = "kubectl config set-credentials u" if own else "renew certificate-authority-data"
    assert fix in str(refused.value)
    assert len(server.asked) <= 4


@pytest.mark.parametrize(
    "refusal",
    [
        Answer(code=429, retry_after="1"), Answer(code=410), Answer(code=503),
        Answer(pieces=(b"2026-",), reset=True),
    ],
    ids=["429", "410", "503", "reset"],
)  # fmt: skip
def test_refusals_that_pass_cost_no_line(cluster, server, authority, tmp_path, refusal):
    cluster.refusals = [refusal] * 2
    path = write_kubeconfig(tmp_path, user={"token": "good"}, server=server.url, **trust(authority))
    assert follow(from_kubeconfig(path)) == SHOWN
