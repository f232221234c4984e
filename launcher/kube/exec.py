"""Programs in pods, over a WebSocket: the API's `exec` with its channels.

Protocol `v4.channel.k8s.io` (k8s.io/apimachinery, pkg/util/remotecommand): each message is a channel's number
and its bytes; channel 3 brings a `Status` at the end. It has no way to close standard input, so programs must
know when they have read enough. The library's own stream client polls and decodes; it is not used.
"""

from __future__ import annotations

import contextlib
import io
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import quote, urlencode

from launcher.kube.access import Access
from launcher.kube.endpoint import Endpoint
from launcher.kube.errors import NoAnswerError
from launcher.kube.failures import RequestContext, read_failure
from launcher.kube.http import format_request
from launcher.kube.remarks import log_answer
from launcher.kube.transport import explain_silence, request_headers
from launcher.volumes.place import Channel
from trainer.protocol.codec import FormatError, decode
from trainer.protocol.untrusted import shown

_STDIN, _STDOUT, _STDERR, _STATUS = range(4)
_EXIT_CODE = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_PROTOCOL = "v4.channel.k8s.io"
_PIECE = 256 * 1024
SILENCE_S = 600.0
"""Longest time without a byte: a large file may be hashed meanwhile."""
CONNECT_S, HANDSHAKE_S = 10.0, 30.0
_SWITCHING = 101
_REFUSAL_BYTES = 65536
_MESSAGE_BYTES = 16 << 20
"""Of the answer to the handshake, and of each message; API servers send pieces of 32 KiB."""


class _Stdout(io.RawIOBase):
    def __init__(self, fill: Callable[[], bytes]) -> None:
        self._fill, self._held = fill, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # a writable buffer
        if not self._held:
            self._held = self._fill()
        size = min(len(buffer), len(self._held))
        buffer[:size] = self._held[:size]
        self._held = self._held[size:]
        return size


class _Metered:
    """A connection of which one message may bring only so much: the library reads each as a whole."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._left = _MESSAGE_BYTES

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def begin(self) -> None:
        """The next message begins."""
        self._left = _MESSAGE_BYTES

    def recv(self, size: int) -> bytes:
        data = self._sock.recv(size)
        self._left -= len(data)
        if self._left < 0:
            raise OSError(f"a message of more than {_MESSAGE_BYTES >> 20} MiB")
        return data


class _PodChannel:
    def __init__(self, channel: Any, call: RequestContext, *, meter: _Metered) -> None:
        self._socket, self._call, self._meter = channel, call, meter
        self._stderr, self._status = b"", b""
        self._waiting: list[bytes] = []
        self._is_over = False
        self.stdout: IO[bytes] = io.BufferedReader(_Stdout(self._read), buffer_size=_PIECE)

    def send(self, data: bytes) -> None:
        """See `Channel`."""
        import websocket

        try:
            for at in range(0, len(data), _PIECE):
                self._socket.send_binary(bytes([_STDIN]) + data[at : at + _PIECE])
        except (websocket.WebSocketException, OSError) as error:
            raise BrokenPipeError from error

    def finish(self) -> tuple[int, str]:
        """See `Channel`."""
        while not self._is_over:
            self._receive()
        said = self._stderr.decode("utf-8", "replace")
        return _exit_code(self._status, self._call, said), said

    def _read(self) -> bytes:
        while not self._waiting and not self._is_over:
            self._receive()
        return self._waiting.pop(0) if self._waiting else b""

    def _receive(self) -> None:
        import websocket

        try:
            self._meter.begin()
            message = self._socket.recv()
        except (websocket.WebSocketConnectionClosedException, ConnectionError):
            message = b""
        except (websocket.WebSocketException, OSError) as error:
            raise NoAnswerError(where=self._call, expected="a program's output", got=error) from error
        data = message.encode() if isinstance(message, str) else bytes(message)
        if not data:
            self._is_over = True
        elif data[0] == _STDOUT and len(data) > 1:
            self._waiting.append(data[1:])
        elif data[0] == _STDERR:
            self._stderr = (self._stderr + data[1:])[-65536:]
        elif data[0] == _STATUS:
            self._status += data[1:]
            self._is_over = True


@dataclass(frozen=True, slots=True)
class _Cause:
    reason: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class _Details:
    causes: tuple[_Cause, ...] | None


@dataclass(frozen=True, slots=True)
class _Status:
    """What is read of the `metav1.Status` that ends a program."""

    status: str | None
    message: str | None
    details: _Details | None


def _exit_code(status: bytes, call: RequestContext, said: str) -> int:
    """Read the `Status` that ends a program; its causes hold the exit code."""
    if not status:
        raise NoAnswerError(
            where=call, expected="the program's end", got="a cut connection", fix=f"try again {said}"
        )
    try:
        ended = decode(_Status, status, where=str(call))
    except FormatError as error:
        raise NoAnswerError(where=call, expected="how the program ended", said=error) from error
    if ended.status == "Success":
        return 0
    for cause in (ended.details.causes if ended.details else None) or ():
        if cause.reason == "ExitCode":
            if cause.message is None or not _EXIT_CODE.fullmatch(cause.message):
                raise NoAnswerError(where=call, expected="an exit code", got=shown(cause.message))
            return int(cause.message)
    raise NoAnswerError(where=call, expected="a program to run", said=ended.message)


@contextmanager
def run_in_pod(
    access: Access, call: RequestContext, *, container: str, argv: Sequence[str]
) -> Iterator[Channel]:
    """Run a program in a container of the pod that `call` names.

    Args:
        access: Way into the cluster.
        call: For errors; its verb is create, its subresource exec.
        container: Of the pod.
        argv: The program.

    Raises:
        LaunchError: The server refuses; see `launcher.kube.failures`.
        NoAnswerError: It does not answer, or the connection is cut.
    """
    import websocket

    endpoint = access.endpoint
    options = [("container", container), ("stdin", "true"), ("stdout", "true"), ("stderr", "true")]
    query = urlencode([*options, *(("command", part) for part in argv)])
    place = f"/api/v1/namespaces/{quote(call.namespace, safe='')}/pods/{quote(call.name, safe='')}/exec"
    server = endpoint.url.rstrip("/").replace("http", "ws", 1)
    headers = [field for field in request_headers(access.identity.fields()) if field[0] != "Accept"]
    format_request("GET", place, headers=headers)  # refuses line breaks, which the library writes as they are
    sock: socket.socket | None = None
    began_s = time.monotonic()
    try:
        sock = _connect(endpoint)
        sock.settimeout(HANDSHAKE_S)
        # redirections are not followed, as nowhere else: they would take the token to wherever they lead
        meter = _Metered(sock)
        channel = websocket.create_connection(
            f"{server}{place}?{query}", socket=meter, timeout=HANDSHAKE_S, redirect_limit=0,
            header=[f"{name}: {value}" for name, value in headers], subprotocols=[_PROTOCOL],
            enable_multithread=False,
        )  # fmt: skip
    except websocket.WebSocketBadStatusException as refusal:
        _close(sock)
        log_answer("GET", place, {"container": container}, status=refusal.status_code, began_s=began_s)
        body = bytes(refusal.resp_body or b"")[:_REFUSAL_BYTES]
        raise read_failure(call, code=refusal.status_code, body=body) from refusal
    except (websocket.WebSocketException, OSError, ValueError) as error:
        _close(sock)
        log_answer("GET", place, {"container": container}, status=type(error).__name__, began_s=began_s)
        raise explain_silence(error, call=call, endpoint=endpoint) from error
    except BaseException:
        _close(sock)
        raise
    try:
        log_answer("GET", place, {"container": container}, status=channel.getstatus() or 0, began_s=began_s)
        sock.settimeout(SILENCE_S)
        channel.settimeout(SILENCE_S)
        if channel.getstatus() != _SWITCHING:
            raise read_failure(
                call, code=channel.getstatus() or 300, body=b"a redirection, which is not followed"
            )
        yield _PodChannel(channel, call, meter=meter)
    finally:
        with contextlib.suppress(websocket.WebSocketException, OSError):
            channel.close(timeout=1)


def _connect(endpoint: Endpoint) -> socket.socket:
    sock = endpoint.dial(timeout_s=CONNECT_S, tunnel=True)
    context = endpoint.make_context()
    if context is None:
        return sock
    try:
        return context.wrap_socket(sock, server_hostname=endpoint.server_name)
    except BaseException:
        sock.close()
        raise


def _close(sock: socket.socket | None) -> None:
    if sock is not None:
        sock.close()
