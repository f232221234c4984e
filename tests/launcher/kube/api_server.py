"""A small HTTP server on loopback that answers as an API server does, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """What the server sends; `cut` closes the connection after half of the body, `stall` never answers."""

    code: int = 200
    body: bytes = b"{}"
    location: str = ""
    retry_after: str = ""
    cut: bool = False
    stall: bool = False


class ApiServer:
    """Answers all requests as `answer` says. Use as a context."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Answer] = lambda _: Answer()
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

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
                if answer.stall:
                    server.closing.wait()
                    self.close_connection = True
                    return
                self.send_response(answer.code)
                if answer.location:
                    self.send_header("Location", answer.location)
                if answer.retry_after:
                    self.send_header("Retry-After", answer.retry_after)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
                self.close_connection = answer.cut

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: Any) -> None: ...

        return Handler
