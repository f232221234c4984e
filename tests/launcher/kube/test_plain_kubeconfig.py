from __future__ import annotations

import base64
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from kubernetes.client.configuration import Configuration
from kubernetes.config import load_kube_config

from launcher.errors import UnreachableError
from launcher.kube.client import connect
from launcher.kube.plain import read_plain
from launcher.kube.resources import PADDLE_JOBS
from tests.launcher.kube.api_server import ApiServer

AUTHORITY = trustme.CA()
ISSUED = AUTHORITY.issue_cert("cluster.example")
CERTIFICATE = AUTHORITY.cert_pem.bytes().decode()
OWN = ISSUED.cert_chain_pems[0].bytes().decode()
KEY = ISSUED.private_key_pem.bytes().decode()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def write(folder: Path, *, cluster: dict[str, Any], user: dict[str, Any] | None, **more: Any) -> Path:
    (folder / "ca.pem").write_text(CERTIFICATE)
    (folder / "own.pem").write_text(OWN)
    (folder / "key.pem").write_text(KEY)
    (folder / "token").write_text("from-file\n")
    context = {"cluster": "c", "namespace": "ml"} | ({} if user is None else {"user": "u"})
    document = {
        "current-context": "prod", "contexts": [{"name": "prod", "context": context}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443", **cluster}}],
        "users": [] if user is None else [{"name": "u", "user": user}],
    }  # fmt: skip
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document | more))
    return path


CA, CA_DATA = {"certificate-authority": "ca.pem"}, {"certificate-authority-data": encoded(CERTIFICATE)}
PAIR = {"client-certificate": "own.pem", "client-key": "key.pem"}
PAIR_DATA = {"client-certificate-data": encoded(OWN), "client-key-data": encoded(KEY)}


@pytest.mark.parametrize(("cluster", "user"), [
    (CA, {"token": "t"}),
    (CA_DATA, {"token": "t"}),
    (CA, PAIR),
    (CA_DATA, PAIR_DATA),
    ({"insecure-skip-tls-verify": True}, PAIR_DATA),
    (CA | {"tls-server-name": "cluster.example"}, {"token": "t"}),
    (CA | {"extensions": [{"name": "minikube"}]}, {"token": "t"}),
    ({}, None),
    ({"server": "http://127.0.0.1:8001"}, None),
])  # fmt: skip
def test_what_is_plain_is_read_as_the_library_reads_it(tmp_path, cluster, user):
    path = write(tmp_path, cluster=cluster, user=user)
    plain, library = read_plain(str(path), context=None), Configuration()
    load_kube_config(config_file=str(path), client_configuration=library)
    assert plain is not None
    assert (plain.namespace, plain.context) == ("ml", "prod")
    ours = plain.configuration
    assert ours.host == library.host
    assert ours.verify_ssl == library.verify_ssl
    assert ours.tls_server_name == library.tls_server_name
    assert ours.authority == (Path(library.ssl_ca_cert).read_text() if library.ssl_ca_cert else None)
    files = (library.cert_file, library.key_file)
    assert ours.certificate == (tuple(Path(file).read_bytes() for file in files) if files[0] else None)
    theirs = library.auth_settings().get("BearerToken", {}).get("value")
    assert ours.auth_settings().get("BearerToken", {}).get("value") == theirs


def test_a_token_in_a_file_loses_its_newline(tmp_path):
    plain = read_plain(str(write(tmp_path, cluster=CA, user={"tokenFile": "token"})), context="prod")
    assert plain is not None
    assert plain.configuration.token == "from-file"


@pytest.mark.parametrize(("cluster", "user", "more"), [
    ({"proxy-url": "http://proxy"}, {"token": "t"}, {}),
    (CA, {"exec": {"command": "login"}}, {}),
    (CA, {"auth-provider": {"name": "oidc"}}, {}),
    (CA, {"username": "me", "password": "secret"}, {}),
    (CA, {"token": "t", "as": "somebody"}, {}),
    (CA, {"token": "t", "tokenFile": "token"}, {}),
    (CA, {"token": 5}, {}),
    (CA, {"client-key": "key.pem"}, {}),
    (CA, {"client-certificate": "ca.pem", "client-key": "ca.pem"}, {}),
    ({"certificate-authority": "missing.pem"}, {"token": "t"}, {}),
    ({"certificate-authority-data": "no base64"}, {"token": "t"}, {}),
    ({"certificate-authority": "token"}, {"token": "t"}, {}),
    ({"server": "cluster:6443"}, {"token": "t"}, {}),
    (CA, {"token": "t"}, {"current-context": "other"}),
    (CA, {"token": "t"}, {"clusters": 5}),
    (CA, {"token": "t"}, {"users": []}),
])  # fmt: skip
def test_what_is_not_plain_is_left_to_the_library(tmp_path, cluster, user, more):
    assert read_plain(str(write(tmp_path, cluster=cluster, user=user, **more)), context=None) is None


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_is_left_to_the_library(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, "http://proxy:3128")
    assert read_plain(str(write(tmp_path, cluster=CA, user={"token": "t"})), context=None) is None


def test_no_file_and_several_are_left_to_the_library(tmp_path):
    path = write(tmp_path, cluster=CA, user={"token": "t"})
    assert read_plain(str(tmp_path / "none"), context=None) is None
    assert read_plain(f"{path}:{path}", context=None) is None


def test_it_needs_nothing_of_the_library(tmp_path):
    path = write(tmp_path, cluster=CA_DATA, user=PAIR_DATA)
    program = (
        "import os, sys; from pathlib import Path; from launcher.kube.client import connect; "
        "connect(kubeconfig=Path(sys.argv[1]), environ={}); assert 'kubernetes' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    write(tmp_path, cluster={}, user=None)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.pem"))
    context.load_cert_chain(tmp_path / "own.pem", tmp_path / "key.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with ApiServer(tls=context) as running:
        yield running


@pytest.mark.parametrize("user", [PAIR, PAIR_DATA], ids=["files", "data"])
@pytest.mark.parametrize(
    "trust", [CA, CA_DATA, {"insecure-skip-tls-verify": True}], ids=["ca file", "ca data", "nothing"]
)
def test_certificates_prove_both_ends(tmp_path, server, user, trust):
    cluster = {"server": server.url, "tls-server-name": "cluster.example", **trust}
    client = connect(kubeconfig=write(tmp_path, cluster=cluster, user=user), environ={})
    assert client.get(PADDLE_JOBS, "flowers", namespace="ml") == {}


@pytest.mark.parametrize(("cluster", "user"), [
    (CA, PAIR),
    ({"tls-server-name": "cluster.example"}, PAIR),
    (CA | {"tls-server-name": "cluster.example"}, {"token": "t"}),
], ids=["another name", "unknown authority", "no certificate"])  # fmt: skip
def test_what_is_not_proven_is_refused(tmp_path, server, cluster, user):
    path = write(tmp_path, cluster={"server": server.url, **cluster}, user=user)
    with pytest.raises(UnreachableError):
        connect(kubeconfig=path, environ={}).get(PADDLE_JOBS, "flowers", namespace="ml")
