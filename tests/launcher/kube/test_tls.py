"""Over real TLS, with an authority of the tests' own: the client of single requests and that of many."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from launcher.jobs.retry import Retry
from launcher.kube.async_client import AsyncClient
from launcher.kube.client import Timeouts, connect
from launcher.kube.errors import CertificateError, NoAnswerError
from launcher.logs.source import Container, End, FailureKind, LogRequest, SourceError
from launcher.objects import PODS
from tests.launcher.kube.api_server import Answer, ApiServer
from tests.launcher.kube.test_access import write_kubeconfig

POD = {"kind": "Pod", "metadata": {"name": "w-0"}}
LINES = tuple(b"2026-11-24T00:00:%02d.000000000Z line %d\n" % (second, second) for second in range(50))
SOON_S = 0.5


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(organization_name="the cluster's")


@pytest.fixture(scope="module")
def stranger() -> trustme.CA:
    return trustme.CA(organization_name="somebody else's")


@pytest.fixture
def serve(authority: trustme.CA) -> Iterator[Callable[..., ApiServer]]:
    """Start an API server with a certificate for `names`; with `clients` it wants one of that authority."""
    running: list[ApiServer] = []

    def start(*names: str, clients: trustme.CA | None = None, **issue: Any) -> ApiServer:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*(names or ("127.0.0.1",)), **issue).configure_cert(context)
        if clients is not None:
            clients.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
            # in 1.3 a refusal comes after the handshake, and may be lost with the connection
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        server = ApiServer(tls=context)
        server.__enter__()
        running.append(server)
        server.answer_object(POD)
        return server

    yield start
    for server in running:
        server.__exit__()


def trust(authority: trustme.CA) -> dict[str, str]:
    return {"certificate-authority-data": base64.b64encode(authority.cert_pem.bytes()).decode()}


def make_asker(kubeconfig: Path, *, answer_s: float = 10.0) -> AsyncClient:
    def again() -> Any:
        return connect(
            kubeconfig=kubeconfig, environ={}, timeouts=Timeouts(connect_s=answer_s, read_s=answer_s)
        )

    return AsyncClient(again(), reconnect=again, answer_s=answer_s)


def ask_once(kubeconfig: Path, *, answer_s: float = 10.0) -> Any:
    client = connect(
        kubeconfig=kubeconfig, environ={}, timeouts=Timeouts(connect_s=answer_s, read_s=answer_s)
    )
    return client.get(PODS, "w-0", namespace="ml")


def ask_among_many(kubeconfig: Path, *, answer_s: float = 10.0) -> Any:
    async def fetch() -> Any:
        async_client = make_asker(kubeconfig, answer_s=answer_s)
        call = async_client.describe(namespace="ml", name="w-0")
        try:
            return await async_client.fetch("/api/v1/namespaces/ml/pods/w-0", {}, call)
        except SourceError as error:
            raise (error.end.error or error) from error

    return asyncio.run(fetch())


both_ways = pytest.mark.parametrize("ask", [ask_once, ask_among_many])


@both_ways
def test_a_server_is_trusted_whose_certificate_the_kubeconfig_s_authority_has_signed(
    ask, serve, authority, tmp_path
):
    server = serve()
    assert ask(write_kubeconfig(tmp_path, user={}, server=server.url, **trust(authority))) == POD


@both_ways
def test_another_authority_is_refused_before_anything_is_sent_and_the_cure_is_said(
    ask, serve, stranger, tmp_path
):
    server = serve()
    kubeconfig = write_kubeconfig(tmp_path, user={"token": "secret"}, server=server.url, **trust(stranger))
    with pytest.raises(CertificateError) as refused:
        ask(kubeconfig)
    assert str(refused.value).startswith(
        f"Pod ml/w-0: expected a certificate of {server.url} that the kubeconfig's CA has signed, got: "
    )
    assert str(refused.value).endswith(
        "check that this is your cluster, then renew certificate-authority-data of the kubeconfig's cluster "
        "(context 'prod')"
    )
    assert server.asked == []


@both_ways
def test_a_name_that_the_certificate_lacks_is_refused_and_tls_server_name_is_the_cure(
    ask, serve, authority, tmp_path
):
    server = serve("api.flowers.example")
    with pytest.raises(CertificateError, match=r"set tls-server-name of the kubeconfig's cluster"):
        ask(write_kubeconfig(tmp_path, user={}, server=server.url, **trust(authority)))
    named = {**trust(authority), "tls-server-name": "api.flowers.example"}
    assert ask(write_kubeconfig(tmp_path, user={}, server=server.url, **named)) == POD


@both_ways
def test_a_certificate_that_has_run_out_is_refused(ask, serve, authority, tmp_path):
    server = serve(not_after=datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc))
    with pytest.raises(CertificateError, match=r"got: certificate has expired; renew the API server's"):
        ask(write_kubeconfig(tmp_path, user={}, server=server.url, **trust(authority)))


@both_ways
def test_what_is_not_to_be_verified_is_not(ask, serve, tmp_path):
    server = serve("another.example")
    kubeconfig = write_kubeconfig(tmp_path, user={}, server=server.url, **{"insecure-skip-tls-verify": True})
    assert ask(kubeconfig) == POD


@both_ways
def test_a_client_certificate_is_shown(ask, serve, authority, tmp_path):
    server = serve(clients=authority)
    pair = authority.issue_cert("user@flowers.example")
    user = {
        "client-certificate-data": base64.b64encode(pair.cert_chain_pems[0].bytes()).decode(),
        "client-key-data": base64.b64encode(pair.private_key_pem.bytes()).decode(),
    }
    assert ask(write_kubeconfig(tmp_path, user=user, server=server.url, **trust(authority))) == POD


@both_ways
def test_a_client_certificate_that_is_missing_is_said(ask, serve, authority, tmp_path):
    server = serve(clients=authority)
    with pytest.raises(CertificateError, match=r"to take our client certificate, got \w*ALERT\w*; log in"):
        ask(write_kubeconfig(tmp_path, user={}, server=server.url, **trust(authority)))


@both_ways
def test_a_port_without_tls_is_told_from_one_that_is_silent(ask, authority, tmp_path):
    with ApiServer() as plain:
        url = plain.url.replace("http:", "https:")
        with pytest.raises(CertificateError, match=r"got another protocol; mend `server`"):
            ask(write_kubeconfig(tmp_path, user={}, server=url, **trust(authority)))


@both_ways
@pytest.mark.parametrize(
    "answer", [Answer(stall=True), Answer(cut=True, body=json.dumps(POD).encode())], ids=["silent", "cut"]
)
def test_a_connection_that_falls_silent_or_is_cut_is_no_answer(ask, answer, serve, authority, tmp_path):
    server = serve()
    server.answer = lambda _: answer
    kubeconfig = write_kubeconfig(tmp_path, user={}, server=server.url, **trust(authority))
    with pytest.raises(NoAnswerError, match=r"check that the cluster of context 'prod' runs"):
        ask(kubeconfig, answer_s=SOON_S)


@both_ways
def test_a_handshake_that_is_never_answered_ends(ask, authority, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"https://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(NoAnswerError):
            ask(write_kubeconfig(tmp_path, user={}, server=url, **trust(authority)), answer_s=SOON_S)


@both_ways
def test_a_closed_port_is_no_answer(ask, authority, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"https://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(NoAnswerError, match=r"got \w*Error: "):
        ask(write_kubeconfig(tmp_path, user={}, server=url, **trust(authority)))


def test_a_watching_command_does_not_wait_for_a_certificate_to_become_good(serve, stranger, tmp_path):
    kubeconfig = write_kubeconfig(tmp_path, user={}, server=serve().url, **trust(stranger))

    def refuse_to_wait(_: float) -> None:
        raise AssertionError("it waits")

    with pytest.raises(CertificateError):
        Retry("flowers", pause=refuse_to_wait).ask(lambda: ask_once(kubeconfig))


class Heard:
    """Who asked for a log."""

    def __init__(self) -> None:
        self.data, self.result = b"", End()
        self.begun, self.enough, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def begin(self) -> None:
        self.begun.set()

    def take(self, piece: bytes) -> None:
        self.data += piece
        if self.data.count(b"\n") == len(LINES):
            self.enough.set()

    def end(self, end: End) -> None:
        self.result = end
        self.ended.set()


def listen(kubeconfig: Path, *, until: str = "ended", **ask: Any) -> Heard:
    async def listen() -> Heard:
        heard = Heard()
        container = Container(node=0, pod="w-0", uid="u", restarts=0)
        stream = make_asker(kubeconfig).stream(
            LogRequest(container=container, follow=True, **ask), heard, namespace="ml", container="paddle"
        )
        stream.pause()
        await heard.begun.wait() if until == "begun" else None
        stream.resume()
        await getattr(heard, until).wait()
        stream.close()
        return heard

    return asyncio.run(asyncio.wait_for(listen(), 20))


def test_a_log_comes_whole_through_any_cut_of_its_pieces(serve, authority, tmp_path):
    server = serve()
    whole = b"".join(LINES)
    server.answer = lambda _: Answer(pieces=tuple(whole[at : at + 7] for at in range(0, len(whole), 7)))
    kubeconfig = write_kubeconfig(tmp_path, user={}, server=server.url, **trust(authority))
    heard = listen(kubeconfig, since_s=1_790_000_000, tail_lines=7)
    assert (heard.data, heard.result) == (whole, End())
    assert server.asked[0].query == {
        "container": "paddle", "timestamps": "true", "follow": "true", "tailLines": "7",
        "sinceTime": "2026-09-21T14:13:20Z",
    }  # fmt: skip


def test_what_came_before_a_reset_is_kept_and_the_reset_is_said(serve, authority, tmp_path):
    server = serve()
    server.answer = lambda _: Answer(pieces=LINES, reset=True)
    heard = listen(write_kubeconfig(tmp_path, user={}, server=server.url, **trust(authority)))
    assert b"".join(LINES).startswith(heard.data)
    assert (heard.result.failure, type(heard.result.error)) == (FailureKind.AGAIN, NoAnswerError)


def test_a_followed_log_that_falls_silent_is_left_when_it_is_dropped(serve, authority, tmp_path):
    server = serve()
    server.answer = lambda _: Answer(pieces=LINES, stall=True)
    kubeconfig = write_kubeconfig(tmp_path, user={}, server=server.url, **trust(authority))
    heard = listen(kubeconfig, until="enough")
    assert (heard.data, heard.ended.is_set()) == (b"".join(LINES), False)


@pytest.mark.parametrize(
    ("answer", "failure", "after_s"),
    [
        (Answer(code=429, retry_after="7"), FailureKind.AGAIN, 7.0),
        (Answer(code=503, retry_after="soon"), FailureKind.AGAIN, 0.0),
        (Answer(code=500), FailureKind.AGAIN, 0.0),
        (Answer(code=410), FailureKind.STALE, 0.0),
        (Answer(code=404), FailureKind.STALE, 0.0),
        (Answer(code=401), FailureKind.LOGIN, 0.0),
        (Answer(code=403), FailureKind.NEVER, 0.0),
        (Answer(code=307, location="https://elsewhere.example"), FailureKind.NEVER, 0.0),
    ],
    ids=lambda value: str(value.code) if isinstance(value, Answer) else "",
)
def test_a_refusal_says_what_to_do_next(answer, failure, after_s, serve, authority, tmp_path):
    server = serve()
    server.answer = lambda _: answer
    heard = listen(write_kubeconfig(tmp_path, user={}, server=server.url, **trust(authority)))
    assert (heard.result.failure, heard.result.after_s, heard.data) == (failure, after_s, b"")
    assert "Pod ml/w-0: expected" in str(heard.result.error)
