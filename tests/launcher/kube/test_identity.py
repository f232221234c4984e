"""Who we are to a cluster, on each way to it: single requests, followed logs, programs in pods."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from launcher.kube.async_client import AsyncClient
from launcher.kube.client import connect
from launcher.kube.errors import CredentialsError, KubeconfigError, NoAnswerError
from launcher.kube.remarks import tell_to
from launcher.objects import PODS
from tests.launcher.kube.api_server import Answer, ApiServer, SecureApiServer
from tests.launcher.kube.test_access import write_kubeconfig
from tests.launcher.kube.test_exec import SUCCESS, ExecServer

POD = {"kind": "Pod", "metadata": {"name": "w-0"}}


@pytest.fixture
def remarks() -> Iterator[list[str]]:
    said: list[str] = []
    tell_to(said.append)
    yield said
    tell_to(None)


@pytest.fixture
def server() -> Iterator[SecureApiServer]:
    with SecureApiServer() as running:
        running.answer_object(POD)
        assert isinstance(running, SecureApiServer)
        yield running


def ask_once(path: Path) -> None:
    connect(kubeconfig=path, environ={}).get(PODS, "w-0", namespace="ml")


def ask_among_many(path: Path) -> None:
    async def fetch() -> None:
        async_client = AsyncClient(connect(kubeconfig=path, environ={}))
        await async_client.fetch(
            "/api/v1/namespaces/ml/pods/w-0", {}, async_client.describe(namespace="ml", name="w-0")
        )

    asyncio.run(fetch())


def watch(path: Path) -> None:
    with suppress(NoAnswerError):  # what the server answers to all is no change
        watch_strictly(path)


def watch_strictly(path: Path) -> None:
    list(connect(kubeconfig=path, environ={}).watch(PODS, namespace="ml", timeout_s=1))


ways = pytest.mark.parametrize("ask", [ask_once, ask_among_many, watch])
JANE = {
    "as": "jäne", "as-uid": "7", "as-groups": ["a, b", "dev"],
    "as-user-extra": {"scopes": ["view", "edit"], "Acme/Über%x": ["1"]},
}  # fmt: skip
EXPECTED = [
    ("Impersonate-User", "jäne"), ("Impersonate-Uid", "7"), ("Impersonate-Group", "a, b"),
    ("Impersonate-Group", "dev"), ("Impersonate-Extra-Acme%2F%C3%9Cber%25x", "1"),
    ("Impersonate-Extra-scopes", "view"), ("Impersonate-Extra-scopes", "edit"),
]  # fmt: skip


def impersonated(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value.encode("latin-1").decode()) for name, value in fields if name.startswith("Imperson")]


@ways
def test_who_is_impersonated_stands_in_every_request(ask, server, tmp_path):
    seen: list[list[tuple[str, str]]] = []
    keep_all_fields(server, seen)
    ask(write_kubeconfig(tmp_path, user={"token": "mighty", **JANE}, **server.cluster))
    assert impersonated(seen[0]) == EXPECTED
    assert ("Authorization", "Bearer mighty") in seen[0]


def keep_all_fields(server: ApiServer, seen: list[list[tuple[str, str]]]) -> None:
    """`headers` of what was asked has one field of a name; here are all."""
    handler = server._server.RequestHandlerClass
    parse = handler.parse_request

    def parse_request(self: Any) -> bool:
        is_sound = parse(self)
        seen.append(self.headers.items())
        return bool(is_sound)

    handler.parse_request = parse_request


def test_who_is_impersonated_runs_the_programs_in_pods(tmp_path):
    with ExecServer(lambda server: server.send(3, SUCCESS)) as server:
        path = write_kubeconfig(tmp_path, user={"token": "t", "as": "jane"}, **server.cluster)
        client = connect(kubeconfig=path, environ={})
        with client.run_in_pod("w-0", ["ls"], namespace="ml", container="paddle") as channel:
            assert channel.finish() == (0, "")
        assert server.headers["impersonate-user"] == "jane"


@ways
def test_a_token_file_wins_over_a_token_and_is_read_for_each_request(ask, server, tmp_path):
    (tmp_path / "token").write_text(" good\n")
    user = {"token": "stale", "tokenFile": "token"}
    ask(write_kubeconfig(tmp_path, user=user, **server.cluster))
    assert server.asked[0].headers["Authorization"] == "Bearer good"


def test_a_token_stands_in_for_a_file_that_is_not_there_and_that_is_said(server, tmp_path, remarks):
    path = write_kubeconfig(tmp_path, user={"token": "spare", "tokenFile": "token"}, **server.cluster)
    client = connect(kubeconfig=path, environ={})
    client.get(PODS, "w-0", namespace="ml")
    (tmp_path / "token").write_text("good")
    client.get(PODS, "w-0", namespace="ml")
    used = [asked.headers["Authorization"] for asked in server.asked]
    assert used == ["Bearer spare", "Bearer good"]
    assert len(remarks) == 1
    assert "`token` is used in its place" in remarks[0]


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"a b", b"good\r\nX-Remote-User: admin", b"\xff\xfe", b"x" * 40000]
)
def test_a_file_that_holds_no_token_is_refused(server, tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    path = write_kubeconfig(tmp_path, user={"tokenFile": "token"}, **server.cluster)
    with pytest.raises(KubeconfigError, match=r"tokenFile.*expected a token"):
        ask_once(path)
    assert server.asked == []


CREDENTIALS = [
    {"token": "s3cret"}, {"tokenFile": "token"}, {"username": "me", "password": "s3cret"},
    {"exec": {"command": "/bin/false", "apiVersion": "client.authentication.k8s.io/v1beta1"}},
]  # fmt: skip


@pytest.mark.parametrize("user", CREDENTIALS, ids=["token", "file", "password", "plugin"])
@ways
def test_over_plain_http_nobody_is_told_who_we_are_and_that_is_said(ask, tmp_path, remarks, user):
    (tmp_path / "token").write_text("s3cret")
    with ApiServer() as server:
        server.answer_object(POD)
        ask(write_kubeconfig(tmp_path, user={**user, "as": "jane"}, server=server.url))
    headers = server.asked[0].headers
    assert "Authorization" not in headers
    assert "s3cret" not in str(headers)
    assert headers["Impersonate-User"] == "jane"
    assert len(remarks) == 1
    assert f"is not sent to {server.url}: it is not encrypted" in remarks[0]


@pytest.mark.parametrize("user", CREDENTIALS, ids=["token", "file", "password", "plugin"])
def test_over_plain_http_to_another_machine_credentials_are_refused(tmp_path, user):
    path = write_kubeconfig(tmp_path, user=user, server="http://kube.example:8080")
    with pytest.raises(KubeconfigError, match=r"user 'u': expected https:// .*got http://kube\.example:8080"):
        connect(kubeconfig=path, environ={})
    nobody = write_kubeconfig(tmp_path, user={}, server="http://kube.example:8080")
    assert connect(kubeconfig=nobody, environ={}).context == "prod"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["http", "ws", "https", "wss"])
def test_no_way_follows_a_redirection(tmp_path, code, scheme):
    with ApiServer() as thief:
        where = f"{scheme}://{thief.url.removeprefix('http://')}/stolen"
        with SecureApiServer() as server:
            assert isinstance(server, SecureApiServer)
            server.answer = lambda _: Answer(code=code, location=where)
            path = write_kubeconfig(tmp_path, user={"token": "t"}, **server.cluster)
            for ask in (ask_once, ask_among_many, watch_strictly, run_program):
                with pytest.raises(Exception) as refused:  # noqa: PT011  # each way has its own
                    ask(path)
                assert type(refused.value).__module__.startswith("launcher.")
            assert len(server.asked) >= 4
    assert thief.asked == []


def run_program(path: Path) -> None:
    client = connect(kubeconfig=path, environ={})
    with client.run_in_pod("w-0", ["ls"], namespace="ml", container="paddle") as channel:
        channel.finish()


def token_until(moment_s: float) -> str:
    parts = [{"alg": "none"}, {"exp": moment_s}]
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        + ".x"
    )


def test_an_id_token_that_holds_is_used_and_one_that_has_run_out_is_told(server, tmp_path):
    def user(token: str) -> dict[str, Any]:
        config = {"id-token": token, "refresh-token": "r", "idp-issuer-url": "https://issuer.example"}
        return {"auth-provider": {"name": "oidc", "config": config}}

    good = token_until(time.time() + 3600)
    ask_once(write_kubeconfig(tmp_path, user=user(good), **server.cluster))
    assert server.asked[0].headers["Authorization"] == f"Bearer {good}"
    path = write_kubeconfig(tmp_path, user=user(token_until(1_600_000_000)), **server.cluster)
    with pytest.raises(CredentialsError, match=r"until 2020-09-13T12:26:40Z; run `kubectl auth whoami`"):
        ask_once(path)
    assert len(server.asked) == 1


@ways
@pytest.mark.parametrize("text", ['"pods \\"x\\" is deprecated"', '"a\x1b[31m"'])
def test_warnings_of_the_server_are_said_once(ask, server, tmp_path, remarks, text):
    handler = server._server.RequestHandlerClass
    end = handler.end_headers

    def end_headers(self: Any) -> None:
        self.send_header("Warning", f"299 - {text}")
        self.send_header("Warning", '299 - "two, with a comma" "Tue, 15 Nov 1994 08:12:31 GMT"')
        end(self)

    handler.end_headers = end_headers
    path = write_kubeconfig(tmp_path, user={"token": "t"}, **server.cluster)
    ask(path)
    ask(path)
    first = 'pods "x" is deprecated' if "pods" in text else "a\\x1b[31m"
    assert remarks == [f"the cluster warns: {first}", "the cluster warns: two, with a comma"]


def test_a_secret_is_in_no_description_of_what_holds_it(server, tmp_path):
    user = {"token": "s3cret", **JANE}
    path = write_kubeconfig(tmp_path, user=user, **server.cluster)
    client = connect(kubeconfig=path, environ={})
    assert "s3cret" not in repr(client.access)
    server.answer = lambda _: Answer(code=500, body=b"no")
    with pytest.raises(NoAnswerError) as refused:
        client.get(PODS, "w-0", namespace="ml")
    assert "s3cret" not in str(refused.value)
