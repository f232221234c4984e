"""The store of an attempt: Paddle's own client finds what it expects, and nobody else can do harm."""

from __future__ import annotations

import random
import resource
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainer.node.store import MAX_KEY_BYTES, MAX_VALUE_BYTES, Command, ProtocolError, Store, parse_request
from trainer.ranks import Ranks, joining_a_store

STOP_WAIT, READY, NOT_READY = (struct.pack("<i", number) for number in (1, 2, 3))


@pytest.fixture
def store() -> Iterator[Store]:
    served = Store(host="127.0.0.1", port=0, world_size=2)
    yield served
    served.close()


@pytest.fixture
def connect(store: Store) -> Iterator[Callable[[], socket.socket]]:
    made: list[socket.socket] = []

    def make() -> socket.socket:
        made.append(socket.create_connection(_address(store), timeout=5))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _address(store: Store) -> tuple[str, int]:
    host, _, port = store.address.rpartition(":")
    return host, int(port)


def ask(command: Command, key: bytes, rest: bytes = b"") -> bytes:
    return struct.pack("<iQ", command, len(key)) + key + rest


def add(key: bytes, value: int) -> bytes:
    return ask(Command.ADD, key, struct.pack("<q", value))


def put(key: bytes, value: bytes) -> bytes:
    return ask(Command.SET, key, struct.pack("<Q", len(value)) + value)


def take(connection: socket.socket, count: int) -> bytes:
    taken = b""
    while len(taken) < count:
        data = connection.recv(count - len(taken))
        assert data, f"closed after {taken!r}"
        taken += data
    return taken


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_paddles_own_clients_add_set_get_and_wait(store: Store) -> None:
    core = pytest.importorskip("paddle").base.core
    host, port = _address(store)
    one, other = (core.TCPStore(host, port, False, 2, 30) for _ in range(2))
    assert one.add("init/", 0) == 2  # both have counted themselves
    assert [one.add("sum", 5), other.add("sum", -7)] == [5, -2]
    assert other.get("sum") == b"-2"
    found: list[bytes] = []
    waiting = threading.Thread(target=lambda: found.append(other.get("name")))
    waiting.start()
    one.set("name", b"\0\xff" * 40_000)
    waiting.join(timeout=20)
    assert found == [b"\0\xff" * 40_000]


def test_a_request_is_read_wherever_it_is_cut(connect) -> None:
    requests = add(b"a", 3) + put(b"b", b"value") + ask(Command.GET, b"b") + ask(Command.CHECK, b"c")
    connection = connect()
    for byte in requests:
        connection.sendall(bytes([byte]))
    answers = struct.pack("<q", 3) + struct.pack("<Q", 5) + b"value" + NOT_READY
    assert take(connection, len(answers)) == answers


def test_who_waits_is_woken_by_its_key_alone_and_asks_on(connect) -> None:
    waiting, other = connect(), connect()
    waiting.sendall(ask(Command.WAIT, b"late") + ask(Command.CHECK, b"late"))
    other.sendall(put(b"early", b"x") + ask(Command.CHECK, b"early"))
    assert take(other, 4) == READY
    waiting.settimeout(0.2)
    with pytest.raises(TimeoutError):
        waiting.recv(1)
    waiting.settimeout(5)
    other.sendall(add(b"late", 1))
    assert take(waiting, 8) == STOP_WAIT + READY


@pytest.mark.parametrize(
    "request_bytes",
    [
        struct.pack("<i", 5),
        struct.pack("<i", -1),
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("<iQ", Command.GET, MAX_KEY_BYTES + 1),
        struct.pack("<iQ", Command.GET, 2**64 - 1),
        ask(Command.SET, b"k", struct.pack("<Q", MAX_VALUE_BYTES + 1)),
        ask(Command.GET, b"nothing"),
        put(b"k", b"no number") + add(b"k", 1),
        put(b"k", b"9" * 400) + add(b"k", 1),
        add(b"k", 2**63 - 1) + add(b"k", 2**63 - 1),
    ],
    ids=["5", "-1", "http", "long-key", "endless-key", "long-value", "unknown", "text", "digits", "overflow"],
)
def test_a_request_that_no_rank_sends_ends_its_own_connection_only(connect, request_bytes) -> None:
    rank, stranger = connect(), connect()
    rank.sendall(add(b"steps", 1))
    assert take(rank, 8) == struct.pack("<q", 1)
    stranger.sendall(request_bytes)
    if request_bytes[:4] == struct.pack("<i", Command.ADD):
        take(stranger, 8)
    assert is_closed(stranger)
    rank.sendall(add(b"steps", 1))
    assert take(rank, 8) == struct.pack("<q", 2)


def test_random_bytes_do_not_disturb_ranks(store: Store, connect) -> None:
    rank, draw = connect(), random.Random(7)
    for count in range(1, 301):
        with socket.create_connection(_address(store), timeout=5) as stranger:
            head = struct.pack("<i", draw.randrange(8)) + struct.pack(
                "<Q", draw.choice([1, 8, 2**40, 2**64 - 1])
            )
            stranger.sendall(draw.choice([draw.randbytes(draw.randrange(1, 200)), head + draw.randbytes(20)]))
        rank.sendall(add(b"steps", 1))
        assert take(rank, 8) == struct.pack("<q", count)


def test_a_client_that_takes_no_answers_is_not_read_from(connect) -> None:
    greedy, rank = connect(), connect()
    greedy.sendall(put(b"big", bytes(MAX_VALUE_BYTES)))
    before = _resident_bytes()
    greedy.settimeout(0.5)
    with pytest.raises(TimeoutError):  # its requests stay in the kernel, which takes no more of them
        greedy.sendall(ask(Command.GET, b"big") * 1_000_000)
    rank.sendall(add(b"steps", 1))
    assert take(rank, 8) == struct.pack("<q", 1)
    assert _resident_bytes() - before < 16 * 1024 * 1024


def test_who_waits_cannot_send_without_end(connect) -> None:
    stranger = connect()
    stranger.sendall(ask(Command.WAIT, b"never"))
    with pytest.raises(ConnectionError):
        stranger.sendall(bytes(64 << 20))  # far more than the system's buffers take


def test_connections_that_say_nothing_give_way(store: Store, connect) -> None:
    rank = connect()
    rank.sendall(add(b"steps", 1))
    take(rank, 8)
    silent = [connect() for _ in range(120)]
    late = connect()
    late.sendall(add(b"steps", 1))
    assert take(late, 8) == struct.pack("<q", 2)
    assert is_closed(silent[0])
    rank.sendall(add(b"steps", 1))
    assert take(rank, 8) == struct.pack("<q", 3)


def test_what_is_kept_is_bounded(connect, monkeypatch) -> None:
    monkeypatch.setattr("trainer.node.store.MAX_STORED_BYTES", 10_000)
    rank, stranger = connect(), connect()
    rank.sendall(put(b"mine", b"value"))
    stranger.sendall(b"".join(put(b"%d" % number, bytes(500)) for number in range(100)))
    assert is_closed(stranger)
    rank.sendall(ask(Command.GET, b"mine"))
    assert take(rank, 13)[8:] == b"value"


def test_it_listens_at_its_address_alone(store: Store) -> None:
    lines = Path("/proc/net/tcp").read_text().split("\n")
    _, port = _address(store)
    listening = [line.split()[1] for line in lines if f":{port:04X} " in line and " 0A " in line]
    assert listening == [f"0100007F:{port:04X}"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=2)


def test_its_end_cuts_connections_and_frees_the_port_for_the_next_attempt() -> None:
    first = Store(host="127.0.0.1", port=0, world_size=2)
    with socket.create_connection(_address(first), timeout=5) as rank:
        rank.sendall(add(b"init/", 1))
        take(rank, 8)
        first.close()
        assert is_closed(rank)
        second = Store(host="127.0.0.1", port=_address(first)[1], world_size=2)
    try:
        with socket.create_connection(_address(second), timeout=5) as rank:
            rank.sendall(add(b"init/", 1))
            assert take(rank, 8) == struct.pack("<q", 1)  # nothing of the attempt before
    finally:
        second.close()
    assert not any(thread.name == "store" and thread.is_alive() for thread in threading.enumerate())


@pytest.mark.parametrize("rank", [0, 3])
def test_paddle_is_told_to_connect_and_the_rank_is_as_before(rank: int) -> None:
    environ = {"PADDLE_TRAINER_ID": str(rank)}
    with joining_a_store(Ranks(rank=rank, world_size=4), environ):
        assert environ["PADDLE_TRAINER_ID"] != "0"  # with 0 Paddle's store listens, on all interfaces
    assert environ == {"PADDLE_TRAINER_ID": str(rank)}


def test_an_incomplete_request_is_waited_for_and_an_impossible_one_is_not() -> None:
    whole = put(b"key", b"value")
    assert all(parse_request(whole[:cut]) is None for cut in range(len(whole)))
    parsed = parse_request(whole + b"more")
    assert parsed is not None
    assert (parsed[0].key, parsed[0].value, parsed[1]) == (b"key", b"value", len(whole))
    with pytest.raises(ProtocolError, match="expected a command"):
        parse_request(struct.pack("<i", 77))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
