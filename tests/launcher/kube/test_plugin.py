"""Credential plugins, as programs of a user's own."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.kube import plugin as plugins
from launcher.kube.client import connect
from launcher.kube.errors import KubeconfigError
from launcher.kube.plugin import PluginError
from launcher.objects import PODS
from tests.launcher.kube.api_server import SecureApiServer
from tests.launcher.kube.test_access import write_kubeconfig

V1 = "client.authentication.k8s.io/v1"
GOOD = json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": {"token": "good"}})


@pytest.fixture
def server() -> Iterator[SecureApiServer]:
    with SecureApiServer() as running:
        running.answer_object({"kind": "Pod"})
        assert isinstance(running, SecureApiServer)
        yield running


Ask = Callable[..., str]


@pytest.fixture
def ask(server: SecureApiServer, tmp_path: Path) -> Ask:
    """Ask the cluster with a plugin of this text; return the header by which it knew us."""
    script = tmp_path / "my-login"

    def run(text: str, *, times: int = 1, **more: Any) -> str:
        script.write_text(f"#!/bin/sh\necho run >> {tmp_path}/runs\n{text}\n")
        script.chmod(0o755)
        settings = {"apiVersion": V1, "command": "./my-login", "interactiveMode": "Never", **more}
        path = write_kubeconfig(tmp_path, user={"exec": settings}, **server.cluster)
        for _ in range(times):
            connect(kubeconfig=path, environ={}).get(PODS, "w-0", namespace="ml")
        return server.asked[-1].headers.get("Authorization", "")

    return run


def runs(tmp_path: Path) -> int:
    return (tmp_path / "runs").read_text().count("run")


def test_one_answer_does_for_a_whole_command(ask, tmp_path):
    assert ask(f"echo '{GOOD}'", times=5) == "Bearer good"
    assert runs(tmp_path) == 1


def test_an_answer_that_has_run_out_is_asked_for_again(ask, tmp_path):
    status = {"token": "short", "expirationTimestamp": "2020-01-01T00:00:00.123456789Z"}
    text = json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status})
    assert ask(f"echo '{text}'", times=2) == "Bearer short"
    assert runs(tmp_path) >= 2


def test_many_threads_run_it_once(server, tmp_path):
    script = tmp_path / "slow-login"
    script.write_text(f"#!/bin/sh\necho run >> {tmp_path}/runs\nsleep 0.3\necho '{GOOD}'\n")
    script.chmod(0o755)
    user = {"exec": {"apiVersion": V1, "command": str(script), "interactiveMode": "Never"}}
    path = write_kubeconfig(tmp_path, user=user, **server.cluster)
    threads = [threading.Thread(target=lambda: connect(kubeconfig=path, environ={})) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs(tmp_path) == 1


def test_one_that_fails_is_run_once_and_its_own_words_are_said(ask, server, tmp_path):
    def fail() -> str:
        with pytest.raises(PluginError) as refused:
            ask("echo 'your session has expired' >&2; exit 3", installHint="pip install\nmy-login")
        assert refused.value.said == "your session has expired"
        assert refused.value.exit_code == 3
        return str(refused.value)

    said = fail()
    assert "user 'u': exec: credential plugin 'my-login': expected a token, got exit code 3" in said
    assert "the words 'your session has expired'" in said
    assert "its installHint: 'pip install my-login'" in said
    assert fail() == said
    assert runs(tmp_path) == 1
    assert server.asked == []


def test_its_words_are_said_without_what_the_kubeconfig_hands_it(ask):
    env = [{"name": "CLIENT_SECRET", "value": "s3cret-of-the-client"}, {"name": "DEBUG", "value": "1"}]
    with pytest.raises(PluginError) as refused:
        ask('echo "1 login with $CLIENT_SECRET failed" >&2; exit 1', env=env)
    assert refused.value.said == "1 login with … failed"


def test_one_that_is_not_there_is_told_with_its_hint(ask, server):
    with pytest.raises(
        PluginError, match=r"'no-such-login': expected a program .* got none of this name"
    ) as gone:
        ask("", command="no-such-login", installHint="see https://vendor.example")
    assert "see https://vendor.example" in str(gone.value)
    assert server.asked == []


@pytest.mark.parametrize("text", ["exec yes", "exec yes >&2"], ids=["stdout", "stderr"])
def test_one_that_writes_without_end_is_stopped_and_said_to_write_too_much(ask, server, text):
    with pytest.raises(PluginError, match=r"expected an answer of at most 1,048,576 bytes, got more"):
        ask(text)
    assert server.asked == []


@pytest.mark.parametrize("text", [
    "sleep 60", "sleep 60 & wait", "while :; do echo x; sleep 0.05; done", "exec sleep 60 >&- 2>&-",
], ids=["silent", "child", "chatter", "closed"])  # fmt: skip
def test_one_that_hangs_is_stopped_with_all_that_it_started(ask, server, tmp_path, monkeypatch, text):
    monkeypatch.setattr(plugins, "QUIET_S", 0.5)
    began_s = time.monotonic()
    with pytest.raises(PluginError, match=r"expected an answer, got none for 0\.5 s"):
        ask(f"echo $$ > {tmp_path}/pid\n{text}")
    assert time.monotonic() - began_s < 10
    assert not has_group(int((tmp_path / "pid").read_text()))
    assert server.asked == []


def has_group(pid: int) -> bool:
    for _ in range(100):
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.02)
    return True


def test_one_that_never_ends_its_answer_is_stopped(ask):
    began_s = time.monotonic()
    with pytest.raises(PluginError):
        ask("yes")
    assert time.monotonic() - began_s < 30


def test_what_it_leaves_behind_does_not_keep_us(ask, monkeypatch):
    began_s = time.monotonic()
    assert ask(f"echo '{GOOD}'\nsleep 20 &") == "Bearer good"
    assert time.monotonic() - began_s < 10


@pytest.mark.parametrize(("answer", "said"), [
    ("no json", "expected an ExecCredential"),
    ("[1]", "expected an ExecCredential"),
    ("[" * 100000, "expected an ExecCredential"),
    ('{"kind": "Other"}', "expected an ExecCredential"),
    ('{"kind": "ExecCredential", "apiVersion": "other/v1"}', f"expected {V1}, got 'other/v1'"),
    (f'{{"kind": "ExecCredential", "apiVersion": "{V1}"}}', "expected a token, or a certificate"),
    (GOOD.replace('"good"', "5"), "expected a token, or a certificate"),
    (GOOD.replace('"token"', '"clientKeyData"'), "expected a token, or a certificate"),
    (GOOD.replace('"good"', '"good", "expirationTimestamp": "soon"'), "expected expirationTimestamp as RFC"),
    (GOOD.replace('"good"', '"s3cret\\r\\nX-Remote-User: admin"'), "token: expected a token of visible"),
], ids=range(10))  # fmt: skip
def test_what_is_no_answer_is_refused_without_showing_it(ask, server, tmp_path, answer, said):
    (tmp_path / "answer").write_text(answer)
    with pytest.raises((PluginError, KubeconfigError), match=said) as refused:
        ask(f"cat {tmp_path}/answer")
    assert "s3cret" not in str(refused.value)
    assert server.asked == []


@pytest.mark.parametrize(("more", "said"), [
    ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "apiVersion: expected client"),
    ({"apiVersion": ""}, "apiVersion: expected client"),
    ({"interactiveMode": ""}, "interactiveMode: expected Never, IfAvailable or Always"),
    ({"interactiveMode": "Always"}, "expected a terminal"),
    ({"command": ""}, "command: expected the plugin's program"),
    ({"args": "x"}, "args: expected a list of text"),
    ({"env": [{"name": "A"}]}, "env: expected a list of name and value"),
])  # fmt: skip
def test_settings_that_kubectl_refuses_are_refused(ask, monkeypatch, more, said):
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        with pytest.raises((PluginError, KubeconfigError), match=said):
            ask(f"echo '{GOOD}'", **more)


def test_it_is_told_of_the_cluster_and_gets_its_arguments_and_variables(ask, server, tmp_path):
    given = {"args": ["a b", "$(c)"], "env": [{"name": "MINE", "value": "x"}], "provideClusterInfo": True}
    ask(
        f'echo "$1|$2|$MINE" > {tmp_path}/got; echo "$KUBERNETES_EXEC_INFO" > {tmp_path}/info; '
        f"echo '{GOOD}'",
        **given,
    )
    assert (tmp_path / "got").read_text() == "a b|$(c)|x\n"
    info = json.loads((tmp_path / "info").read_text())
    assert (info["apiVersion"], info["kind"], info["spec"]["interactive"]) == (V1, "ExecCredential", False)
    assert info["spec"]["cluster"] == server.cluster


def test_a_plugin_may_give_a_certificate(server, tmp_path):
    import ssl

    from tests.launcher.kube.api_server import AUTHORITY, ApiServer

    own = AUTHORITY.issue_cert("ann@example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    AUTHORITY.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    status = {
        "clientCertificateData": own.cert_chain_pems[0].bytes().decode(),
        "clientKeyData": own.private_key_pem.bytes().decode(),
    }
    answer = {"apiVersion": V1, "kind": "ExecCredential", "status": status}
    (tmp_path / "answer").write_text(json.dumps(answer))
    user = {"exec": {
        "apiVersion": V1, "command": "cat", "args": [str(tmp_path / "answer")], "interactiveMode": "Never",
    }}  # fmt: skip
    with ApiServer(tls=context) as strict:
        strict.answer_object({"kind": "Pod"})
        cluster = {**server.cluster, "server": strict.url}
        path = write_kubeconfig(tmp_path, user=user, **cluster)
        assert connect(kubeconfig=path, environ={}).get(PODS, "w-0", namespace="ml") == {"kind": "Pod"}
