"""Answers of a hostile or broken API server, through all that reads them: each ends soon, with a sentence."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import LaunchError
from launcher.kube import client, connections
from launcher.kube.async_client import AsyncClient
from launcher.kube.client import connect
from launcher.kube.transport import Timeouts
from launcher.logs.source import SourceError
from launcher.objects import PODS
from tests.launcher.kube.test_access import write_kubeconfig

Answer = Callable[[socket.socket], None]
QUICK = Timeouts(connect_s=5.0, read_s=1.0)
MIB = 1 << 20


class Hostile:
    """Answers every request on a raw socket, until whoever asked goes."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Hostile:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # closed under a thread that is about to accept, its number would be that of the next test's server
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while b"\r\n\r\n" in connection.recv(65536):
                self._answer(connection)


def whole(body: bytes, *, status: str = "200 OK", more: str = "") -> Answer:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode()
    return lambda connection: connection.sendall(head + body)


def endless(head: bytes, piece: bytes, *, pause_s: float = 0.0) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(pause_s)

    return answer


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b" " * MIB) for _ in range(size // MIB)) + packer.flush()


OK, CHUNKED = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GZIP = "Content-Encoding: gzip\r\n"
ANSWERS: dict[str, Answer] = {
    "packed bomb": whole(bomb(600 * MIB), more=GZIP),
    "packed garbage": whole(b"no gzip", more=GZIP),
    "packed and cut": whole(bomb(MIB)[:-20], more=GZIP),
    "packed otherwise": whole(b"x", more="Content-Encoding: br\r\n"),
    "two packed": whole(bomb(MIB) * 2, more=GZIP),
    "endless body": endless(OK + b"\r\n", b" " * 65536),
    "endless chunks": endless(CHUNKED, b"1\r\n \r\n" * 1000),
    "endless head": endless(OK + b"X: ", b"y" * 65536),
    "endless fields": endless(OK, b"X: y\r\n" * 1000),
    "endless interim": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "endless size": endless(CHUNKED, b"0" * 65536),
    "a byte now and then": endless(OK + b"Content-Length: 100000\r\n\r\n", b" ", pause_s=0.2),
    "silence": lambda _: time.sleep(30),
    "no HTTP": lambda connection: connection.sendall(b"\x16\x03\x01\x00"),
    "nothing": lambda connection: connection.close(),
    "deep lists": whole(b"[" * 200_000),
    "deep objects": whole(b'{"items":[' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"]}"),
    "a long number": whole(b'{"items":[{"metadata":{"name":' + b"9" * 5000 + b"}}]}"),
    "no UTF-8": whole(b'{"items":["\xff\xfe"]}'),
    "another document": whole(b"<html>"),
    "a list": whole(b"[]"),
    "null": whole(b"null"),
    "items of numbers": whole(b'{"items":[1,null,"x"],"metadata":5}'),
    "items in a mapping": whole(b'{"items":{"a":1},"metadata":[]}'),
    "metadata in a list": whole(b'{"items":[{"metadata":[]}],"metadata":[1]}'),
    "a spec of text": whole(b'{"items":[{"spec":"x"}],"spec":"x"}'),
    "labels in a list": whole(b'{"metadata":{"labels":["a"]},"items":[{"metadata":{"labels":["a"]}}]}'),
    "a refusal of another shape": whole(
        b'{"kind":"Status","message":["x"],"details":{"causes":[1]}}', status="422 Unprocessable"
    ),
    "a long refusal": whole(b"x" * MIB, status="500 Oh"),
    "a redirection": whole(b"", status="302 Found", more="Location: http://127.0.0.1:1/\r\n"),
    "an old pause": whole(b"{}", status="429 Busy", more=f"Retry-After: {'9' * 400}\r\n"),
}  # fmt: skip


def get(path: Path) -> None:
    connect(kubeconfig=path, environ={}, timeouts=QUICK).get(PODS, "w-0", namespace="ml")


def list_all(path: Path) -> None:
    connect(kubeconfig=path, environ={}, timeouts=QUICK).list(PODS, namespace="ml")


def watch(path: Path) -> None:
    for _ in connect(kubeconfig=path, environ={}, timeouts=QUICK).watch(PODS, namespace="ml", timeout_s=1):
        pass


def ask_among_many(path: Path) -> None:
    async def fetch() -> None:
        async_client = AsyncClient(connect(kubeconfig=path, environ={}), answer_s=2.0)
        try:
            await async_client.fetch(
                "/api/v1/namespaces/ml/pods", {}, async_client.describe(namespace="ml", name="")
            )
        except SourceError as error:
            raise (error.end.error or error) from error

    asyncio.run(fetch())


@pytest.mark.parametrize("ask", [get, list_all, watch, ask_among_many])
@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_ends_soon_with_a_sentence(tmp_path, monkeypatch, ask, name):
    monkeypatch.setattr(client, "GRACE_S", 1.0)
    monkeypatch.setattr(connections, "LONGEST_S", 3.0)
    with Hostile(ANSWERS[name]) as server:
        path = write_kubeconfig(tmp_path, user={}, server=server.url)
        began_s = time.monotonic()
        with pytest.raises(LaunchError) as refused:
            ask(path)
        assert time.monotonic() - began_s < 20
    assert len(str(refused.value)) < 3000
    assert all(line.isprintable() for line in str(refused.value).split("\n"))


def test_what_is_packed_takes_no_more_memory_than_an_answer_may_have(tmp_path):
    with Hostile(ANSWERS["packed bomb"]) as server:
        path = write_kubeconfig(tmp_path, user={}, server=server.url)
        tracemalloc.start()
        try:
            with pytest.raises(LaunchError, match="a body of more than 64 MiB"):
                list_all(path)
            assert tracemalloc.get_traced_memory()[1] < 200 * MIB
        finally:
            tracemalloc.stop()


def test_a_log_that_never_ends_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "MOST_LOG_BYTES", 4 * MIB)
    with Hostile(ANSWERS["endless body"]) as server:
        path = write_kubeconfig(tmp_path, user={}, server=server.url)
        with pytest.raises(LaunchError, match="a body of more than 4 MiB"):
            connect(kubeconfig=path, environ={}).read_pod_log("w-0", namespace="ml", container="paddle")


@pytest.mark.parametrize("token", ["the same", "another"])
@pytest.mark.parametrize("count", [0, 50])
def test_a_list_without_an_end_is_refused(tmp_path, monkeypatch, token, count):
    monkeypatch.setattr(client, "MOST_PAGES", 30)
    monkeypatch.setattr(client, "MOST_ITEMS", 1000)
    pages = iter(range(10_000))

    def answer(connection: socket.socket) -> None:
        number = next(pages)
        name = token if token == "the same" else f"page-{number}"
        page = {"metadata": {"continue": name}, "items": [{"metadata": {"name": "p"}}] * count}
        whole(json.dumps(page).encode())(connection)

    with Hostile(answer) as server:
        path = write_kubeconfig(tmp_path, user={}, server=server.url)
        with pytest.raises(LaunchError, match=r"expected a list that ends, got \d+ objects"):
            list_all(path)
    assert next(pages) < 100


def test_pages_may_be_empty_and_a_list_of_many_is_taken(tmp_path):
    numbers = iter(range(100))

    def answer(connection: socket.socket) -> None:
        number = next(numbers)
        items = [] if number % 2 else [{"metadata": {"name": f"p{number}-{index}"}} for index in range(500)]
        page = {"metadata": {"continue": f"n{number}" if number < 19 else ""}, "items": items}
        whole(json.dumps(page).encode())(connection)

    with Hostile(answer) as server:
        path = write_kubeconfig(tmp_path, user={}, server=server.url)
        found = connect(kubeconfig=path, environ={}).list(PODS, namespace="ml")
    assert len(found) == 5000


def test_a_slow_answer_that_goes_on_coming_is_taken(tmp_path, monkeypatch):
    """Longer than the longest silence, at more than the slowest rate."""
    monkeypatch.setattr(connections, "SLOWEST_BYTES_S", 1000)
    body = b'{"a": "' + b"x" * 20_000 + b'"}'

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 2000):
            connection.sendall(body[at : at + 2000])
            time.sleep(0.15)

    with Hostile(answer) as server:
        path = write_kubeconfig(tmp_path, user={}, server=server.url)
        found: Any = connect(kubeconfig=path, environ={}, timeouts=QUICK).get(PODS, "w", namespace="ml")
    assert len(found["a"]) == 20_000
