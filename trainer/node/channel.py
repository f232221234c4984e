"""One connection between two node processes, as a stream of messages."""

from __future__ import annotations

import asyncio
import contextlib

from trainer.node.messages import MAX_LINE_BYTES, Message, Ping, format_message, parse_message
from trainer.node.settings import Address, Pace
from trainer.protocol.fields import FormatError


class ConnectionLostError(Exception):
    """The other side is gone, silent, or does not speak our language."""


class Channel:
    """Sends without waiting, receives with a limit, and says that it lives while there is nothing to say."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, ping_s: float, silence_s: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._silence_s = silence_s
        self._pinging = asyncio.ensure_future(self._ping(ping_s))

    @property
    def local_host(self) -> str:
        """Address of this end: what the other side's machine can reach this one by."""
        return str(self._writer.get_extra_info("sockname")[0])

    @property
    def remote_host(self) -> str:
        """Address of the other end."""
        return str(self._writer.get_extra_info("peername")[0])

    def send(self, message: Message) -> None:
        """Send a message; on a lost connection it is dropped, and `receive` tells of the loss."""
        if not self._writer.is_closing():
            self._writer.write(format_message(message))

    async def receive(self) -> Message:
        """Return the next message that is not a `Ping`.

        Raises:
            ConnectionLostError: None will come any more.
        """
        while True:
            try:
                line = await asyncio.wait_for(self._reader.readline(), self._silence_s)
            except asyncio.TimeoutError as error:
                raise ConnectionLostError(f"nothing heard for {self._silence_s:.0f} s") from error
            except (OSError, ValueError) as error:  # ValueError: a line longer than the limit
                raise ConnectionLostError(str(error) or type(error).__name__) from error
            if not line.endswith(b"\n"):
                raise ConnectionLostError("the connection was closed")
            try:
                message = parse_message(line)
            except FormatError as error:
                raise ConnectionLostError(str(error)) from error
            if not isinstance(message, Ping):
                return message

    def hang_up(self) -> None:
        """Close without waiting; whoever receives is told that the connection is lost."""
        self._writer.close()

    async def close(self) -> None:
        """Send what is left and close."""
        self._pinging.cancel()
        self._writer.close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 2.0)

    async def _ping(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self.send(Ping())


async def connect(address: Address, *, pace: Pace) -> Channel:
    """Resolve and connect; the name is looked up each time, because a pod that returns has a new address.

    Raises:
        OSError: Nobody answers there, or the name is not known.
    """
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(address.host, address.port, limit=MAX_LINE_BYTES), 10.0
        )
    except asyncio.TimeoutError as error:
        raise OSError("no answer within 10 s") from error
    return Channel(reader, writer, ping_s=pace.ping_s, silence_s=pace.silence_s)
