"""A key-value store of Paddle's protocol, where the ranks of an attempt find each other.

Paddle 3.3.1 has rank 0 serve it, on all interfaces and without an address to choose (`TCPServer::create` in
paddle/phi/core/distributed/store/tcp_store.cc). So node 0's process serves it, at the one address that the
other ranks need, and all ranks come as clients (`trainer.ranks.joining_a_store`).

A request is a number of four bytes, the length of a key in eight, the key, and what the command takes.
Numbers are as the machine has them, little-endian on all that Paddle runs on (send_bytes in tcp_utils.h):

    ADD   0   an int64          answers the sum as int64; a key that is not there is 0
    GET   1                     answers length and bytes; of a key that is not there the connection is closed
    CHECK 2                     answers READY or NOT_READY
    SET   3   length and bytes  has no answer
    WAIT  4                     answers STOP_WAIT once the key is there

Sums are kept as decimal text, as Paddle does, because a client may GET what it has ADDed.

One thread serves all connections, each of which is a buffer of what came and one of what is to be sent. A
connection whose answers are not taken is not read from, so that it never holds more than one answer and one
request. A stranger who can connect can change what stands here, as with Paddle's own store; what it cannot do
is to make the process crash, hang or grow: keys, values, their sum and the connections are bounded, and a
request above that closes its connection. It is a thread and not a task of the event loop, which waits for
slow volumes now and then, while ranks meet here at every step.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from enum import IntEnum

from trainer.protocol.errors import TrainerError

MAX_KEY_BYTES = 4096
MAX_VALUE_BYTES = 1024 * 1024
"""Each rank leaves one value for gloo, of 68 bytes for each rank: enough for 15,000."""
MAX_STORED_BYTES = 256 * 1024 * 1024
_ENTRY_BYTES = 256  # what a short key costs beside its text
_READ_BYTES = 64 * 1024
_PAUSE_S = 0.02
_SPARE_CONNECTIONS = 64  # beside those of the ranks: who goes and comes again may be there twice for a moment

_INT64 = struct.Struct("<q")
_SIZE = struct.Struct("<Q")
_NUMBER = struct.Struct("<i")


class Command(IntEnum):
    """`Command` of tcp_store.h."""

    ADD = 0
    GET = 1
    CHECK = 2
    SET = 3
    WAIT = 4


class Reply(IntEnum):
    """`ReplyType` of tcp_store.h."""

    STOP_WAIT = 1
    READY = 2
    NOT_READY = 3


class ProtocolError(TrainerError):
    """A request that no client of Paddle sends, or one above a limit."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks; `value` is what SET and ADD take, as it was sent."""

    command: Command
    key: bytes
    value: bytes = b""


def parse_request(data: bytes | bytearray) -> tuple[Request, int] | None:
    """Read the first request.

    Returns:
        It and how many bytes it took, or None where its end has not come yet.

    Raises:
        ProtocolError: It never will be one.
    """
    if len(data) < _NUMBER.size:
        return None
    number = _NUMBER.unpack_from(data)[0]
    try:
        command = Command(number)
    except ValueError:
        raise ProtocolError(expected="a command from 0 to 4", got=f"{number}") from None
    key = _parse_sized(data, at=_NUMBER.size, limit=MAX_KEY_BYTES)
    if key is None:
        return None
    end = _NUMBER.size + _SIZE.size + len(key)
    if command is Command.ADD:
        value = bytes(data[end : end + _INT64.size])
        return (Request(command, key, value), end + _INT64.size) if len(value) == _INT64.size else None
    if command is Command.SET:
        held = _parse_sized(data, at=end, limit=MAX_VALUE_BYTES)
        return None if held is None else (Request(command, key, held), end + _SIZE.size + len(held))
    return Request(command, key), end


def _parse_sized(data: bytes | bytearray, *, at: int, limit: int) -> bytes | None:
    if len(data) < at + _SIZE.size:
        return None
    size = _SIZE.unpack_from(data, at)[0]
    if size > limit:
        raise ProtocolError(expected=f"at most {limit} bytes", got=f"{size}")
    begin = at + _SIZE.size
    return bytes(data[begin : begin + size]) if len(data) >= begin + size else None


@dataclass(eq=False, slots=True)
class _Client:
    connection: socket.socket
    received: bytearray = field(default_factory=bytearray)
    to_send: bytearray = field(default_factory=bytearray)
    awaited: bytes | None = None
    has_spoken: bool = False


class Store:
    """Serves one attempt from its construction to `close`; what was stored goes with it.

    Attributes:
        address: `host:port` at which it listens.
    """

    def __init__(self, *, host: str, port: int, world_size: int) -> None:
        """Listen and serve.

        Args:
            host: IPv4 address of an interface; nothing but it is listened on.
            port: 0 for any that is free.
            world_size: Ranks that come.

        Raises:
            OSError: The port is taken, or the address is not this machine's.
        """
        self._most_clients = 2 * world_size + _SPARE_CONNECTIONS
        self._values: dict[bytes, bytes] = {}
        self._stored_bytes = 0
        self._clients: dict[_Client, None] = {}  # in the order in which they came
        self._waiting: dict[bytes, list[_Client]] = {}
        self._listening = socket.create_server((host, port), backlog=max(128, 2 * world_size))
        self._listening.setblocking(False)
        address = self._listening.getsockname()
        self.address = f"{address[0]}:{address[1]}"
        self._ending, self._end = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._ending, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="store", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Cut all connections and free the port."""
        self._end.close()  # the other end becomes readable
        self._thread.join()
        for client in list(self._clients):
            self._drop(client)
        self._selector.close()
        self._ending.close()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            for key, events in self._selector.select():
                if key.fileobj is self._ending:
                    return
                if key.fileobj is self._listening:
                    self._accept()
                elif key.data in self._clients:  # not cut by what came just before
                    self._attend(key.data, events)

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:  # gone before it was accepted, or no descriptor is free
            self._drop_oldest_silent()
            time.sleep(_PAUSE_S)  # nobody may be there to go
            return
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = _Client(connection)
        self._clients[client] = None
        self._selector.register(connection, selectors.EVENT_READ, client)
        if len(self._clients) > self._most_clients:
            self._drop_oldest_silent()

    def _drop_oldest_silent(self) -> None:
        # A rank speaks at once and stays connected for hours; a stranger that fills the places says nothing.
        silent = next((client for client in self._clients if not client.has_spoken), None)
        if silent is not None:
            self._drop(silent)

    def _attend(self, client: _Client, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                del client.to_send[: client.connection.send(client.to_send)]
            if events & selectors.EVENT_READ:
                data = client.connection.recv(_READ_BYTES)
                if not data:
                    raise ConnectionResetError
                client.received += data
            self._answer_all(client)
        except BlockingIOError:
            pass
        except (OSError, ProtocolError):
            self._drop(client)

    def _answer_all(self, client: _Client) -> None:
        """Answer what has come whole, one after the other: not before the last answer was taken."""
        while not client.to_send and client.awaited is None:
            found = parse_request(client.received)
            if found is None:
                break
            request, used = found
            del client.received[:used]
            client.has_spoken = True
            self._answer(client, request)
            self._flush(client)
        self._watch(client)

    def _answer(self, client: _Client, request: Request) -> None:
        key = request.key
        match request.command:
            case Command.ADD:
                total = _parse_sum(self._values.get(key, b"0")) + _INT64.unpack(request.value)[0]
                if not -(2**63) <= total < 2**63:
                    raise ProtocolError(expected="a sum of 64 bits")
                self._keep(key, b"%d" % total)
                client.to_send += _INT64.pack(total)
            case Command.SET:
                self._keep(key, request.value)
            case Command.GET:
                if key not in self._values:
                    raise ProtocolError(expected="a key that is there")
                client.to_send += _SIZE.pack(len(self._values[key])) + self._values[key]
            case Command.CHECK:
                client.to_send += _NUMBER.pack(Reply.READY if key in self._values else Reply.NOT_READY)
            case Command.WAIT if key in self._values:
                client.to_send += _NUMBER.pack(Reply.STOP_WAIT)
            case Command.WAIT:
                client.awaited = key
                self._waiting.setdefault(key, []).append(client)

    def _keep(self, key: bytes, value: bytes) -> None:
        before = self._values.get(key)
        grown = len(value) - len(before) if before is not None else _ENTRY_BYTES + len(key) + len(value)
        if self._stored_bytes + grown > MAX_STORED_BYTES:
            raise ProtocolError(expected=f"at most {MAX_STORED_BYTES} bytes in all")
        self._stored_bytes += grown
        self._values[key] = value
        for client in self._waiting.pop(key, ()):
            client.awaited = None
            client.to_send += _NUMBER.pack(Reply.STOP_WAIT)
            self._watch(client)  # its next request, if it has come, is answered once this is sent

    def _flush(self, client: _Client) -> None:
        if client.to_send:
            with contextlib.suppress(BlockingIOError):
                del client.to_send[: client.connection.send(client.to_send)]

    def _watch(self, client: _Client) -> None:
        """Read from a client, or send to it; of one that waits only its end is looked for."""
        wanted = selectors.EVENT_WRITE if client.to_send else selectors.EVENT_READ
        if client.awaited is not None and len(client.received) > MAX_KEY_BYTES:
            raise ProtocolError(expected="no requests from a client that waits")
        if self._selector.get_key(client.connection).events != wanted:
            self._selector.modify(client.connection, wanted, client)

    def _drop(self, client: _Client) -> None:
        self._clients.pop(client, None)
        if client.awaited is not None:
            waiting = self._waiting[client.awaited]
            waiting.remove(client)
            if not waiting:
                del self._waiting[client.awaited]
        self._selector.unregister(client.connection)
        client.connection.close()


def _parse_sum(text: bytes) -> int:
    if len(text) > 20 or not text.removeprefix(b"-").isdigit():
        raise ProtocolError(expected="a key that holds a number")
    return int(text)
