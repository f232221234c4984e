"""One connection between two node processes, as a stream of messages.

Before the proof it is a stranger's: short lines, no signs of life, no word but the three of `proof`. After it
(`secure`) each line is sealed, and may be as long as the largest message.

A `Ping` every `ping_s` and a limit of `silence_s` find a machine that is gone: it sends no FIN, and TCP's
own keepalive takes hours or a socket option that some platforms lack. Sending never waits, because what is
decided for all nodes must not wait for the slowest of them; what a node does not take piles up in the
writer, and is little: a message now and then, and a ping every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from trainer.node.messages import MAX_LINE_BYTES, Message, Ping, format_message, parse_message
from trainer.node.proof import MAC_CHARACTERS, ProofError, Session
from trainer.node.settings import Address, Intervals
from trainer.protocol.codec import FormatError
from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit

MAX_STRANGER_BYTES = 1024
"""Of a line before the proof; the longest honest one has some 250."""
READ_LIMIT_BYTES = 4096
"""What asyncio holds of a connection that nobody reads, twice; the kernel does of a stranger's, twice.

asyncio takes up to 256 KiB of a socket at once, whatever its limit: only the kernel's buffer bounds that."""
_BUFFER_BYTES = 1024 * 1024


class ConnectionLostError(TrainerError):
    """The other side is gone, silent, or does not speak our language."""

    exit_code = Exit.RENDEZVOUS


class Channel:
    """Sends without waiting, receives with a limit, and says that it lives while there is nothing to say."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, intervals: Intervals
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._intervals = intervals
        self._buffer = bytearray()
        self._session: Session | None = None
        self._pinging: asyncio.Task[None] | None = None

    @property
    def local_host(self) -> str:
        """Address of this end: what the other side's machine can reach this one by."""
        return str(self._writer.get_extra_info("sockname")[0])

    @property
    def remote_host(self) -> str:
        """Address of the other end; empty where it is gone already."""
        address = self._writer.get_extra_info("peername")
        return str(address[0]) if address else ""

    def secure(self, session: Session) -> None:
        """Seal all that follows, in both directions; the other side has proved itself."""
        self._session = session
        # The kernel held little of a stranger; of a peer it may hold a message of thousands of ranks.
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._pinging = asyncio.ensure_future(self._ping(self._intervals.ping_s))

    def send(self, message: Message) -> None:
        """Send a message; on a lost connection it is dropped, and `receive` tells of the loss."""
        if not self._writer.is_closing():
            line = format_message(message)
            self._writer.write(line if self._session is None else self._session.seal(line))

    async def receive(self) -> Message:
        """Return the next message that is not a `Ping`.

        Raises:
            ConnectionLostError: None will come any more.
        """
        while True:
            try:
                line = await asyncio.wait_for(self._read_line(), self._intervals.silence_s)
                message = parse_message(line if self._session is None else self._session.open(line))
            except asyncio.TimeoutError as error:
                raise ConnectionLostError(f"nothing heard for {self._intervals.silence_s:.0f} s") from error
            except (OSError, FormatError, ProofError) as error:
                raise ConnectionLostError(str(error) or type(error).__name__) from error
            if not isinstance(message, Ping):
                return message

    def hang_up(self) -> None:
        """Close without waiting; whoever receives is told that the connection is lost."""
        self._writer.close()

    def abort(self) -> None:
        """Close at once and forget what was to be sent; for a stranger."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Send what is left and close."""
        if self._pinging is not None:
            self._pinging.cancel()
        self._writer.close()
        # The other side may be a machine that is gone: what is left to send is not waited for any longer.
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 2.0)

    async def _read_line(self) -> bytes:
        # Not StreamReader.readline: its limit is one for the whole life of a connection.
        most = MAX_STRANGER_BYTES if self._session is None else MAX_LINE_BYTES + MAC_CHARACTERS + 1
        buffer, searched = self._buffer, 0
        while (end := buffer.find(b"\n", searched)) < 0:
            searched = len(buffer)
            if searched > most:
                raise ConnectionLostError(expected=f"lines of at most {most} bytes")
            data = await self._reader.read(READ_LIMIT_BYTES * 16)
            if not data:
                raise ConnectionLostError("the connection was closed")
            buffer += data
        if end > most:
            raise ConnectionLostError(expected=f"lines of at most {most} bytes")
        line = bytes(buffer[: end + 1])
        del buffer[: end + 1]
        return line

    async def _ping(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self.send(Ping())


async def connect(address: Address, *, intervals: Intervals) -> Channel:
    """Resolve and connect; the name is looked up each time, because a pod that returns has a new address.

    Raises:
        OSError: Nobody answers there, or the name is not known.
    """
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(address.host, address.port, limit=READ_LIMIT_BYTES), 10.0
        )
    except asyncio.TimeoutError as error:
        raise OSError("no answer within 10 s") from error
    return Channel(reader, writer, intervals=intervals)
