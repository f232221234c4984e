"""The coordinator's side of the connections: who is there, and what they say, as one stream of events.

Decides only who is let in. Everybody in the cluster's network may be able to connect, so a connection is a
stranger's until its proof (`proof`): it costs a few kilobytes, is cut after `_PROOF_WITHIN_S`, and there are
at most so many of them that the descriptors suffice; beyond that the oldest gives way, because an honest node
needs a few milliseconds, and one that was cut tries again. A stranger takes no node's place and writes no
line: how many were cut is said at most every `say_s`.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from dataclasses import dataclass
from typing import TypeAlias

from trainer.node.channel import READ_LIMIT_BYTES, Channel, ConnectionLostError
from trainer.node.console import Console
from trainer.node.mailbox import Mailbox
from trainer.node.messages import SCHEMA, Challenge, End, Message, Proof, Refused, Welcome
from trainer.node.proof import Key, ProofError, new_nonce
from trainer.node.settings import NodeSettings

_PROOF_WITHIN_S = 5.0
_MAX_STRANGERS = 256
_SAY_STRANGERS_S = 10.0


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
class LockLost:
    """Something of the coordinator's own broke, and the run cannot go on."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Quit:
    """Node 0's own agent is through, and so is node 0."""


Event: TypeAlias = Joined | Lost | Got | LockLost | Quit


class Peers:
    """All nodes that are connected, node 0's own agent included.

    Attributes:
        events: What happens, in order.
        attempt: Told to newcomers, so that they tag their lines.
        ending: Once set, newcomers are told how the run ended.
        own_host: Address of this machine as other nodes reach it; None until one came.
    """

    def __init__(self, *, settings: NodeSettings, console: Console) -> None:
        self.events: Mailbox[Event] = Mailbox()
        self.attempt = 0
        self.ending: End | None = None
        self.own_host: str | None = None
        self._settings = settings
        self._console = console
        self._key = Key.of(settings.job)
        self._channels: dict[int, Channel] = {}
        self._away_since_s: dict[int, float] = {}  # of nodes that were there
        self._made_s = time.monotonic()
        self._strangers: dict[Channel, None] = {}  # in the order in which they came
        self._max_strangers = _max_strangers()
        self._cut = 0
        self._say_strangers_s = 0.0
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Take the rendezvous port.

        Raises:
            OSError: It is taken, or the address is not ours.
        """
        # Not None: asyncio would bind :: too, and fail where IPv6 is off; Paddle knows no IPv6 anyway.
        host = self._settings.bind_host or "0.0.0.0"  # noqa: S104 - peers come from other machines
        bound = socket.socket()
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, READ_LIMIT_BYTES
            )  # accepted ones have it too
            bound.bind((host, self._settings.coordinator.port))
            self._server = await asyncio.start_server(self._serve, sock=bound, limit=READ_LIMIT_BYTES)
        except OSError:
            bound.close()
            raise

    @property
    def listening(self) -> bool:
        """Whether nodes can come."""
        return self._server is not None

    @property
    def port(self) -> int:
        """Where nodes can come: what was asked for, or where that was 0 what the kernel gave."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connected(self) -> frozenset[int]:
        """Nodes that are there."""
        return frozenset(self._channels)

    def away_s(self, node: int) -> float:
        """Return for how many seconds a node has not been there: 0 while it is."""
        if node in self._channels:
            return 0.0
        return time.monotonic() - self._away_since_s.get(node, self._made_s)

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
        for stranger in list(self._strangers):
            stranger.abort()
        await asyncio.gather(*(channel.close() for channel in list(self._channels.values())))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = Channel(reader, writer, intervals=self._settings.intervals)
        self._strangers[channel] = None
        while len(self._strangers) > self._max_strangers:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.abort()
        try:
            proof = await asyncio.wait_for(self._prove(channel), _PROOF_WITHIN_S)
        except (ConnectionLostError, ProofError, asyncio.TimeoutError):
            channel.abort()
            self._note_stranger(channel.remote_host)
            return
        finally:
            self._strangers.pop(channel, None)
        try:
            if self._admit(channel, proof):
                await self._listen_to(proof.node, channel)
        finally:
            await channel.close()

    async def _prove(self, channel: Channel) -> Proof:
        """Have the other side prove its run, and prove ours; return what it says it is."""
        challenge = Challenge(schema=SCHEMA, nonce=new_nonce())
        channel.send(challenge)
        proof = await channel.receive()
        if not isinstance(proof, Proof):
            raise ProofError("no proof")
        channel.send(self._key.admit(challenge, proof))
        channel.secure(self._key.session(challenge, proof, as_coordinator=True))
        return proof

    def _admit(self, channel: Channel, proof: Proof) -> bool:
        reason = self._refusal(proof)
        if reason is not None:
            self._console.say(f"refused node {proof.node} from {channel.remote_host}: {reason}")
            channel.send(Refused(reason=reason))
            return False
        if proof.node in self._channels:  # its machine is gone and nobody has closed the old connection
            self._forget(proof.node, "it came back by another connection")
        self._channels[proof.node] = channel
        # Node 0's own agent comes over loopback, which nobody else can reach this machine by.
        if proof.node != 0:
            self.own_host = channel.local_host
        # Before any event: what the coordinator sends because of it must not come first.
        channel.send(Welcome(attempt=self.attempt))
        if self.ending is not None:
            channel.send(self.ending)
        self.events.put(Joined(node=proof.node))
        return True

    def _note_stranger(self, host: str) -> None:
        self._cut += 1
        now_s = time.monotonic()
        if now_s < self._say_strangers_s:
            return
        self._say_strangers_s = now_s + max(self._settings.intervals.say_s, _SAY_STRANGERS_S)
        who = f"the last from {host}" if host else "all gone by now"
        many = "a connection that did" if self._cut == 1 else f"{self._cut} connections that did"
        self._console.say(f"cut {many} not prove to be of this run, {who}")
        self._cut = 0

    async def _listen_to(self, node: int, channel: Channel) -> None:
        try:
            while True:
                message = await channel.receive()
                # A node that came back by another connection is heard there alone.
                if self._channels.get(node) is channel:
                    self.events.put(Got(node=node, message=message))
        except ConnectionLostError as error:
            if self._channels.get(node) is channel:
                self._forget(node, str(error))

    def _forget(self, node: int, reason: str) -> None:
        self._channels.pop(node).hang_up()
        self._away_since_s[node] = time.monotonic()
        self.events.put(Lost(node=node, reason=reason))

    def _refusal(self, proof: Proof) -> str | None:
        job = self._settings.job
        if proof.schema != SCHEMA:
            return f"expected protocol {SCHEMA}, got {proof.schema}; use one image for all nodes"
        if (proof.nodes, proof.procs_per_node) != (job.nodes, job.procs_per_node):
            return (
                f"expected {job.nodes} nodes of {job.procs_per_node} ranks, "
                f"got {proof.nodes} of {proof.procs_per_node}"
            )
        if not 0 <= proof.node < job.nodes:
            return f"expected a node below {job.nodes}, got {proof.node}"
        return None


def _max_strangers() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(_MAX_STRANGERS, soft // 4 if soft != resource.RLIM_INFINITY else _MAX_STRANGERS))
