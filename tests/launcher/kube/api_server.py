"""A small HTTP server on loopback that answers as an API server does, and keeps what it was asked."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import trustme


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """What the server sends.

    Attributes:
        pieces: A body in chunks instead of `body`; it has no end where `stall` or `reset` is set.
        cut: The connection is closed after half of the body.
        stall: Nothing more is sent, and the connection stays.
        reset: The connection is reset (RST) instead of ended.
        encoding: That the body has already; empty for none.
    """

    code: int = 200
    body: bytes = b"{}"
    location: str = ""
    retry_after: str = ""
    pieces: tuple[bytes, ...] = ()
    cut: bool = False
    stall: bool = False
    reset: bool = False
    encoding: str = ""


AUTHORITY = trustme.CA(organization_name="the cluster's")


class ApiServer:
    """Answers all requests as `answer` says, with `tls` over TLS. Use as a context."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Answer] = lambda _: Answer()
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> ApiServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer_status(self, code: int, message: str, **details: Any) -> None:
        body = {"kind": "Status", "code": code, "reason": "Why", "message": message, "details": details}
        self.answer = lambda _: Answer(code=code, body=json.dumps(body).encode())

    def answer_object(self, item: Any) -> None:
        self.answer = lambda _: Answer(body=json.dumps(item).encode())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                parts = urlsplit(self.path)
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = Asked(
                    method=self.command, path=parts.path, query=dict(parse_qsl(parts.query)),
                    headers=dict(self.headers), body=json.loads(sent) if sent else None,
                )  # fmt: skip
                server.asked.append(asked)
                answer = server.answer(asked)
                if answer.stall and not answer.pieces:
                    self.go_silent()
                    return
                self.send_response(answer.code)
                if answer.location:
                    self.send_header("Location", answer.location)
                if answer.retry_after:
                    self.send_header("Retry-After", answer.retry_after)
                if answer.encoding:
                    self.send_header("Content-Encoding", answer.encoding)
                if answer.pieces:
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    self.send_chunks(answer)
                    return
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
                self.close_connection = answer.cut

            def send_chunks(self, answer: Answer) -> None:
                for piece in answer.pieces:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if answer.stall:
                    self.go_silent()
                elif answer.reset:
                    at_once = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
                    self.rfile.close()
                    self.connection.close()
                    self.close_connection = True
                else:
                    self.wfile.write(b"0\r\n\r\n")

            def go_silent(self) -> None:
                server.closing.wait()
                self.close_connection = True

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: Any) -> None: ...

        return Handler


class SecureApiServer(ApiServer):
    """Over TLS, with a certificate of `AUTHORITY`: the only way on which anybody says who they are."""

    def __init__(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("127.0.0.1", "kube.internal").configure_cert(context)
        super().__init__(tls=context)

    @property
    def cluster(self) -> dict[str, str]:
        """What a kubeconfig says of it."""
        trusted = base64.b64encode(AUTHORITY.cert_pem.bytes()).decode()
        return {"server": self.url, "certificate-authority-data": trusted}
