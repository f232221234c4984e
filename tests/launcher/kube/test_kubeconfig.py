"""Kubeconfigs as they are read: held against the official client where both agree, and what is refused."""

from __future__ import annotations

import base64
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
from launcher.kube.access import Access, load_access
from launcher.kube.client import connect
from launcher.kube.errors import KubeconfigError
from launcher.kube.remarks import tell_to
from launcher.objects import PADDLE_JOBS
from tests.launcher.kube.api_server import ApiServer

AUTHORITY = trustme.CA()
ISSUED = AUTHORITY.issue_cert("cluster.example")
CERTIFICATE = AUTHORITY.cert_pem.bytes().decode()
OWN = ISSUED.cert_chain_pems[0].bytes().decode()
KEY = ISSUED.private_key_pem.bytes().decode()
SECRET = "s3cr3t"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def write(folder: Path, *, cluster: dict[str, Any], user: dict[str, Any] | None, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
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


def read(path: Path | None = None, *, context: str | None = None, **environ: str) -> Access:
    return load_access(context=context, kubeconfig=path, environ=environ, service_account=Path("/none"))


@pytest.fixture
def remarks() -> Iterator[list[str]]:
    said: list[str] = []
    tell_to(said.append)
    yield said
    tell_to(None)


CA, CA_DATA = {"certificate-authority": "ca.pem"}, {"certificate-authority-data": encoded(CERTIFICATE)}
PAIR = {"client-certificate": "own.pem", "client-key": "key.pem"}
PAIR_DATA = {"client-certificate-data": encoded(OWN), "client-key-data": encoded(KEY)}


@pytest.mark.parametrize(("cluster", "user"), [
    (CA, {"token": "t"}),
    (CA_DATA, {"token": "t"}),
    (CA, PAIR),
    (CA_DATA, PAIR_DATA),
    (CA, {**PAIR, "token": "t"}),
    (CA, {"username": "me", "password": "pässword"}),
    ({"insecure-skip-tls-verify": True}, PAIR_DATA),
    (CA | {"tls-server-name": "cluster.example"}, {"token": "t"}),
    (CA | {"extensions": [{"name": "minikube"}]}, {"token": "t"}),
    (CA | {"server": "https://127.0.0.1:6443/k8s/clusters/c-1"}, {"token": "t"}),
    ({}, None),
    ({"server": "http://127.0.0.1:8001"}, None),
])  # fmt: skip
def test_it_is_read_as_the_official_client_reads_it(tmp_path, cluster, user):
    path = write(tmp_path, cluster=cluster, user=user)
    ours, theirs = read(path), Configuration()
    load_kube_config(config_file=str(path), client_configuration=theirs)
    assert (ours.namespace, ours.context) == ("ml", "prod")
    endpoint = ours.endpoint
    assert endpoint.url == theirs.host
    assert endpoint.verifies == theirs.verify_ssl
    assert endpoint.tls_server_name == theirs.tls_server_name
    assert endpoint.authority == (Path(theirs.ssl_ca_cert).read_text() if theirs.ssl_ca_cert else None)
    files = (theirs.cert_file, theirs.key_file)
    assert endpoint.certificate == (tuple(Path(file).read_bytes() for file in files) if files[0] else None)
    said = theirs.auth_settings().get("BearerToken", {}).get("value")
    if user is not None and "username" not in user:
        assert dict(ours.identity.fields()).get("Authorization") == said
    elif user is not None:
        assert dict(ours.identity.fields())["Authorization"] == f"Basic {encoded('me:pässword')}"


def test_of_several_files_the_first_that_names_something_counts_and_paths_are_relative_to_theirs(
    tmp_path, remarks
):
    first = write(tmp_path / "a", cluster=CA, user={"token": "first"})
    second = write(
        tmp_path / "b", cluster={"server": "https://other:1"}, user={"token": "second", "as": "jane"},
        **{"current-context": "own"},
    )  # fmt: skip
    document = yaml.safe_load(second.read_text())
    document["contexts"].append({"name": "own", "context": {"cluster": "d", "user": "v"}})
    document["clusters"].append({"name": "d", "cluster": {"server": "https://d:1", **CA}})
    document["users"].append({"name": "v", "user": {"tokenFile": "token"}})
    second.write_text(yaml.safe_dump(document))
    (tmp_path / "b" / "token").write_text("of-b")
    places = f"{tmp_path}/none:{first}::{second}"
    assert dict(read(KUBECONFIG=places).identity.fields()) == {"Authorization": "Bearer first"}
    own = read(KUBECONFIG=places, context="own")
    assert (own.endpoint.url, own.namespace) == ("https://d:1", "default")
    assert dict(own.identity.fields()) == {"Authorization": "Bearer of-b"}
    assert read(KUBECONFIG=f"{second}:{first}").context == "own"
    assert remarks == [f"{tmp_path}/none: there is no such kubeconfig; the others of KUBECONFIG are used"]


@pytest.mark.parametrize("current", ["", None])
def test_without_a_current_context_those_there_are_are_named(tmp_path, current):
    contexts = [{"name": name, "context": {"cluster": "c"}} for name in ("prod", "dev")]
    path = write(tmp_path, cluster=CA, user=None, contexts=contexts, **{"current-context": current})
    with pytest.raises(KubeconfigError, match=r"--context.*there are: 'dev', 'prod'") as refused:
        read(path)
    assert refused.value.exit_code == 3
    assert read(path, context="dev").context == "dev"
    with pytest.raises(KubeconfigError, match=r"--context: expected a context that is there, got 'test'"):
        read(path, context="test")


@pytest.mark.parametrize(("cluster", "user", "more", "said"), [
    (CA | {"server": "cluster:6443"}, None, {}, r"cluster 'c': server: expected https://HOST:PORT"),
    (CA | {"server": ""}, None, {}, r"cluster 'c': server: expected https://HOST:PORT"),
    (CA | {"server": "https://h:1/a b"}, None, {}, r"server: expected https://HOST:PORT"),
    (CA | {"server": "https://h:99999"}, None, {}, r"server: expected https://HOST:PORT"),
    (CA | {"server": f"https://me:{SECRET}@h:1"}, None, {}, r"server: expected .*, got a user and password"),
    (CA | {"server": "https://h:1/?a=b"}, None, {}, r"server: expected https://HOST:PORT"),
    ({"certificate-authority": "none.pem"}, None, {}, r"certificate-authority: expected a file that"),
    ({"certificate-authority": "token"}, None, {}, r"certificate-authority: expected PEM"),
    ({"certificate-authority-data": "!"}, None, {}, r"certificate-authority-data: expected base64"),
    ({"certificate-authority-data": "eA=="}, None, {}, r"certificate-authority: expected PEM"),
    (CA | {"insecure-skip-tls-verify": True}, None, {}, r"insecure-skip-tls-verify: expected it, or"),
    (CA | {"insecure-skip-tls-verify": "yes"}, None, {}, r"insecure-skip-tls-verify: expected true or false"),
    (CA, {"token": 5}, {}, r"user 'u': token: expected text, got a number"),
    (CA, {"token": f"{SECRET}\n"}, {}, r"token: expected a token of visible ASCII"),
    (CA, {"token": f"{SECRET}\r\nX-Remote-User: admin"}, {}, r"token: expected a token of visible ASCII"),
    (CA, {"token": f"{SECRET}ü"}, {}, r"token: expected a token of visible ASCII"),
    (CA, {"token": SECRET, "username": "me"}, {}, r"expected one way .*, got token and username"),
    (CA, {"client-key": "key.pem"}, {}, r"client-certificate: expected one beside the other"),
    (CA, {"client-certificate": "ca.pem", "client-key": "ca.pem"}, {}, r"client-key: expected PEM"),
    (CA, {"client-certificate": "own.pem", "client-key-data": encoded(OWN)}, {}, r"client-key: expected PEM"),
    (CA, {"tokenFile": "none"}, {}, r"tokenFile: expected a token in "),
    (CA, {"as-groups": ["admins"]}, {}, r"as: expected a user beside"),
    (CA, {"as": "jane", "as-groups": "admins"}, {}, r"as-groups: expected a list of text"),
    (CA, {"as": "jane\r\nImpersonate-User: admin"}, {}, r"expected no line breaks"),
    (CA, {"as": "jane", "as-user-extra": {"a": "b"}}, {}, r"as-user-extra: expected a list of text"),
    (CA, {"auth-provider": {"name": "gcp"}}, {}, r"auth-provider: name: expected oidc, got 'gcp'"),
    (CA, {"auth-provider": {"name": "oidc"}}, {}, r"expected an id-token, got none"),
    (CA, {"exec": {}, "auth-provider": {}}, {}, r"exec|auth-provider"),
    (CA, {"exec": [1]}, {}, r"exec: expected a mapping"),
    (CA, {"token": "t"}, {"current-context": ["x"]}, r"current-context: expected text, got a list"),
    (CA, {"token": "t"}, {"clusters": 5}, r"clusters: expected a list, got a number"),
    (CA, {"token": "t"}, {"clusters": []}, r"cluster: expected a cluster that .* has, got 'c'"),
    (CA, {"token": "t"}, {"users": []}, r"user: expected a user that .* has, got 'u'"),
    (CA, {"token": "t"}, {"users": [{"name": "u", "user": {}}] * 2}, r"user 'u': expected it once"),
    (CA, {"token": "t"}, {"users": [{"user": {}}]}, r"users\[0\]: expected an entry with a name"),
    (CA, {"token": "t"}, {"users": [{"name": "u", "user": SECRET}]}, r"user 'u': expected fields, got text"),
])  # fmt: skip
def test_what_cannot_be_used_is_refused_with_its_place_and_without_its_secrets(
    tmp_path, cluster, user, more, said
):
    path = write(tmp_path, cluster=cluster, user=user, **more)
    with pytest.raises(UnreachableError, match=said) as refused:
        read(path)
    assert str(refused.value).startswith(str(path))
    assert SECRET not in str(refused.value)
    assert "; " in str(refused.value)


@pytest.mark.parametrize("content", [
    f"token: {SECRET}: x", f"users: [{SECRET}", "[1]", "just text", "a: *b", "!!python/object:os.system {}",
    "[" * 3000, "a: 2001-99-99", "\x00", "- \xff",
], ids=range(10))  # fmt: skip
def test_what_is_no_kubeconfig_is_refused_without_showing_it(tmp_path, content):
    path = tmp_path / "kubeconfig"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(KubeconfigError, match=r"expected (YAML|a kubeconfig)") as refused:
        read(path)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None or SECRET not in str(refused.value.__cause__)


def test_a_file_that_may_not_be_read_or_is_a_folder_is_told(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(KubeconfigError, match="expected a kubeconfig that can be read, got Is a directory"):
        read(tmp_path / "folder")


def test_fields_without_effect_are_said_once(tmp_path, remarks):
    path = write(tmp_path, cluster=CA | {"proxy_url": "http://p"}, user={"token": "t", "tokn": SECRET})
    read(path)
    read(path)
    assert remarks == [
        f"{path}: cluster 'c': 'proxy_url' is no field that is known, and has no effect",
        f"{path}: user 'u': 'tokn' is no field that is known, and has no effect",
    ]


def test_it_needs_nothing_of_the_official_client_or_of_urllib3(tmp_path):
    path = write(tmp_path, cluster=CA_DATA | {"proxy-url": "http://p:1"}, user=PAIR_DATA)
    program = (
        "import os, sys; from pathlib import Path; from launcher.kube.client import connect; "
        "connect(kubeconfig=Path(sys.argv[1]), environ={}); "
        "assert not {'kubernetes', 'urllib3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    import ssl

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
