"""The coordinator's side of the connections: who is there, and what they say, as one stream of events.

Decides only who is let in.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TypeAlias

from trainer.node.channel import Channel, ConnectionLostError
from trainer.node.console import Console
from trainer.node.mailbox import Mailbox
from trainer.node.messages import MAX_LINE_BYTES, SCHEMA, End, Hello, Message, Refused, Welcome
from trainer.node.settings import Settings

_HELLO_WITHIN_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """A node came, or came back."""

    node: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """A node's connection ended."""

    node: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Got:
    """A node said something."""

    node: int
    message: Message


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """Something of the coordinator's own broke, and the run cannot go on."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Quit:
    """Node 0's own member is through, and so is node 0."""


Event: TypeAlias = Joined | Lost | Got | Trouble | Quit


class Peers:
    """All nodes that are connected, node 0's own member included.

    Attributes:
        events: What happens, in order.
        attempt: Told to newcomers, so that they tag their lines.
        ending: Once set, newcomers are told how the run ended.
        own_host: Address of this machine as other nodes reach it; None until one came.
    """

    def __init__(self, *, settings: Settings, console: Console) -> None:
        self.events: Mailbox[Event] = Mailbox()
        self.attempt = 0
        self.ending: End | None = None
        self.own_host: str | None = None
        self._settings = settings
        self._console = console
        self._channels: dict[int, Channel] = {}
        self._server: asyncio.AbstractServer | None = None

    async def listen(self) -> None:
        """Take the rendezvous port.

        Raises:
            OSError: It is taken, or the address is not ours.
        """
        self._server = await asyncio.start_server(
            self._serve,
            # Not None: asyncio would bind :: too, and fail where IPv6 is off; Paddle knows no IPv6 anyway.
            self._settings.bind_host or "0.0.0.0",  # noqa: S104 - peers come from other machines
            self._settings.coordinator.port,
            limit=MAX_LINE_BYTES,
        )

    @property
    def listening(self) -> bool:
        """Whether nodes can come."""
        return self._server is not None

    @property
    def connected(self) -> frozenset[int]:
        """Nodes that are there."""
        return frozenset(self._channels)

    def send(self, node: int, message: Message) -> None:
        """Say something to one node, if it is there."""
        if (channel := self._channels.get(node)) is not None:
            channel.send(message)

    def send_all(self, message: Message) -> None:
        """Say something to all that are there."""
        for channel in self._channels.values():
            channel.send(message)

    async def close(self) -> None:
        """Close the port and all connections."""
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*(channel.close() for channel in list(self._channels.values())))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pace = self._settings.pace
        channel = Channel(reader, writer, ping_s=pace.ping_s, silence_s=pace.silence_s)
        try:
            node = await self._admit(channel)
            if node is not None:
                await self._listen_to(node, channel)
        finally:
            await channel.close()

    async def _admit(self, channel: Channel) -> int | None:
        try:
            hello = await asyncio.wait_for(channel.receive(), _HELLO_WITHIN_S)
        except (ConnectionLostError, asyncio.TimeoutError):
            return None
        reason = self._refusal(hello)
        if reason is not None or not isinstance(hello, Hello):
            self._console.say(f"refused {channel.remote_host}: {reason}")
            channel.send(Refused(reason=str(reason)))
            return None
        if hello.node in self._channels:  # its machine is gone and nobody has closed the old connection
            self._forget(hello.node, "it came back by another connection")
        self._channels[hello.node] = channel
        if hello.node != 0:
            self.own_host = channel.local_host
        channel.send(Welcome(attempt=self.attempt))
        if self.ending is not None:
            channel.send(self.ending)
        self.events.put(Joined(node=hello.node))
        return hello.node

    async def _listen_to(self, node: int, channel: Channel) -> None:
        try:
            while True:
                message = await channel.receive()
                if self._channels.get(node) is channel:
                    self.events.put(Got(node=node, message=message))
        except ConnectionLostError as error:
            if self._channels.get(node) is channel:
                self._forget(node, str(error))

    def _forget(self, node: int, reason: str) -> None:
        self._channels.pop(node).hang_up()
        self.events.put(Lost(node=node, reason=reason))

    def _refusal(self, hello: Message) -> str | None:
        job = self._settings.job
        if not isinstance(hello, Hello):
            return f"expected a hello, got {type(hello).__name__.lower()}"
        if hello.schema != SCHEMA:
            return f"expected protocol {SCHEMA}, got {hello.schema}; use one image for all nodes"
        if hello.run_id != job.run_id:
            return f"expected run {job.run_id}, got {hello.run_id[:64]!r}"
        if (hello.nodes, hello.procs_per_node) != (job.nodes, job.procs_per_node):
            return (
                f"expected {job.nodes} nodes of {job.procs_per_node} ranks, "
                f"got {hello.nodes} of {hello.procs_per_node}"
            )
        if not 0 <= hello.node < job.nodes:
            return f"expected a node below {job.nodes}, got {hello.node}"
        return None
