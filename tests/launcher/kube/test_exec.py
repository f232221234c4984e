"""Programs in pods: our side of the API's WebSocket, against a server that speaks the protocol."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import struct
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from launcher.kube import exec as kube_exec
from launcher.kube.client import connect
from launcher.kube.errors import AbsentError, DeniedError, NoAnswerError
from tests.launcher.kube.api_server import AUTHORITY

SUCCESS = json.dumps({"status": "Success"}).encode()
FAILED = json.dumps(
    {
        "status": "Failure",
        "message": "command terminated",
        "details": {"causes": [{"reason": "ExitCode", "message": "9"}]},
    }
).encode()


class ExecServer:
    """One connection: answers the handshake with `status`, then does as `play` says."""

    def __init__(self, play, *, status: str = "101 Switching Protocols", body: bytes = b"") -> None:
        self.target, self.headers = "", {}
        self._play, self._status, self._body = play, status, body
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def cluster(self) -> dict[str, str]:
        trusted = base64.b64encode(AUTHORITY.cert_pem.bytes()).decode()
        url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        return {"server": url, "certificate-authority-data": trusted}

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        accepted, _ = self._listener.accept()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("127.0.0.1", "kube.internal").configure_cert(context)
        self._socket = context.wrap_socket(accepted, server_side=True)
        self._file = self._socket.makefile("rb")
        self.target = self._file.readline().split()[1].decode()
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            self.headers[name.lower()] = value
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        head = f"HTTP/1.1 {self._status}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n"
        self._socket.sendall(f"{head}Content-Length: {len(self._body)}\r\n\r\n".encode() + self._body)
        if self._status.startswith("101"):
            self._play(self)
        self._file.close()
        self._socket.close()

    def send(self, channel: int, data: bytes) -> None:
        payload = bytes([channel]) + data
        size = struct.pack("!BBH", 0x82, 126, len(payload))  # RFC 6455, 5.2
        self._socket.sendall(size + payload)

    def take(self) -> tuple[int, bytes]:
        first, second = self._file.read(2)
        size = second & 127
        if size == 126:
            (size,) = struct.unpack("!H", self._file.read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._file.read(8))
        mask, data = self._file.read(4), self._file.read(size)
        plain = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        assert first == 0x82
        return plain[0], plain[1:]


@pytest.fixture
def client_of(tmp_path):
    def make(server: ExecServer):
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump({
            "current-context": "prod", "clusters": [{"name": "c", "cluster": server.cluster}],
            "users": [{"name": "u", "user": {"token": "secret"}}],
            "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
        }))  # fmt: skip
        return connect(kubeconfig=path, environ={})

    return make


def run(client, *argv: str):
    return client.run_in_pod("flowers-worker-0", argv, namespace="ml", container="paddle")


def test_what_is_sent_arrives_and_what_is_said_comes_back(client_of):
    def echo(server):
        channel, data = server.take()
        server.send(1, data[:3])
        server.send(2, b"beside")
        server.send(1, b"")
        server.send(1, data[3:] + bytes([channel]))
        server.send(3, SUCCESS)

    with ExecServer(echo) as server, run(client_of(server), "cat", "a b&c") as channel:
        channel.send(b"hello")
        assert channel.stdout.read() == b"hello\0"
        assert channel.finish() == (0, "beside")
    url = urlsplit(server.target)
    assert url.path == "/api/v1/namespaces/ml/pods/flowers-worker-0/exec"
    assert parse_qs(url.query)["command"] == ["cat", "a b&c"]
    assert server.headers["authorization"] == "Bearer secret"
    assert server.headers["sec-websocket-protocol"] == "v4.channel.k8s.io"


def test_a_large_input_passes_in_pieces(client_of):
    sent = bytes(range(256)) * 2500
    taken = bytearray()

    def collect(server):
        while len(taken) < len(sent):
            taken.extend(server.take()[1])
        server.send(3, SUCCESS)

    with ExecServer(collect) as server, run(client_of(server), "cat") as channel:
        channel.send(sent)
        assert channel.finish()[0] == 0
    assert bytes(taken) == sent


def test_an_exit_code_is_the_programs(client_of):
    def fail(server):
        server.send(2, b"no space")
        server.send(3, FAILED)

    with ExecServer(fail) as server, run(client_of(server), "false") as channel:
        assert channel.stdout.read() == b""
        assert channel.finish() == (9, "no space")


@pytest.mark.parametrize(
    "status", [b"", json.dumps({"status": "Failure", "message": "no such program"}).encode()]
)
def test_an_end_without_an_exit_code_is_no_answer(client_of, status):
    def cut(server):
        if status:
            server.send(3, status)

    with ExecServer(cut) as server, run(client_of(server), "x") as channel, pytest.raises(NoAnswerError):
        channel.finish()


def test_a_program_that_reads_no_more_is_a_broken_pipe(client_of):
    with ExecServer(lambda server: server.send(3, FAILED)) as server, run(client_of(server), "x") as channel:
        assert channel.stdout.read() == b""
        with pytest.raises(BrokenPipeError):
            channel.send(b"x" * 50_000_000)


@pytest.mark.parametrize(("status", "message", "error"), [
    ("403 Forbidden", 'pods "a" is forbidden: User "u" cannot create resource "pods/exec"', DeniedError),
    ("404 Not Found", "pods not found", AbsentError),
])  # fmt: skip
def test_refusals_are_those_of_other_requests(client_of, status, message, error):
    body = json.dumps(
        {"kind": "Status", "message": message, "details": {"name": "a", "kind": "pods"}}
    ).encode()
    server = ExecServer(None, status=status, body=body)
    with server, pytest.raises(error), run(client_of(server), "x"):
        pass


def test_a_cluster_that_is_away_is_no_answer(client_of):
    server = ExecServer(None)
    client = client_of(server)
    server._listener.close()
    with pytest.raises(NoAnswerError), run(client, "x"):
        pass


@pytest.mark.parametrize("head", [
    b"\x82\x7f" + struct.pack("!Q", 1 << 40),  # RFC 6455, 5.2: a length of 64 bits
    b"\x02\x7e\xff\xff",  # the first of fragments without end
], ids=["frame", "fragments"])  # fmt: skip
def test_a_message_without_end_is_refused(client_of, monkeypatch, head):
    monkeypatch.setattr(kube_exec, "_MESSAGE_BYTES", 1 << 20)

    def flood(server):
        with contextlib.suppress(OSError):
            server._socket.sendall(head)
            while True:
                server._socket.sendall(b"\x00" * 65536)

    said = "a message of more than 1 MiB"
    with (
        ExecServer(flood) as server,
        pytest.raises(NoAnswerError, match=said),
        run(client_of(server), "cat") as channel,
    ):
        channel.stdout.read()


def test_a_handshake_without_end_is_refused(client_of, monkeypatch):
    monkeypatch.setattr(kube_exec, "_MESSAGE_BYTES", 1 << 20)
    endless = "101 Switching Protocols\r\n" + "X: y\r\n" * 300_000
    with (
        ExecServer(lambda _: None, status=endless) as server,
        pytest.raises(NoAnswerError),
        run(client_of(server), "cat"),
    ):
        pass
