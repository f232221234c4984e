"""What the log `ftlaunch.kube` tells of requests, and what it does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.errors import LaunchError
from launcher.kube.async_client import AsyncClient
from launcher.kube.client import connect
from launcher.logs.source import Container, LogRequest
from launcher.objects import CONFIG_MAPS, PODS
from tests.contract.harness import Collector
from tests.launcher.kube.api_server import Answer, SecureApiServer
from tests.launcher.kube.test_access import write_kubeconfig
from tests.launcher.kube.test_exec import SUCCESS, ExecServer

SECRETS = ("t0ken", "b0dy", "argum3nt", "hunter2")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """The lines of the log, grown by a test; none of them holds a secret."""
    caplog.set_level(logging.DEBUG, logger="ftlaunch.kube")
    yield caplog.messages
    assert [line for line in caplog.messages if any(secret in line for secret in SECRETS)] == []


@pytest.fixture
def server() -> Iterator[SecureApiServer]:
    with SecureApiServer() as running:
        assert isinstance(running, SecureApiServer)
        yield running


def kubeconfig(server: SecureApiServer, folder: Path) -> Path:
    return write_kubeconfig(folder, user={"token": "t0ken"}, **server.cluster)


def without_times(lines: list[str]) -> list[str]:
    return [line.rpartition(" in ")[0] or line for line in lines]


def test_a_request_is_told_with_its_status_and_time_and_without_its_body(server, tmp_path, lines, caplog):
    server.answer_object({"kind": "ConfigMap", "metadata": {"name": "c"}})
    client = connect(kubeconfig=kubeconfig(server, tmp_path), environ={})
    client.create(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a": "b0dy"}}, namespace="ml")
    (line,) = caplog.messages
    assert line.startswith("POST /api/v1/namespaces/ml/configmaps: 200 in ")
    assert line.endswith(" ms")


def test_a_list_tells_what_was_selected(server, tmp_path, lines, caplog):
    server.answer_object({"kind": "PodList", "metadata": {}, "items": []})
    connect(kubeconfig=kubeconfig(server, tmp_path), environ={}).list(PODS, namespace="ml", labels="a=b")
    assert without_times(caplog.messages) == [
        "GET /api/v1/namespaces/ml/pods?labelSelector=a=b&limit=500: 200"
    ]


def test_a_renewal_is_told(server, tmp_path, lines, caplog):
    server.answer = lambda _: Answer(code=401, body=b"{}")
    with pytest.raises(LaunchError):
        connect(kubeconfig=kubeconfig(server, tmp_path), environ={}).get(PODS, "w-0", namespace="ml")
    assert without_times(caplog.messages) == [
        "GET /api/v1/namespaces/ml/pods/w-0: 401",
        "401: the credentials are read again, and the request is sent once more",
        "GET /api/v1/namespaces/ml/pods/w-0: 401",
    ]


def test_an_answer_that_does_not_come_is_told_by_its_kind(tmp_path, lines, caplog):
    path = write_kubeconfig(tmp_path, user={}, server="http://127.0.0.1:9")
    with pytest.raises(LaunchError):
        connect(kubeconfig=path, environ={}).get(PODS, "w-0", namespace="ml")
    assert without_times(caplog.messages) == ["GET /api/v1/namespaces/ml/pods/w-0: ConnectionRefusedError"]


def test_a_watch_is_told_at_its_beginning_and_its_end(server, tmp_path, lines, caplog):
    server.answer = lambda _: Answer(body=b"")
    client = connect(kubeconfig=kubeconfig(server, tmp_path), environ={})
    assert list(client.watch(PODS, namespace="ml", timeout_s=7)) == []
    assert without_times(caplog.messages) == [
        "GET /api/v1/namespaces/ml/pods?watch=true&timeoutSeconds=7: 200",
        "GET /api/v1/namespaces/ml/pods: the answer has ended",
    ]


def test_a_followed_log_and_an_object_are_told_of_among_many(server, tmp_path, lines, caplog):
    server.answer = lambda asked: Answer(body=b"x" if asked.path.endswith("/log") else b'{"kind": "Pod"}')
    heard = Collector()

    async def read() -> None:
        client = AsyncClient(connect(kubeconfig=kubeconfig(server, tmp_path), environ={}))
        await client.fetch("/api/v1/namespaces/ml/pods/w-0", {}, client.describe(namespace="ml", name="w-0"))
        request = LogRequest(container=Container(node=0, pod="w-0", uid="u", restarts=0), follow=True)
        client.stream(request, heard, namespace="ml", container="paddle")
        while heard.result is None:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(read(), 20))
    log = "GET /api/v1/namespaces/ml/pods/w-0/log?follow=true&container=paddle"
    assert without_times(caplog.messages) == [
        "GET /api/v1/namespaces/ml/pods/w-0: 200", f"{log}: 200", f"{log}: whole"
    ]  # fmt: skip


def test_a_program_is_told_of_without_its_arguments(tmp_path, lines, caplog):
    with ExecServer(lambda server: server.send(3, SUCCESS)) as server:
        path = write_kubeconfig(tmp_path, user={"token": "t0ken"}, **server.cluster)
        client = connect(kubeconfig=path, environ={})
        with client.run_in_pod("w-0", ["sh", "argum3nt"], namespace="ml", container="paddle") as channel:
            channel.finish()
    assert without_times(caplog.messages) == ["GET /api/v1/namespaces/ml/pods/w-0/exec?container=paddle: 101"]
