"""Every node's first task: finds the coordinator, runs local ranks as it is told, and passes on signals.

A loop around a loop: join (connect, prove, be welcomed; again and again for `rendezvous_timeout_s`), then
serve until the connection is lost. Ranks do not outlive the connection: without node 0 nobody decides, and
an attempt needs all nodes, so that they are killed and the agent joins anew. Both ends of this node, being
through and being told to stop twice, leave both loops by one exception, so that ranks are killed in one
place.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from trainer.node.channel import Channel, ConnectionLostError, connect
from trainer.node.console import Console
from trainer.node.mailbox import Mailbox
from trainer.node.messages import (
    SCHEMA,
    Admitted,
    Challenge,
    Cleared,
    End,
    Exited,
    Kill,
    Leaving,
    Message,
    Poll,
    Prepare,
    RankState,
    Ready,
    Records,
    Refused,
    Released,
    Start,
    Stop,
    Waiting,
    Welcome,
)  # fmt: skip
from trainer.node.proof import Key, ProofError, is_nonce
from trainer.node.settings import Address, NodeSettings
from trainer.node.worker_group import WorkerGroup, reap_orphans
from trainer.protocol.codec import FormatError
from trainer.protocol.exits import Exit
from trainer.protocol.runfile import load_run_file
from trainer.protocol.termination import Termination

_ANSWER_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Signalled:
    """The node process was told to stop; `exit` is how it then ends."""

    exit: Exit


@dataclass(frozen=True, slots=True)
class _Lost:
    reason: str


Happening: TypeAlias = Message | Signalled | _Lost


class _NodeEndedError(Exception):
    """This node is through."""

    def __init__(self, termination: Termination) -> None:
        super().__init__(termination.reason)
        self.termination = termination


class Agent:
    """One node's part in the run: its ranks, and its connection to node 0."""

    def __init__(
        self, *, settings: NodeSettings, console: Console, command: Sequence[str], environ: Mapping[str, str]
    ) -> None:
        """`command` starts one rank; `environ` is what every rank inherits."""
        self._settings = settings
        self._console = console
        self._command = command
        self._environ = environ
        self._inbox: Mailbox[Happening] = Mailbox()
        self._group: WorkerGroup | None = None
        self._channel: Channel | None = None
        self.rank_states: Sequence[RankState] = ()
        """Of this node's ranks, as last reported."""
        self.pids_beside: Callable[[], frozenset[int]] = frozenset
        """Of children that somebody else of this process waits for."""
        self.gpu_use: float | None = None
        """Mean of this node's GPUs, from 0 to 1; None where it is not known."""
        self._leaving: Exit | None = None
        self._leave_until_s = 0.0
        self._next_poll_s = 0.0

    @property
    def attempt(self) -> int:
        """The attempt that began last, from 1; 0 before the first."""
        return self._console.attempt

    def on_signal(self, exit_code: Exit) -> None:
        """Be told to stop; a second time means at once."""
        self._inbox.put(Signalled(exit_code))

    async def run(self) -> Termination:
        """Take part until the run ends or this node is told to stop."""
        try:
            while True:
                reading: asyncio.Task[None] | None = None
                self._channel = await self._join()
                try:
                    reading = asyncio.ensure_future(self._read(self._channel))
                    await self._serve(self._channel)
                except ConnectionLostError as error:
                    await self._on_lost(str(error))
                finally:
                    if reading is not None:
                        reading.cancel()
                    await self._channel.close()
                    self._channel = None
        except _NodeEndedError as out:
            await self._clear("the run ends")
            return out.termination

    async def _join(self) -> Channel:
        began_s = said_s = time.monotonic()
        timeout_s = self._settings.job.rendezvous_timeout_s
        while True:
            try:
                return await self._connect()
            except (OSError, ConnectionLostError) as error:
                reason = str(error)
            if self._settings.job.is_elastic and self._is_done():
                reason = "the run was done before this node came"
                self._console.say(reason)
                raise _NodeEndedError(self._termination(Exit.DONE, reason))
            waited_s = time.monotonic() - began_s
            where = self._settings.coordinator
            if waited_s >= timeout_s:
                sentence = f"node 0 at {where} did not answer within {timeout_s:.0f} s: {reason}"
                raise _NodeEndedError(self._termination(Exit.RENDEZVOUS, sentence))
            if time.monotonic() - said_s >= self._settings.intervals.say_s:
                said_s = time.monotonic()
                self._console.say(
                    f"waiting for node 0 at {where} ({waited_s:.0f} s of {timeout_s:.0f} s): {reason}"
                )
            happening = await self._inbox.get(self._settings.intervals.retry_s)
            if isinstance(happening, Signalled):
                raise _NodeEndedError(self._termination(happening.exit, "stopped while it waited for node 0"))

    def _is_done(self) -> bool:
        """Say whether the run ended well while this node was away, as runs of fewer than all nodes may."""
        try:
            run = load_run_file(self._settings.output_dir)
        except (FormatError, OSError):
            return False
        return run is not None and run.run_id == self._settings.job.run_id and run.ended == Exit.DONE

    async def _connect(self) -> Channel:
        settings = self._settings
        address = settings.coordinator
        if settings.node == 0:  # its own name may not resolve yet
            address = Address(host=settings.bind_host or "127.0.0.1", port=address.port)
        channel = await connect(address, intervals=settings.intervals)
        try:
            answer = await asyncio.wait_for(self._introduce(channel), _ANSWER_WITHIN_S)
        except (ConnectionLostError, asyncio.TimeoutError) as error:
            await channel.close()
            raise ConnectionLostError(str(error) or "no answer") from error
        if isinstance(answer, Welcome):
            self._console.attempt = answer.attempt
            return channel
        await channel.close()
        reason = f"refused: {answer.reason}" if isinstance(answer, Refused) else "it speaks another protocol"
        raise ConnectionLostError(reason)

    async def _introduce(self, channel: Channel) -> Message:
        """Prove this node's run, have node 0's proved, and return what it then says."""
        settings, key = self._settings, Key.of(self._settings.job)
        challenge = await channel.receive()
        if (
            not isinstance(challenge, Challenge)
            or challenge.schema != SCHEMA
            or not is_nonce(challenge.nonce)
        ):
            found = challenge.schema if isinstance(challenge, Challenge) else "another"
            raise ConnectionLostError(
                expected=f"protocol {SCHEMA}", got=str(found), fix="use one image for all nodes"
            )
        proof = key.prove(challenge, node=settings.node, job=settings.job)
        channel.send(proof)
        try:
            admitted = await channel.receive()
        except ConnectionLostError as error:
            raise ConnectionLostError("it refused the proof; is it of another run?") from error
        if not isinstance(admitted, Admitted):
            raise ConnectionLostError("it speaks another protocol")
        try:
            key.check(admitted, challenge, proof)
        except ProofError as error:
            raise ConnectionLostError(str(error)) from error
        channel.secure(key.session(challenge, proof, as_coordinator=False))
        return await channel.receive()

    async def _read(self, channel: Channel) -> None:
        try:
            while True:
                self._inbox.put(await channel.receive())
        except ConnectionLostError as error:
            self._inbox.put(_Lost(str(error)))

    async def _serve(self, channel: Channel) -> None:
        while True:
            happening = await self._inbox.get(self._settings.intervals.watch_s)
            match happening:
                case None:
                    pass
                case _Lost(reason=reason):
                    raise ConnectionLostError(reason)
                case Signalled():
                    self._on_signalled(happening, channel)
                case End():
                    raise _NodeEndedError(
                        Termination(
                            exit=happening.exit, rank=happening.rank, rank_exit=happening.rank_exit,
                            attempt=happening.attempt, step=happening.step, reason=happening.reason,
                            checkpoint=happening.checkpoint,
                        )
                    )  # fmt: skip
                case Released():
                    raise _NodeEndedError(
                        Termination(
                            exit=self._leaving or Exit.STOPPED, attempt=happening.attempt,
                            step=happening.step, reason=happening.reason, checkpoint=happening.checkpoint,
                        )
                    )  # fmt: skip
                case _:
                    self._carry_out(happening, channel)
            self._tick(channel)

    def _carry_out(self, message: Message, channel: Channel) -> None:
        group = self._group
        match message:
            case Prepare(number=number):
                ports = _free_ports(self._settings.job.procs_per_node)
                channel.send(Ready(number=number, host=channel.local_host, ports=ports))
            case Start() if group is None:
                self._start(message, channel)
            case Waiting(reason=reason):
                self._console.say(reason)
            case Poll() if group is not None:
                self._report(group, channel, asked=True)
            case Stop(attempt=attempt, step=step) if group is not None and attempt == group.attempt:
                group.request_stop(step)
            case Kill(attempt=attempt, reason=reason) if group is not None and attempt == group.attempt:
                self._console.say(f"killing the ranks of this node: {reason}")
                group.kill()
            # Of an attempt that is not here any more, or while ranks of another one still are: what is asked
            # for is so already, and the coordinator waits to hear it.
            case Kill(attempt=attempt) | Start(attempt=attempt):
                channel.send(Cleared(attempt=attempt))
            case _:
                pass

    def _start(self, start: Start, channel: Channel) -> None:
        self._console.attempt = start.attempt
        self._next_poll_s = time.monotonic()
        try:
            self._group = WorkerGroup(start, settings=self._settings, console=self._console)
            self._group.spawn(self._command, self._environ)
        except OSError as error:
            channel.send(
                Exited(
                    attempt=start.attempt, rank=self._settings.local_ranks.start, code=int(Exit.INTERNAL),
                    killed=False, reason=f"the rank could not be started: {error}", step=None,
                    checkpoint=None,
                )
            )  # fmt: skip
            if self._group is None:
                channel.send(Cleared(attempt=start.attempt))
            else:
                self._group.kill()

    def _tick(self, channel: Channel) -> None:
        now_s = time.monotonic()
        if self._leaving is not None and now_s >= self._leave_until_s:
            raise _NodeEndedError(self._termination(self._leaving, "stopped; the time to save was over"))
        group = self._group
        reap_orphans((group.pids if group is not None else frozenset()) | self.pids_beside())
        if group is None:
            return
        exits = group.poll()
        if exits:  # before them, so that the last progress line is true
            self._report(group, channel)
        for exited in exits:
            channel.send(exited)
        if group.cleared:
            group.close()
            self._group = None
            channel.send(Cleared(attempt=group.attempt))
        elif now_s >= self._next_poll_s:
            self._next_poll_s = now_s + self._settings.intervals.poll_s
            self._report(group, channel)

    def _report(self, group: WorkerGroup, channel: Channel, *, asked: bool = False) -> None:
        self.rank_states = group.records()
        channel.send(
            Records(attempt=group.attempt, asked=asked, ranks=self.rank_states, gpu_use=self.gpu_use)
        )

    def _on_signalled(self, signalled: Signalled, channel: Channel) -> None:
        if self._leaving is not None:
            raise _NodeEndedError(
                self._termination(signalled.exit, "told to stop twice; the ranks were killed")
            )
        self._leaving = signalled.exit
        # A little more than the coordinator allows, so that it is the one that says so.
        self._leave_until_s = (
            time.monotonic() + self._settings.stop_within_s + 0.1 * self._settings.job.grace_s
        )
        self._console.say("told to stop")
        channel.send(Leaving())

    async def _on_lost(self, reason: str) -> None:
        had_ranks = self._group is not None
        await self._clear(f"node 0 was lost: {reason}")
        if self._leaving is not None:
            raise _NodeEndedError(self._termination(self._leaving, "stopped; node 0 was lost"))
        killed = "its ranks were killed; " if had_ranks else ""
        self._console.say(f"node 0 is gone ({reason}); {killed}waiting for its return")

    async def _clear(self, reason: str) -> None:
        # Not left to the kernel, which kills the ranks when this process ends: their last lines would be lost
        # and what they have started would stay.
        group, self._group = self._group, None
        if group is None:
            return
        self._console.say(f"killing the ranks of this node: {reason}")
        group.kill()
        until_s = time.monotonic() + self._settings.intervals.kill_s
        while not group.cleared and time.monotonic() < until_s:
            group.poll()
            await asyncio.sleep(self._settings.intervals.watch_s)
        group.close()

    def _termination(self, exit_code: Exit, reason: str) -> Termination:
        return Termination(exit=int(exit_code), attempt=self._console.attempt, reason=reason)


def _free_ports(count: int) -> tuple[int, ...]:
    # All are held until the last is found, so that none is given twice. Somebody else can take one until the
    # ranks do; the attempt then fails, and the next one has other ports.
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind(("", 0))
        return tuple(int(bound.getsockname()[1]) for bound in sockets)
