"""Ways to a cluster that lead through a proxy, which is a process of its own."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from launcher.backends.kubernetes.logsource import KubernetesLogSource
from launcher.kube.async_client import AsyncClient
from launcher.kube.client import connect
from launcher.kube.errors import KubeconfigError, NoAnswerError
from launcher.kube.proxy import choose_proxy, parse_proxy
from launcher.logs.follow import Follower
from launcher.logs.log_filter import LogFilter
from launcher.logs.log_format import Formatter, LogFormat
from launcher.logs.source import Container, End, LogRequest, SourceError
from launcher.objects import PODS
from launcher.plan.handle import Handle
from tests.contract.harness import Collector
from tests.launcher.kube.api_server import Answer, ApiServer, Asked, SecureApiServer
from tests.launcher.kube.test_access import write_kubeconfig
from tests.launcher.kube.test_exec import SUCCESS, ExecServer

POD = {"kind": "Pod", "metadata": {"name": "w-0"}}


class Running:
    """A proxy that runs: its `url`, without credentials, and what it was `asked` for."""

    def __init__(self, scheme: str, folder: Path) -> None:
        self.folder = folder
        self.netloc = f"127.0.0.1:{(folder / 'port').read_text()}"
        self.url = f"{scheme}://{self.netloc}"

    @property
    def carried(self) -> int:
        """Bytes that servers have sent through it."""
        return int((self.folder / "carried").read_text())

    @property
    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    processes = []

    def run(kind: str, credentials: str = "") -> Running:
        folder = tmp_path / f"proxy-{kind}"
        folder.mkdir()
        if kind == "https":
            issued = trustme.CA()
            issued.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "proxy.pem")
            issued.cert_pem.write_to_path(folder / "ca.pem")
        argv = [sys.executable, "-m", "tests.fakes.proxy_server", kind, str(folder), credentials]
        processes.append(subprocess.Popen(argv))
        for _ in range(200):
            if (folder / "port").exists():
                return Running(kind, folder)
            time.sleep(0.05)
        raise AssertionError("the proxy has not started")

    yield run
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def server() -> Iterator[SecureApiServer]:
    with SecureApiServer() as running:
        running.answer_object(POD)
        assert isinstance(running, SecureApiServer)
        yield running


def behind(server: ApiServer | ExecServer, *, proxy: str) -> dict[str, str]:
    """What a kubeconfig says of a cluster that only the proxy can find."""
    cluster = server.cluster  # type: ignore[union-attr]
    return {**cluster, "server": cluster["server"].replace("127.0.0.1", "kube.internal"), "proxy-url": proxy}


def get(path: Path, environ: dict[str, str] | None = None) -> Any:
    return connect(kubeconfig=path, environ=environ or {}).get(PODS, "w-0", namespace="ml")


@pytest.mark.parametrize(("kind", "credentials", "named"), [
    ("http", "", ""), ("http", "user:pw", "user:pw@"), ("http", "us er:p@w", "us%20er:p%40w@"),
    ("socks5", "", ""), ("socks5", "user:pw", "user:pw@"),
])  # fmt: skip
def test_a_request_goes_through_the_proxy_which_learns_the_name_and_nothing_else(
    start, server, tmp_path, kind, credentials, named
):
    proxy = start(kind, credentials)
    url = proxy.url.replace("://", f"://{named}")
    path = write_kubeconfig(tmp_path, user={"token": "secret"}, **behind(server, proxy=url))
    assert get(path) == POD
    assert proxy.asked == [f"CONNECT kube.internal:{server.url.rpartition(':')[2]}"]
    assert server.asked[0].headers["Authorization"] == "Bearer secret"
    assert "Proxy-Authorization" not in server.asked[0].headers


def test_a_proxy_may_speak_tls_itself(start, server, tmp_path, monkeypatch):
    proxy = start("https", "user:pw")
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.folder / "ca.pem"))  # where OpenSSL looks for authorities
    url = proxy.url.replace("://", "://user:pw@")
    path = write_kubeconfig(tmp_path, user={"token": "secret"}, **behind(server, proxy=url))
    client = connect(kubeconfig=path, environ={})
    for _ in range(3):
        assert client.get(PODS, "w-0", namespace="ml") == POD
    assert len(proxy.asked) == 1


def test_a_proxy_that_is_not_trusted_is_told_nothing(start, server, tmp_path):
    proxy = start("https", "user:pw")
    url = proxy.url.replace("://", "://user:pw@")
    path = write_kubeconfig(tmp_path, user={"token": "secret"}, **behind(server, proxy=url))
    with pytest.raises(Exception, match="certificate"):
        get(path)
    assert not any("CONNECT" in line for line in proxy.asked)
    assert server.asked == []


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_logs_are_followed_through_a_proxy_as_they_are_written(start, server, tmp_path, kind):
    proxy = start(kind)
    server.answer = lambda _: Answer(pieces=(b"one\n", b"two\n"), stall=True)
    path = write_kubeconfig(tmp_path, user={"token": "t"}, **behind(server, proxy=proxy.url))

    class Receiver:
        taken = b""

        def begin(self) -> None: ...

        def take(self, piece: bytes) -> None:
            self.taken += piece
            if self.taken == b"one\ntwo\n":
                both.set_result(None)

        def end(self, end: Any) -> None:
            both.set_exception(end.error)

    async def follow() -> None:
        nonlocal both
        both = asyncio.get_running_loop().create_future()
        async_client = AsyncClient(connect(kubeconfig=path, environ={}))
        ask = LogRequest(container=Container(node=0, pod="w-0", uid="u", restarts=0), follow=True)
        stream = async_client.stream(ask, Receiver(), namespace="ml", container="paddle")
        await asyncio.wait_for(both, 20)
        stream.close()

    both: Any = None
    asyncio.run(follow())
    assert proxy.asked[0].startswith("CONNECT kube.internal:")


PODS_OF_A_JOB, LINES = 64, 1000


def job_of_many_pods(asked: Asked) -> Answer:
    """A job that goes on, each of whose pods has written `LINES` lines and writes no more."""
    if asked.path.endswith("/log"):
        node = int(asked.path.split("/")[-2].rpartition("-")[2])
        lines = (f"2026-11-24T00:00:00.{n:09d}Z [a1 r{node}] line {n:080d}\n" for n in range(LINES))
        return Answer(pieces=("".join(lines).encode(),), stall="follow" in asked.query)
    name, moment = "flowers", "2026-11-24T00:00:00Z"
    if asked.path.endswith("/pods"):
        items = [{
            "metadata": {
                "name": f"{name}-worker-{node}", "namespace": "ml", "uid": f"u{node}",
                "labels": {"training.kubeflow.org/replica-index": str(node)},
                "ownerReferences": [{"uid": "j"}], "creationTimestamp": moment,
            },
            "spec": {"nodeName": "n"},
            "status": {
                "phase": "Running",
                "containerStatuses": [{"name": "paddle", "restartCount": 0, "state": {"running": {}}}],
            },
        } for node in range(PODS_OF_A_JOB)]  # fmt: skip
        return Answer(body=json.dumps({"kind": "PodList", "metadata": {}, "items": items}).encode())
    job = {
        "metadata": {"name": name, "namespace": "ml", "uid": "j", "creationTimestamp": moment},
        "spec": {"paddleReplicaSpecs": {"Worker": {"replicas": PODS_OF_A_JOB}}},
        "status": {"conditions": [{"type": "Running", "status": "True"}]},
    }
    return Answer(body=json.dumps(job).encode())


def test_looks_at_many_pods_behind_a_proxy_cost_no_bytes_of_logs_where_nothing_is_new(
    start, server, tmp_path
):
    proxy = start("http")
    server.answer = job_of_many_pods
    path = write_kubeconfig(tmp_path, user={"token": "t"}, **behind(server, proxy=proxy.url))
    shown: list[bytes] = []

    def snapshots() -> int:
        return sum(asked.path.endswith("/pods") for asked in server.asked)

    async def until(fact: Callable[[], bool]) -> None:
        while not fact():
            await asyncio.sleep(0.05)

    async def follow() -> int:
        handle = Handle(backend="kubernetes", namespace="ml", job="flowers")
        source = KubernetesLogSource(AsyncClient(connect(kubeconfig=path, environ={})), handle)
        source.snapshot_every_s = 0.2
        follower = Follower(
            source, show=shown.extend, say=print, recording=None, follow=True, draw=random.Random(1),
            formatter=lambda node: Formatter(node=node, log_filter=LogFilter(), form=LogFormat()),
        )  # fmt: skip
        following = asyncio.create_task(follower.run())
        await asyncio.wait_for(until(lambda: len(shown) == PODS_OF_A_JOB * LINES), 120)
        seen, carried = snapshots(), proxy.carried
        await asyncio.wait_for(until(lambda: snapshots() >= seen + 5), 60)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        return proxy.carried - carried

    more = asyncio.run(follow())
    assert len(shown) == PODS_OF_A_JOB * LINES
    of_logs = [asked for asked in server.asked if asked.path.endswith("/log")]
    assert [asked.query.get("follow") for asked in of_logs] == ["true"] * PODS_OF_A_JOB
    assert sum(line.startswith("CONNECT") for line in proxy.asked) == len(server.asked)
    assert more < 5 * 100_000 < PODS_OF_A_JOB * LINES * 80  # five lists of pods, and no log


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_programs_run_in_pods_through_a_proxy(start, tmp_path, kind):
    proxy = start(kind, "user:pw")

    def play(server):
        server.send(1, b"hello")
        server.send(3, SUCCESS)

    with ExecServer(play) as server:
        url = proxy.url.replace("://", "://user:pw@")
        path = write_kubeconfig(tmp_path, user={"token": "t"}, **behind(server, proxy=url))
        client = connect(kubeconfig=path, environ={})
        with client.run_in_pod("w-0", ["ls"], namespace="ml", container="paddle") as channel:
            assert channel.stdout.read() == b"hello"
            assert channel.finish() == (0, "")
        assert server.headers["authorization"] == "Bearer t"
    assert len(proxy.asked) == 1


@pytest.mark.parametrize(("kind", "given", "said"), [
    ("http", "", "wants a user and password (407); name them as http://USER:PASSWORD@HOST:PORT in"),
    ("http", "user:wrong@", "wants a user and password (407); mend the user and password in"),
    ("socks5", "user:wrong@", "does not connect"),
])  # fmt: skip
def test_a_proxy_that_refuses_is_named_with_what_to_mend_and_without_the_password(
    start, server, tmp_path, kind, given, said
):
    proxy = start(kind, "user:pw")
    url = proxy.url.replace("://", f"://{given}")
    path = write_kubeconfig(tmp_path, user={"token": "t"}, **behind(server, proxy=url))
    with pytest.raises(NoAnswerError) as refused:
        get(path)
    assert f"the proxy {proxy.url} {said}" in str(refused.value)
    assert f"{path}: cluster 'c': proxy-url" in str(refused.value)
    assert "wrong" not in str(refused.value)

    async def ask() -> None:
        async_client = AsyncClient(connect(kubeconfig=path, environ={}))
        await async_client.fetch(
            "/api/v1/namespaces/ml/pods/w-0", {}, async_client.describe(namespace="ml", name="w-0")
        )

    with pytest.raises(SourceError, match=r"the proxy \S+ (wants a user|does not connect)"):
        asyncio.run(ask())


def test_a_proxy_that_is_not_there_is_named(server, tmp_path):
    path = write_kubeconfig(tmp_path, user={}, **behind(server, proxy="http://127.0.0.1:9"))
    with pytest.raises(NoAnswerError, match=r"the proxy http://127\.0\.0\.1:9 cannot be reached"):
        get(path)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_variables_name_a_proxy_as_well(start, server, tmp_path, variable):
    proxy = start("http", "user:pw")
    cluster = behind(server, proxy="")
    path = write_kubeconfig(tmp_path, user={"token": "t"}, **cluster)
    assert get(path, {variable: f"user:pw@{proxy.netloc}"}) == POD
    assert len(proxy.asked) == 1


async def _fetch(path: Path, environ: dict[str, str]) -> None:
    client = AsyncClient(connect(kubeconfig=path, environ=environ))
    await client.fetch("/api/v1/namespaces/ml/pods/w-0", {}, client.describe(namespace="ml", name="w-0"))


async def _read_log(path: Path, environ: dict[str, str]) -> None:
    heard = Collector()
    client = AsyncClient(connect(kubeconfig=path, environ=environ))
    request = LogRequest(container=Container(node=0, pod="w-0", uid="u", restarts=0))
    client.stream(request, heard, namespace="ml", container="paddle")
    while heard.result is None:
        await asyncio.sleep(0.01)
    assert heard.result == End()


WAYS: dict[str, Callable[[Path, dict[str, str]], object]] = {
    "request": get,
    "list": lambda path, environ: connect(kubeconfig=path, environ=environ).list(PODS, namespace="ml"),
    "watch": lambda path, environ: list(
        connect(kubeconfig=path, environ=environ).watch(PODS, namespace="ml", timeout_s=1)
    ),
    "log": lambda path, environ: connect(kubeconfig=path, environ=environ).read_pod_log(
        "w-0", namespace="ml", container="paddle"
    ),
    "object among many": lambda path, environ: asyncio.run(_fetch(path, environ)),
    "followed log": lambda path, environ: asyncio.run(asyncio.wait_for(_read_log(path, environ), 20)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("named", ["kubeconfig", "variable", "excepted"])
def test_every_way_into_a_cluster_takes_the_one_proxy_and_shows_the_one_identity(
    start, server, tmp_path, way, named
):
    proxy = start("http", "user:pw")
    server.answer = lambda asked: Answer(
        body=b"" if "watch" in asked.query or asked.path.endswith("/log") else json.dumps(POD).encode()
    )
    url = f"http://user:pw@{proxy.netloc}"
    cluster = server.cluster if named == "excepted" else behind(server, proxy="")
    if named == "kubeconfig":
        cluster["proxy-url"] = url
    environ = {} if named == "kubeconfig" else {"HTTPS_PROXY": url, "NO_PROXY": "127.0.0.0/8"}
    path = write_kubeconfig(tmp_path, user={"token": "t", "as": "jane"}, **cluster)
    WAYS[way](path, environ)
    target = f"CONNECT kube.internal:{server.url.rpartition(':')[2]}"
    assert proxy.asked == ([] if named == "excepted" else [target])
    (asked,) = server.asked
    assert (asked.headers["Authorization"], asked.headers["Impersonate-User"]) == ("Bearer t", "jane")
    assert "Proxy-Authorization" not in asked.headers


@pytest.mark.parametrize("named", ["kubeconfig", "variable", "excepted"])
def test_programs_in_pods_take_the_same_way(start, tmp_path, named):
    proxy = start("http", "user:pw")
    url = f"http://user:pw@{proxy.netloc}"
    with ExecServer(lambda server: server.send(3, SUCCESS)) as server:
        cluster = dict(server.cluster) if named == "excepted" else behind(server, proxy="")
        if named == "kubeconfig":
            cluster["proxy-url"] = url
        environ = {} if named == "kubeconfig" else {"HTTPS_PROXY": url, "NO_PROXY": "127.0.0.0/8"}
        path = write_kubeconfig(tmp_path, user={"token": "t", "as": "jane"}, **cluster)
        client = connect(kubeconfig=path, environ=environ)
        with client.run_in_pod("w-0", ["ls"], namespace="ml", container="paddle") as channel:
            assert channel.finish() == (0, "")
        assert (server.headers["authorization"], server.headers["impersonate-user"]) == ("Bearer t", "jane")
    assert len(proxy.asked) == (named != "excepted")


def test_a_plain_request_is_handed_to_the_proxy_itself(start, tmp_path):
    proxy = start("http", "user:pw")
    with ApiServer() as server:
        server.answer_object(POD)
        url = server.url.replace("127.0.0.1", "kube.internal")
        path = write_kubeconfig(
            tmp_path, user={"as": "jane"}, server=f"{url}/base",
            **{"proxy-url": f"http://user:pw@{proxy.netloc}"},
        )  # fmt: skip
        assert get(path) == POD
        assert proxy.asked == [f"GET {url}/base/api/v1/namespaces/ml/pods/w-0"]
        assert server.asked[0].headers["Host"] == url.removeprefix("http://")


HTTPS = {"HTTPS_PROXY": "http://proxy:3128"}


@pytest.mark.parametrize(("url", "environ", "expected"), [
    ("https://k.example:6443", HTTPS, "http://proxy:3128"),
    ("https://k.example", {"HTTP_PROXY": "http://proxy:3128"}, None),
    ("https://k.example", {"ALL_PROXY": "http://proxy:3128"}, None),
    ("http://k.example", {"http_proxy": "proxy"}, "http://proxy:80"),
    ("http://k.example", {"HTTP_PROXY": "proxy", "REQUEST_METHOD": "GET"}, None),
    ("https://127.0.0.1:6443", HTTPS, None),
    ("https://localhost", HTTPS, None),
    ("https://[::1]:6443", HTTPS, None),
    ("https://k.example", {**HTTPS, "NO_PROXY": "*"}, None),
    ("https://k.example", {**HTTPS, "NO_PROXY": "other, example"}, None),
    ("https://k.example", {**HTTPS, "no_proxy": ".example"}, None),
    ("https://k.example", {**HTTPS, "NO_PROXY": "*.example"}, None),
    ("https://example", {**HTTPS, "NO_PROXY": ".example"}, "http://proxy:3128"),
    ("https://kexample", {**HTTPS, "NO_PROXY": "example"}, "http://proxy:3128"),
    ("https://K.Example", {**HTTPS, "NO_PROXY": "k.example:443"}, None),
    ("https://k.example:6443", {**HTTPS, "NO_PROXY": "k.example:443"}, "http://proxy:3128"),
    ("https://10.1.2.3", {**HTTPS, "NO_PROXY": "10.0.0.0/8"}, None),
    ("https://10.1.2.3", {**HTTPS, "NO_PROXY": "10.1.2.3"}, None),
    ("https://11.1.2.3", {**HTTPS, "NO_PROXY": "10.0.0.0/8,1.2.3"}, None),
    ("https://11.1.2.4", {**HTTPS, "NO_PROXY": "10.0.0.0/8,11.1.2.3"}, "http://proxy:3128"),
    ("https://[fd00::5]:6443", {**HTTPS, "NO_PROXY": "fd00::/16"}, None),
    ("https://k.example", {"HTTPS_PROXY": "socks5://user:pw@bastion"}, "socks5://bastion:1080"),
])  # fmt: skip
def test_variables_are_read_as_go_reads_them(url, environ, expected):
    chosen = choose_proxy(url=url, named="", where="", environ=environ)
    assert (None if chosen is None else str(chosen)) == expected


def test_what_the_kubeconfig_says_wins_over_variables_and_exceptions():
    environ = {**HTTPS, "NO_PROXY": "*"}
    chosen = choose_proxy(url="https://k.example", named="http://mine:1", where="here", environ=environ)
    assert str(chosen) == "http://mine:1"


@pytest.mark.parametrize("text", [
    "ftp://user:pw@proxy", "proxy:3128", "http://", "http://user:pw@proxy:99999", "http://user:pw@proxy/path",
    "http://pro\nxy", "http://user:pw@[::1", "socks4://user:pw@proxy",
])  # fmt: skip
def test_what_is_no_proxy_is_refused_without_its_password(text):
    with pytest.raises(KubeconfigError, match=r"^here: expected a proxy as ") as refused:
        parse_proxy(text, source="here")
    assert "pw" not in str(refused.value)


def test_a_socks_proxy_without_its_package_says_what_to_install(monkeypatch, server, tmp_path):
    monkeypatch.setitem(sys.modules, "python_socks", None)
    path = write_kubeconfig(tmp_path, user={}, **behind(server, proxy="socks5://user:pw@127.0.0.1:9"))
    with pytest.raises(KubeconfigError, match=r"run `.*pip install .*\[socks\]'?`") as refused:
        get(path)
    assert "pw" not in str(refused.value)
    assert refused.value.exit_code == 3


def test_a_proxy_s_password_is_not_written_where_a_proxy_is_shown():
    proxy = parse_proxy("http://user:secret@proxy:1", source="here")
    assert "secret" not in f"{proxy} {proxy!r}"


def test_a_proxy_cannot_make_a_tunnel_s_answer_longer(tmp_path):
    """What it appends to its 200 would be taken for the server's."""
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        proxy = parse_proxy(f"http://127.0.0.1:{listening.getsockname()[1]}", source="here")
        with pytest.raises(OSError, match="bytes that nobody asked for"):
            proxy.connect("kube.internal", 443, timeout_s=5)
        thread.join()
