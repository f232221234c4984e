"""What whoever keeps connections promises, on a server that counts them."""

from __future__ import annotations

import gc
import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from launcher.kube.connections import Connections, ExchangeError, HttpRequest
from launcher.kube.endpoint import Endpoint
from tests.launcher.kube.api_server import Answer, ApiServer, Asked

KEPT = 2


def own(url: str) -> Connections:
    return Connections(Endpoint(url=url), kept=KEPT)


class Counting(ApiServer):
    """Keeps how many connections were made."""

    def __init__(self) -> None:
        super().__init__()
        self.connections: list[Any] = []
        accept = self._server.get_request

        def get_request() -> Any:
            accepted = accept()
            self.connections.append(accepted[0])
            return accepted

        self._server.get_request = get_request  # type: ignore[method-assign]


@pytest.fixture
def server() -> Iterator[Counting]:
    with Counting() as running:
        assert isinstance(running, Counting)
        yield running


def ask(
    pool: Connections, target: str = "/api?limit=1", *, method: str = "GET", whole: bool = True, **given: Any
) -> Any:
    settings = {"body": None, "headers": (("X-Mark", "1"),), "connect_s": 5.0, "read_s": 5.0, **given}
    return pool.send(HttpRequest(method, target, whole=whole, **settings))


def test_a_request_arrives_as_it_was_made_below_the_server_s_own_path(server):
    body = b'{"kind": "Pod"}'
    server.answer = lambda _: Answer(code=202, body=b"taken", retry_after="7")
    answer = ask(own(f"{server.url}/k8s/c-1/"), "/api/v1/pods?a=%2F", method="POST", body=body)
    assert (answer.status, answer.data, answer.headers.get("retry-after")) == (202, b"taken", "7")
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.query) == ("POST", "/k8s/c-1/api/v1/pods", {"a": "/"})
    assert (asked.body, asked.headers["X-Mark"]) == ({"kind": "Pod"}, "1")


def test_one_connection_does_for_requests_in_turn(server):
    pool = own(server.url)
    assert [ask(pool).status for _ in range(5)] == [200] * 5
    assert len(server.connections) == 1


def test_a_connection_that_the_server_has_closed_meanwhile_is_made_anew(server):
    pool = own(server.url)
    ask(pool)
    server.connections[0].shutdown(socket.SHUT_RDWR)
    assert ask(pool).status == 200
    assert len(server.connections) == 2


def test_many_threads_ask_at_once(server):
    pool, together, statuses = own(server.url), threading.Barrier(6), []

    def hold(_: Asked) -> Answer:
        together.wait(timeout=10)
        return Answer()

    server.answer = hold
    threads = [threading.Thread(target=lambda: statuses.append(ask(pool).status)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 6


def test_a_redirection_is_an_answer(server):
    server.answer = lambda _: Answer(code=302, location="/elsewhere")
    assert ask(own(server.url)).status == 302
    assert len(server.asked) == 1


@pytest.mark.parametrize("answer", [Answer(body=b"12345678", cut=True), Answer(pieces=(b"12",), reset=True)])
def test_an_answer_that_is_cut_off_is_none(server, answer):
    server.answer = lambda _: answer
    pool = own(server.url)
    with pytest.raises(ExchangeError, match=r"^\w+: "):
        ask(pool)
    server.answer = lambda _: Answer()
    assert ask(pool).status == 200


def test_a_packed_answer_is_unpacked_and_one_that_only_says_so_is_none(server):
    pool, wants = own(server.url), (("Accept-Encoding", "gzip"),)
    server.answer = lambda _: Answer(body=gzip.compress(b"[1, 2]"), encoding="gzip")
    assert ask(pool, headers=wants).data == b"[1, 2]"
    assert server.asked[0].headers["Accept-Encoding"] == "gzip"
    server.answer = lambda _: Answer(body=b"no gzip at all", encoding="gzip")
    with pytest.raises(ExchangeError):
        ask(pool, headers=wants)


def test_silence_ends_when_the_time_is_up(server):
    server.answer = lambda _: Answer(stall=True)
    with pytest.raises(ExchangeError, match=r"[Tt]imed? ?out"):
        ask(own(server.url), read_s=0.2)


def test_nobody_there_is_an_error_with_its_cause():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ExchangeError, match="refused") as refused:
        ask(own(url))
    assert refused.value.__cause__ is not None


def test_what_is_no_http_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def chatter() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

        thread = threading.Thread(target=chatter)
        thread.start()
        with pytest.raises(ExchangeError):
            ask(own(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        thread.join()


def test_a_body_can_be_read_while_it_comes_and_left_in_the_middle(server):
    server.answer = lambda _: Answer(pieces=(b"one\n", b"two\n"), stall=True)
    pool = own(server.url)
    answer = ask(pool, whole=False)
    pieces = answer.stream()
    read = b""
    while len(read) < 8:
        read += next(pieces)
    answer.close()
    assert read == b"one\ntwo\n"
    server.answer = lambda _: Answer(body=b"next")
    assert ask(pool).data == b"next"


def test_a_body_that_ends_while_it_is_read_ends(server):
    server.answer = lambda _: Answer(pieces=(b"one\n", b"two\n"))
    answer = ask(own(server.url), whole=False)
    assert b"".join(answer.stream()) == b"one\ntwo\n"
    answer.close()


def test_a_body_that_breaks_off_while_it_is_read_is_an_error(server):
    server.answer = lambda _: Answer(pieces=(b"one\n",), reset=True)
    answer = ask(own(server.url), whole=False)
    with pytest.raises(ExchangeError):
        list(answer.stream())
    answer.close()


def test_a_refusal_of_what_was_to_be_read_piece_by_piece_has_its_body(server):
    server.answer = lambda _: Answer(code=403, body=b'{"kind": "Status"}')
    answer = ask(own(server.url), whole=False)
    assert (answer.status, answer.data) == (403, b'{"kind": "Status"}')
    answer.close()


def test_no_more_connections_are_kept_than_were_asked_for(server):
    pool, together = own(server.url), threading.Barrier(5)

    def hold(_: Asked) -> Answer:
        together.wait(timeout=10)
        return Answer()

    server.answer = hold
    threads = [threading.Thread(target=ask, args=(pool,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.answer = lambda _: Answer()
    assert len(server.connections) == 5
    kept: Callable[[], int] = lambda: sum(not has_ended(connection) for connection in server.connections)  # noqa: E731
    assert wait_until(lambda: kept() == KEPT)
    del pool
    gc.collect()
    assert wait_until(lambda: kept() == 0)


def has_ended(connection: socket.socket) -> bool:
    if connection.fileno() < 0:
        return True
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def wait_until(true: Callable[[], bool]) -> bool:
    done = threading.Event()
    for _ in range(500):
        if true():
            return True
        done.wait(0.01)
    return False
