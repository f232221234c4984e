from __future__ import annotations

import base64
import gzip
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.backends.kubernetes import KubernetesBackend
from launcher.errors import LaunchError
from launcher.kube.client import Client, connect
from launcher.kube.errors import (
    AbsentError,
    ConflictError,
    CredentialsError,
    DeniedError,
    InvalidError,
    KubeconfigError,
    NoAnswerError,
)
from launcher.kube.transport import Timeouts
from launcher.objects import CONFIG_MAPS, EVENTS, NODES, PADDLE_JOBS, PODS, RULES_REVIEWS
from tests.launcher.kube.api_server import AUTHORITY, Answer, ApiServer, Asked, SecureApiServer

JOB = {"apiVersion": "kubeflow.org/v1", "kind": "PaddleJob", "metadata": {"name": "flowers"}, "spec": {}}
JOBS = "/apis/kubeflow.org/v1/namespaces/ml/paddlejobs"
CLUSTER = {"certificate-authority-data": base64.b64encode(AUTHORITY.cert_pem.bytes()).decode()}
QUICK = Timeouts(connect_s=5.0, read_s=0.2)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with SecureApiServer() as running:
        yield running


def write_kubeconfig(folder: Path, *, url: str, user: dict[str, Any], namespace: str = "ml") -> Path:
    context = {"cluster": "c", "user": "u"}
    document = {
        "apiVersion": "v1", "kind": "Config", "current-context": "prod",
        "clusters": [{"name": "c", "cluster": {"server": url, **CLUSTER}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": "prod", "context": {**context, "namespace": namespace}},
            {"name": "bare", "context": context},
        ],
    }  # fmt: skip
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture
def client(server: ApiServer, tmp_path: Path) -> Client:
    kubeconfig = write_kubeconfig(tmp_path, url=server.url, user={"token": "secret"})
    return connect(kubeconfig=kubeconfig, environ={}, timeouts=QUICK)


def test_creating_posts_the_object_as_it_is_and_strictly(client: Client, server: ApiServer) -> None:
    server.answer = lambda asked: Answer(code=201, body=json.dumps(asked.body).encode())
    assert client.create(PADDLE_JOBS, JOB, namespace="ml") == JOB
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.body) == ("POST", JOBS, JOB)
    assert asked.query == {"fieldManager": "ftlaunch", "fieldValidation": "Strict"}
    assert asked.headers["Authorization"] == "Bearer secret"
    assert asked.headers["Content-Type"] == "application/json"


def test_a_dry_run_is_marked_as_one(client: Client, server: ApiServer) -> None:
    server.answer = lambda asked: Answer(code=201, body=json.dumps(asked.body).encode())
    client.create(PADDLE_JOBS, JOB, namespace="ml", dry_run=True)
    (asked,) = server.asked
    assert asked.query == {"fieldManager": "ftlaunch", "fieldValidation": "Strict", "dryRun": "All"}


def test_a_patch_is_a_merge_patch(client: Client, server: ApiServer) -> None:
    client.patch(CONFIG_MAPS, "flowers-config", {"metadata": {"labels": None}}, namespace="ml")
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("PATCH", "/api/v1/namespaces/ml/configmaps/flowers-config")
    assert asked.headers["Content-Type"] == "application/merge-patch+json"
    assert asked.body == {"metadata": {"labels": None}}


def test_a_list_is_asked_for_by_labels(client: Client, server: ApiServer) -> None:
    server.answer_object({"kind": "PodList", "items": [{"a": 1}, {"b": 2}]})
    assert client.list(PODS, namespace="ml", labels="a=b,c") == ({"a": 1}, {"b": 2})
    assert (server.asked[0].path, server.asked[0].query) == (
        "/api/v1/namespaces/ml/pods",
        {"labelSelector": "a=b,c", "limit": "500"},
    )


def pages(*, expired_at: int) -> Callable[[Asked], Answer]:
    """Answer with three pages; the continuation numbered `expired_at` has expired the first time."""
    expired = [f"page-{expired_at}"]

    def answer(asked: Asked) -> Answer:
        token = asked.query.get("continue", "page-0")
        if token in expired:
            expired.remove(token)
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
            return Answer(code=410, body=json.dumps(status).encode())
        index = int(token[-1])
        more = {"continue": f"page-{index + 1}"} if index < 2 else {}
        return Answer(body=json.dumps({"metadata": more, "items": [{"a": index}]}).encode())

    return answer


def test_what_belongs_to_no_namespace_is_asked_for_without_one(client: Client, server: ApiServer) -> None:
    server.answer_object({"items": []})
    client.list(NODES, namespace="")
    client.list(PODS, namespace="")
    server.answer_object({"status": {"resourceRules": []}})
    review = {"apiVersion": RULES_REVIEWS.api_version, "kind": RULES_REVIEWS.kind, "metadata": {}}
    client.create(RULES_REVIEWS, review, namespace="")
    assert [asked.path for asked in server.asked] == [
        "/api/v1/nodes", "/api/v1/pods", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
    ]  # fmt: skip


def test_a_refusal_of_the_whole_cluster_asks_for_a_cluster_role(client: Client, server: ApiServer) -> None:
    server.answer_status(403, 'nodes is forbidden: User "ann" cannot list resource "nodes" in API group ""')
    with pytest.raises(DeniedError, match=r"Node \*: .*; ask for this rule in a ClusterRole: "):
        client.list(NODES, namespace="")


def test_a_list_can_stop_at_so_many(client: Client, server: ApiServer) -> None:
    server.answer_object({"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "n"}}] * 2})
    assert len(client.list(EVENTS, namespace="ml", at_most=3)) == 3
    assert [asked.query["limit"] for asked in server.asked] == ["3", "3"]


@pytest.mark.parametrize(("expired_at", "requests"), [(9, 3), (1, 5), (2, 6)], ids=["all", "second", "third"])
def test_a_long_list_comes_in_pages_and_begins_again_once_where_one_has_expired(
    client: Client, server: ApiServer, expired_at: int, requests: int
) -> None:
    server.answer = pages(expired_at=expired_at)
    assert client.list(EVENTS, namespace="ml", fields="type=Warning") == ({"a": 0}, {"a": 1}, {"a": 2})
    assert len(server.asked) == requests
    assert {asked.query["fieldSelector"] for asked in server.asked} == {"type=Warning"}


def test_only_what_is_kept_of_a_page_is_there_when_the_next_is_asked_for(
    client: Client, server: ApiServer
) -> None:
    kept: list[int] = []

    def keep(item: dict[str, Any]) -> dict[str, Any]:
        kept.append(len(server.asked))
        return {"name": item["metadata"]["name"]}

    pages = {
        "": {"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]},
        "more": {"metadata": {}, "items": [{"metadata": {"name": "b"}}]},
    }
    server.answer = lambda asked: Answer(body=json.dumps(pages[asked.query.get("continue", "")]).encode())
    assert client.list(PODS, namespace="ml", keep=keep) == ({"name": "a"}, {"name": "b"})
    assert kept == [1, 2]


def test_a_list_of_metadata_says_so(client: Client, server: ApiServer) -> None:
    server.answer_object({"metadata": {}, "items": []})
    client.list(CONFIG_MAPS, namespace="ml", metadata_only=True)
    client.list(CONFIG_MAPS, namespace="ml")
    wanted = ["as=PartialObjectMetadataList;" in asked.headers["Accept"] for asked in server.asked]
    assert wanted == [True, False]


def test_an_empty_list_of_metadata_is_empty_though_the_server_says_null(
    client: Client, server: ApiServer
) -> None:
    server.answer_object({"kind": "PartialObjectMetadataList", "metadata": {}, "items": None})
    assert client.list(CONFIG_MAPS, namespace="ml", metadata_only=True) == ()


def test_long_answers_may_come_packed(client: Client, server: ApiServer) -> None:
    body = gzip.compress(json.dumps({"metadata": {}, "items": [{"metadata": {"name": "a"}}]}).encode())
    server.answer = lambda asked: Answer(
        body=body, encoding="gzip" if "gzip" in asked.headers.get("Accept-Encoding", "") else ""
    )
    assert client.list(PODS, namespace="ml") == ({"metadata": {"name": "a"}},)


def test_deleting_names_the_very_object_and_takes_dependants_first(client: Client, server: ApiServer) -> None:
    client.delete(PADDLE_JOBS, "flowers", namespace="ml", uid="u-1")
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("DELETE", f"{JOBS}/flowers")
    assert asked.body["preconditions"] == {"uid": "u-1"}
    assert asked.body["propagationPolicy"] == "Foreground"
    client.delete(PADDLE_JOBS, "flowers", namespace="ml", uid="u-1", first=True)
    assert server.asked[-1].body["propagationPolicy"] == "Background"


def test_deleting_at_once_waits_for_no_node(client: Client, server: ApiServer) -> None:
    client.delete(PODS, "flowers-worker-0", namespace="ml", uid="u-1", at_once=True)
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("DELETE", "/api/v1/namespaces/ml/pods/flowers-worker-0")
    assert asked.body["preconditions"] == {"uid": "u-1"}
    assert asked.body["gracePeriodSeconds"] == 0


def test_a_log_comes_as_bytes_with_times(client: Client, server: ApiServer) -> None:
    server.answer = lambda _: Answer(body=b"2026-11-24T00:00:00Z \xff\n")
    log = client.read_pod_log("w-0", namespace="ml", container="paddle", previous=True, tail_lines=9)
    assert log == b"2026-11-24T00:00:00Z \xff\n"
    assert server.asked[0].path == "/api/v1/namespaces/ml/pods/w-0/log"
    assert server.asked[0].query == {
        "container": "paddle", "timestamps": "true", "previous": "true", "tailLines": "9",
    }  # fmt: skip


def test_a_name_cannot_leave_its_place_in_the_path(client: Client, server: ApiServer) -> None:
    client.get(PADDLE_JOBS, "../../x?y", namespace="a/b")
    assert server.asked[0].path == "/apis/kubeflow.org/v1/namespaces/a%2Fb/paddlejobs/..%2F..%2Fx%3Fy"


@pytest.mark.parametrize(("code", "message", "error"), [
    (401, "Unauthorized", CredentialsError),
    (403, 'User "ann" cannot get resource "paddlejobs"', DeniedError),
    (404, "not found", AbsentError),
    (409, "already exists", ConflictError),
    (422, "is invalid", InvalidError),
    (503, "unavailable", NoAnswerError),
])  # fmt: skip
def test_a_status_becomes_our_error(
    client: Client, server: ApiServer, code: int, message: str, error: type[LaunchError]
) -> None:
    server.answer_status(code, message)
    with pytest.raises(error, match=r"^PaddleJob ml/flowers: expected "):
        client.get(PADDLE_JOBS, "flowers", namespace="ml")
    assert len(server.asked) == (2 if code == 401 else 1)  # with credentials read anew


@pytest.mark.parametrize("answer", [
    Answer(stall=True), Answer(body=b'{"kind": "PaddleJob"}', cut=True), Answer(body=b"<html>"),
    Answer(body=b"[]"), Answer(code=302, location="/elsewhere"),
], ids=["silence", "cut off", "a web page", "not an object", "elsewhere"])  # fmt: skip
def test_what_is_no_answer_is_asked_once_and_named_so(
    client: Client, server: ApiServer, answer: Answer
) -> None:
    server.answer = lambda _: answer
    with pytest.raises(NoAnswerError, match="context 'prod'"):
        client.create(PADDLE_JOBS, JOB, namespace="ml")
    assert len(server.asked) == 1


def test_a_cluster_that_does_not_listen_is_unreachable(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        client = connect(kubeconfig=write_kubeconfig(tmp_path, url=url, user={}), environ={}, timeouts=QUICK)
        with pytest.raises(NoAnswerError, match=url):
            client.get(PADDLE_JOBS, "flowers", namespace="ml")


def test_the_context_gives_namespace_and_name(client: Client, tmp_path: Path) -> None:
    assert (client.namespace, client.context) == ("ml", "prod")
    bare = connect(context="bare", environ={"KUBECONFIG": str(tmp_path / "kubeconfig")})
    assert (bare.namespace, bare.context) == ("default", "bare")


def test_a_backend_takes_the_context_s_namespace_unless_told_another(client: Client, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    backend = KubernetesBackend.connect(kubeconfig=kubeconfig)
    assert (backend.namespace, backend.context) == ("ml", "prod")
    backend = KubernetesBackend.connect(kubeconfig=kubeconfig, context="bare", namespace="team-a")
    assert (backend.namespace, backend.context) == ("team-a", "bare")


def test_several_kubeconfigs_are_merged(client: Client, tmp_path: Path) -> None:
    places = os.pathsep.join([str(tmp_path / "none"), str(tmp_path / "kubeconfig")])
    assert connect(environ={"KUBECONFIG": places}).context == "prod"


def test_a_credential_plugin_is_asked_for_its_token(server: ApiServer, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    answer = {
        "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
        "status": {"token": "fresh"},
    }  # fmt: skip
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    user = {"exec": {
        "apiVersion": answer["apiVersion"], "command": str(plugin), "interactiveMode": "Never",
    }}  # fmt: skip
    client = connect(kubeconfig=write_kubeconfig(tmp_path, url=server.url, user=user), environ={})
    client.get(PADDLE_JOBS, "flowers", namespace="ml")
    assert server.asked[0].headers["Authorization"] == "Bearer fresh"


def nothing(_: Path) -> None: ...


@pytest.mark.parametrize(("prepare", "context", "words"), [
    (nothing, None, "expected a file at"),
    (lambda path: path.write_text("a: [1"), None, "kubeconfig:2:1: expected YAML"),
    (lambda path: path.write_text("just text"), None, "expected a"),
    (lambda path: path.write_text("{}"), None, "expected contexts, got none"),
    (lambda path: write_kubeconfig(path.parent, url="http://x", user={}), "none", "are: 'bare', 'prod'"),
], ids=["missing", "not YAML", "text", "empty", "no such context"])  # fmt: skip
def test_a_kubeconfig_that_cannot_be_used_is_refused(
    tmp_path: Path, prepare: Callable[[Path], object], context: str | None, words: str
) -> None:
    path = tmp_path / "kubeconfig"
    prepare(path)
    with pytest.raises(KubeconfigError, match=words):
        connect(context=context, kubeconfig=path, environ={})


def test_inside_a_cluster_the_service_account_is_used(tmp_path: Path) -> None:
    environ = {
        "KUBECONFIG": str(tmp_path / "none"),
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
    }
    with pytest.raises(KubeconfigError, match="expected a mounted token"):
        connect(environ=environ, service_account=tmp_path)
    for name, text in (
        ("token", "secret"),
        ("ca.crt", AUTHORITY.cert_pem.bytes().decode()),
        ("namespace", "team-a\n"),
    ):
        (tmp_path / name).write_text(text)
    client = connect(environ=environ, service_account=tmp_path)
    assert (client.namespace, client.context) == ("team-a", "")
