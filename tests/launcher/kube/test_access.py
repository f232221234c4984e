from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.backends.kubernetes.create import MAX_PAUSE_S, Creator
from launcher.kinds.registry import PADDLE_JOB
from launcher.kube.client import connect
from launcher.kube.errors import CredentialsError, NoAnswerError
from launcher.objects import PADDLE_JOBS
from launcher.render.manifest import parse_manifest
from tests.contract.harness import manifest_text
from tests.launcher.kube.api_server import Answer, Asked, SecureApiServer

EXEC = "client.authentication.k8s.io/v1"


@pytest.fixture
def server() -> Iterator[SecureApiServer]:
    with SecureApiServer() as running:
        assert isinstance(running, SecureApiServer)
        yield running


def write_kubeconfig(folder: Path, *, user: dict[str, Any], **cluster: str) -> Path:
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1", "kind": "Config", "current-context": "prod",
        "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u", "namespace": "ml"}}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(document))
    return path


def counting_plugin(folder: Path) -> dict[str, Any]:
    """Return a user whose credential plugin gives token-1 at its first call, token-2 at its second …"""
    plugin = folder / "plugin"
    answer = json.dumps({"apiVersion": EXEC, "kind": "ExecCredential", "status": {"token": "token-NUMBER"}})
    plugin.write_text(
        f"#!/bin/sh\necho x >> {folder}/calls\n"
        f"number=$(grep -c x {folder}/calls)\necho '{answer}' | sed s/NUMBER/$number/\n"
    )
    plugin.chmod(0o755)
    return {"exec": {"apiVersion": EXEC, "command": str(plugin), "interactiveMode": "Never"}}


def knows(token: str):
    def answer(asked: Asked) -> Answer:
        known = asked.headers.get("Authorization") == f"Bearer {token}"
        return Answer() if known else Answer(code=401, body=b'{"kind": "Status", "reason": "Unauthorized"}')

    return answer


def test_a_token_that_is_refused_is_renewed_by_its_plugin_once(
    server: SecureApiServer, tmp_path: Path
) -> None:
    client = connect(
        kubeconfig=write_kubeconfig(tmp_path, user=counting_plugin(tmp_path), **server.cluster), environ={}
    )
    server.answer = knows("token-2")
    client.get(PADDLE_JOBS, "flowers", namespace="ml")
    client.get(PADDLE_JOBS, "flowers", namespace="ml")
    used = [asked.headers["Authorization"] for asked in server.asked]
    assert used == ["Bearer token-1", "Bearer token-2", "Bearer token-2"]


def test_credentials_that_stay_refused_are_told_of(server: SecureApiServer, tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path, user={"token": "old"}, **server.cluster)
    client = connect(kubeconfig=path, environ={})
    server.answer = knows("new")
    with pytest.raises(CredentialsError, match="--token=TOKEN`, until `kubectl auth whoami` answers"):
        client.get(PADDLE_JOBS, "flowers", namespace="ml")
    assert len(server.asked) == 2
    write_kubeconfig(tmp_path, user={"token": "new"}, **server.cluster)  # somebody logs in meanwhile
    client.get(PADDLE_JOBS, "flowers", namespace="ml")


@pytest.mark.parametrize(("said", "pause_s"), [
    ("7", 7.0), ("", 0.5), ("0", 0.5), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.5), ("3600", MAX_PAUSE_S),
])  # fmt: skip
def test_a_busy_server_is_asked_again_when_it_said(
    server: SecureApiServer, tmp_path: Path, said: str, pause_s: float
) -> None:
    path = write_kubeconfig(tmp_path, user={"token": "t"}, **server.cluster)
    server.answer = lambda _: Answer(code=429, body=b"{}", retry_after=said)
    pauses: list[float] = []
    text = manifest_text(name="flowers", run_id="0" * 32, nodes=1, command=["x"])
    creator = Creator(connect(kubeconfig=path, environ={}), kind=PADDLE_JOB, pause=pauses.append)
    with pytest.raises(NoAnswerError):
        creator.create(parse_manifest(text), namespace="ml")
    assert pauses[0] == pause_s
