"""Connections to one API server over the standard library's HTTP/1.1, each used again by the next request."""

from __future__ import annotations

import selectors
import socket
import ssl
import weakref
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

from launcher.kube.exchange import PIECE, Answer, ExchangeError, Sent

_FAILURES = (OSError, HTTPException, ValueError, zlib.error)  # ValueError: what is no HTTP, or no URL


class Connections:
    """Implements `Pool`. A connection that the server has closed meanwhile is made anew."""

    def __init__(
        self, server: str, *, context: ssl.SSLContext, tls_server_name: str | None, kept: int
    ) -> None:
        """Connect nowhere yet.

        Args:
            server: Its URL: http or https, perhaps with a path that goes before all others.
            context: Of TLS.
            tls_server_name: Whom its certificate is for, where that is not the host.
            kept: Connections at most that wait for the next request.
        """
        url = urlsplit(server)
        self._host, self._port = url.hostname or "", url.port
        self._root = url.path.rstrip("/")
        self._context = context if url.scheme == "https" else None
        self._tls_server_name = tls_server_name
        self._idle: deque[HTTPConnection] = deque(maxlen=kept)
        weakref.finalize(self, _close, self._idle)

    def exchange(self, sent: Sent) -> Answer:
        """See `Pool.exchange`."""
        connection = self._take()
        try:
            if connection.sock is None:
                connection.timeout = sent.connect_s
                connection.connect()
            connection.sock.settimeout(sent.read_s)
            connection.request(
                sent.method, f"{self._root}{sent.target}", body=sent.body, headers=dict(sent.headers)
            )
            response = connection.getresponse()
            if not sent.whole:
                return _Answer(connection, response)
            answer = _Answer(connection, response, data=_unpack(response, response.read()))
        except _FAILURES as error:
            connection.close()
            raise ExchangeError.of(error) from error
        except BaseException:
            connection.close()
            raise
        if connection.sock is not None:  # which the server has not asked to close
            self._keep(connection)
        return answer

    def _take(self) -> HTTPConnection:
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if connection.sock is not None and not _has_something(connection.sock):
                    return connection
                connection.close()
        if self._context is None:
            return HTTPConnection(self._host, self._port)
        return _TlsConnection(self._host, self._port, context=self._context, name=self._tls_server_name)

    def _keep(self, connection: HTTPConnection) -> None:
        if len(self._idle) == self._idle.maxlen:
            connection.close()
        else:
            self._idle.append(connection)


def _close(connections: Iterable[HTTPConnection]) -> None:
    for connection in connections:
        connection.close()


def _unpack(response: HTTPResponse, body: bytes) -> bytes:
    if response.headers.get("Content-Encoding") != "gzip":
        return body
    return zlib.decompress(body, wbits=zlib.MAX_WBITS | 16)


def _has_something(sock: socket.socket) -> bool:
    """Whether there is something to read where nothing should come: as a rule, that the server has gone."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


class _TlsConnection(HTTPSConnection):
    def __init__(self, host: str, port: int | None, *, context: ssl.SSLContext, name: str | None) -> None:
        super().__init__(host, port, context=context)
        self._tls, self._name = context, name

    def connect(self) -> None:
        """Connect, and ask for the certificate of the name that is expected, which may not be the host's."""
        HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name or self.host)


class _Answer:
    def __init__(
        self, connection: HTTPConnection, response: HTTPResponse, *, data: bytes | None = None
    ) -> None:
        self._connection, self._response = connection, response
        self._data = data
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers  # type: ignore[assignment]  # it has `get`

    @property
    def data(self) -> bytes:
        if self._data is None:
            self._data = b"".join(self.stream())
        return self._data

    def stream(self) -> Iterator[bytes]:
        try:
            while piece := self._response.read1(PIECE):
                yield piece
        except _FAILURES as error:
            raise ExchangeError.of(error) from error

    def close(self) -> None:
        self._response.close()
        self._connection.close()
