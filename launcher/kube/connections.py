"""Connections to one API server, each used again by the next request.

Everything is bounded, because a server, or who plays one, may send anything: heads by the parser, bodies by
what they hold once unpacked, and time by what comes in it.
"""

from __future__ import annotations

import selectors
import socket
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from launcher.kube.endpoint import Endpoint
from launcher.kube.http import Fields, ResponseParser, Unpacker, format_request

SLOWEST_BYTES_S = 32 * 1024
"""An answer that comes more slowly, once its silence would have been too long, is given up."""
LONGEST_S = 300.0
"""Of an answer that is waited for as a whole, however fast it comes: chunks of a byte each take very long."""
PIECE = 65536
"""At most so many bytes at once of an answer that is read while it comes."""
_FAILURES = (OSError, ValueError)  # ValueError: what is no HTTP, or too much of it


class ExchangeError(Exception):
    """No answer, or one that was cut off. Its text says which error it was; its cause is that error."""

    @classmethod
    def of(cls, error: BaseException) -> ExchangeError:
        """Name an error with its kind."""
        return cls(f"{type(error).__name__}: {error}")


class HttpRequest(NamedTuple):
    """A request.

    Attributes:
        method: Such as `GET`.
        target: Path and query, below what the server's URL has of a path.
        body: What is sent with it.
        headers: Names and values.
        connect_s: Until the connection stands, TLS included.
        read_s: Between two pieces of the answer.
        whole: Wait for the body; else it is read through `stream`, and the answer must be closed.
        total_s: Until the last piece of an answer that is read through `stream`; None for no end.
        most_bytes: Of a whole answer's body, unpacked. More is refused.
    """

    method: str
    target: str
    body: bytes | None
    headers: Fields
    connect_s: float
    read_s: float
    whole: bool
    total_s: float | None = None
    most_bytes: int = 64 << 20


class Connections:
    """Connections to one server. Many threads may ask; one that the server has closed is made anew."""

    def __init__(self, endpoint: Endpoint, *, kept: int) -> None:
        """Connect nowhere yet.

        Args:
            endpoint: The server, and the way there.
            kept: Connections at most that wait for the next request.
        """
        self._endpoint = endpoint
        self._context = endpoint.make_context()
        self._idle: deque[socket.socket] = deque(maxlen=kept)
        weakref.finalize(self, _close, self._idle)

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request, once, and return its answer; a redirection is one, too.

        Raises:
            ExchangeError: None came.
        """
        sock: socket.socket | None = None
        try:
            data = format_request(
                request.method, self._endpoint.target(request.target), body=request.body,
                headers=(*self._endpoint.headers(), *request.headers),
            )  # fmt: skip
            sock = self._take() or self._connect(request.connect_s)
            sock.settimeout(request.read_s)
            sock.sendall(data)
            answer = HttpResponse(sock, request)
            answer.wait_for_head()
            if not request.whole:
                return answer
            answer.read()
        except _FAILURES as error:
            if sock is not None:
                sock.close()
            raise ExchangeError.of(error) from error
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        if answer.can_go_on:
            self._keep(sock)
        else:
            sock.close()
        return answer

    def _take(self) -> socket.socket | None:
        with suppress(IndexError):
            while True:
                sock = self._idle.pop()
                if not _has_something(sock):
                    return sock
                sock.close()
        return None

    def _connect(self, timeout_s: float) -> socket.socket:
        sock = self._endpoint.dial(timeout_s=timeout_s)
        if self._context is None:
            return sock
        try:
            return self._context.wrap_socket(sock, server_hostname=self._endpoint.server_name)
        except BaseException:
            sock.close()
            raise

    def _keep(self, sock: socket.socket) -> None:
        if len(self._idle) == self._idle.maxlen:
            sock.close()
        else:
            self._idle.append(sock)


def _close(connections: Iterable[socket.socket]) -> None:
    for connection in connections:
        connection.close()


def _has_something(sock: socket.socket) -> bool:
    """Whether there is something to read where nothing should come: as a rule, that the server has gone."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


class HttpResponse:
    """What a server sends back."""

    def __init__(self, sock: socket.socket, request: HttpRequest) -> None:
        self._sock, self._request = sock, request
        self._parser = ResponseParser()
        self._begun_s = time.monotonic()
        self._came_bytes = 0
        self._first = b""  # of the body, that came with the head
        self._data: bytes | None = None

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._parser.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Looked up in any case of letters."""
        return self._parser.headers

    @property
    def can_go_on(self) -> bool:
        """Whether the connection can bring another answer."""
        return self._parser.can_go_on

    @property
    def data(self) -> bytes:
        """The whole body; waits for what has not come yet."""
        if self._data is None:
            try:
                self.read()
            except _FAILURES as error:
                raise ExchangeError.of(error) from error
        assert self._data is not None
        return self._data

    def wait_for_head(self) -> None:
        """Read until the status is known."""
        while not self._parser.status:
            self._first = self._receive()

    def read(self) -> None:
        """Read the whole body."""
        unpacker = Unpacker(self.headers, most_bytes=self._request.most_bytes)
        pieces = [unpacker.take(self._first)] if self._first else []
        self._first = b""
        while not self._parser.is_done:
            if piece := self._receive():
                pieces.append(unpacker.take(piece))
        if pieces:
            unpacker.end()
        self._data = b"".join(pieces)

    def stream(self) -> Iterator[bytes]:
        """Hand the body on piece by piece, each as soon as it is there.

        Raises:
            ExchangeError: It was cut off.
        """
        try:
            if first := self._first:
                self._first = b""
                yield first
            while not self._parser.is_done:
                if piece := self._receive():
                    yield piece
        except _FAILURES as error:
            raise ExchangeError.of(error) from error

    def close(self) -> None:
        """Have no more of it, and keep nothing that would stand in the way of the next request."""
        self._sock.close()

    def _receive(self) -> bytes:
        """Return what the next bytes bring of the body; perhaps none."""
        self._sock.settimeout(self._allow_s())
        data = self._sock.recv(PIECE)
        self._came_bytes += len(data)
        if data:
            return self._parser.take(data)
        if not self._parser.end():
            raise ConnectionError("the connection was closed before the answer's end")
        return b""

    def _allow_s(self) -> float:
        """Return how long the next bytes may take: a byte now and then keeps nobody waiting for ever."""
        total_s = self._request.total_s
        if total_s is None:
            allowed_s = min(LONGEST_S, self._request.read_s + self._came_bytes / SLOWEST_BYTES_S)
            total_s = allowed_s if self._request.whole else float("inf")
        left_s = self._begun_s + total_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"timed out: no end of the answer after {total_s:.0f} s")
        return min(left_s, self._request.read_s)
