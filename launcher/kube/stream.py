"""One request on a connection of its own: TLS over an asyncio transport, and the answer's body as it comes.

`ssl.MemoryBIO` instead of asyncio's TLS, because the latter keeps a quarter of a megabyte a connection; and
one buffer for all connections to read into, because asyncio would read as much at once.

How a byte passes: asyncio reads into the shared buffer (`get_buffer`, `buffer_updated`); with TLS its bytes
go into `_incoming`, from which OpenSSL makes plain ones (`_decrypt`); the parser takes the head and the
framing off, and the listener gets the body. What OpenSSL has to say goes the other way, from `_outgoing`
into the transport, after each step (`_guard`), since a handshake or a renewed key may want to be answered
at any time. The buffer is shared safely, because a connection has taken its bytes out before another one
reads.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from launcher.kube.http import ResponseParser

READ_BYTES = 16 * 1024
"""What is read from a connection at once: the most that TLS has in a record."""


class Listener(Protocol):
    """Who asked."""

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """The answer begins."""

    def body(self, piece: bytes) -> None:
        """Take a piece of the body."""

    def done(self, error: Exception | None) -> None:
        """The answer is complete, or `error` has cut it. Called once, unless the wire was dropped."""


class ResponseStream(asyncio.BufferedProtocol):
    """Sends a request as soon as it is connected, and hands the answer on."""

    def __init__(
        self, request: bytes, listener: Listener, *, context: ssl.SSLContext | None, server_name: str,
        buffer: memoryview,
    ) -> None:  # fmt: skip
        """`buffer` is read into; it may be shared by all wires of a loop."""
        self._request, self._listener = request, listener
        self._buffer = buffer
        self._parser = ResponseParser()
        self._transport: asyncio.Transport | None = None
        self._is_over = self._is_paused = self._has_head = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = (
            context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
            if context is not None
            else None
        )
        self._is_shaking = self._tls is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BufferedProtocol`."""
        self._transport = cast("asyncio.Transport", transport)
        if self._is_over:
            self._transport.abort()
            return
        if self._is_paused:
            self._transport.pause_reading()
        if self._tls is None:
            self._transport.write(self._request)
        else:
            self._guard(self._shake)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See `asyncio.BufferedProtocol`."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        if self._is_over:
            return
        if self._tls is None:
            data = bytes(self._buffer[:nbytes])
            self._guard(lambda: self._take(data))
        else:
            self._incoming.write(self._buffer[:nbytes])
            self._guard(self._shake if self._is_shaking else self._decrypt)

    def eof_received(self) -> None:
        """See `asyncio.BufferedProtocol`."""
        self._incoming.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BufferedProtocol`."""
        if not self._is_over:
            is_whole = self._parser.end()
            self._finish(None if is_whole else exc or ConnectionError("the connection was closed"))

    def pause(self) -> None:
        """Let the server wait."""
        if not self._is_paused:
            self._is_paused = True
            if self._transport is not None and not self._is_over:
                self._transport.pause_reading()

    def resume(self) -> None:
        """Go on reading."""
        if self._is_paused:
            self._is_paused = False
            if self._transport is not None and not self._is_over:
                self._transport.resume_reading()

    def fail(self, error: Exception) -> None:
        """The connection does not come about."""
        self._finish(error)

    def close(self) -> None:
        """Close, and say nothing more."""
        self._is_over = True
        self._tls = None  # 30 KB that Python's search for garbage does not count, and would find late
        if self._transport is not None:
            self._transport.abort()

    def _guard(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.connection_lost(None)
        except (ssl.SSLError, ssl.CertificateError, ValueError) as error:
            self._finish(error)
        if self._tls is not None and self._outgoing.pending and self._transport is not None:
            self._transport.write(self._outgoing.read())

    def _shake(self) -> None:
        assert self._tls is not None
        self._tls.do_handshake()
        self._is_shaking = False
        self._tls.write(self._request)
        self._decrypt()

    def _decrypt(self) -> None:
        assert self._tls is not None
        pieces: list[bytes] = []
        try:
            while True:
                piece = self._tls.read(READ_BYTES)
                if not piece:
                    raise ssl.SSLEOFError
                pieces.append(piece)
                if not self._incoming.pending and not self._tls.pending():
                    return  # without the cost of an exception
        finally:
            if pieces:
                self._take(b"".join(pieces) if len(pieces) > 1 else pieces[0])

    def _take(self, data: bytes) -> None:
        body = self._parser.take(data)
        if self._parser.status and not self._has_head:
            self._has_head = True
            self._listener.head(self._parser.status, self._parser.headers)
        if body and not self._is_over:
            self._listener.body(body)
        if self._parser.is_done and not self._is_over:
            self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        if self._is_over:
            return
        self.close()
        self._listener.done(error)
