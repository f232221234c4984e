"""Node 0's second task: gathers the nodes, starts attempts, counts them, and says when and how it ends.

In turns: gather the nodes that take part (`membership`), ask each for free ports, count the start, carry out
an `Attempt`, record how it went, pause. Whatever ends the run is raised as `_RunEndedError` from wherever it
is found, because it can be found at any wait (deadline, lock, signal), and the one place that catches it
tells all nodes and writes run.json. Node 0's own end, `_NodeLeavesError`, tells nobody: the others wait for
its return.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from trainer.node.attempt import Attempt, AttemptOutcome, Result
from trainer.node.attempt_store import INTERRUPTED, AttemptStore
from trainer.node.console import Console
from trainer.node.decisions import Failure, GiveUp, Kind, Retry
from trainer.node.membership import say_nodes, say_size, wait_for_more
from trainer.node.messages import End, Leaving, Prepare, Ready, Released, Start
from trainer.node.peers import Event, Got, Joined, LockLost, Lost, Peers, Quit
from trainer.node.settings import NodeSettings
from trainer.node.store import Store
from trainer.protocol.codec import FormatError
from trainer.protocol.exits import Exit
from trainer.protocol.nodefile import NodeFile
from trainer.protocol.progress import Progress
from trainer.protocol.runfile import OutputTakenError
from trainer.protocol.writerlock import LockLostError, WriterLockedError

_PREPARE_WITHIN_S = 10.0
_CLOSE_WITHIN_S = 5.0


class _RunEndedError(Exception):
    def __init__(self, exit_code: Exit, reason: str, *, result: Result | None = None) -> None:
        super().__init__(reason)
        self.exit_code = exit_code
        self.reason = reason
        self.result = result


class _NodeLeavesError(Exception):
    """Node 0 itself was told to stop: the others are left to wait for its return."""


class Coordinator:
    """Everything that is decided once for all nodes."""

    def __init__(
        self, *, settings: NodeSettings, console: Console, clock: Callable[[], float],
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """`clock` gives Unix time, for the deadline and the lock; `on_progress` must not wait."""
        self._on_progress = on_progress
        self._settings = settings
        self._console = console
        self._clock = clock
        self._peers = Peers(settings=settings, console=console)
        self._attempt_store: AttemptStore | None = None
        self._store: Store | None = None
        self._leaving: set[int] = set()
        self._released: set[int] = set()
        self._closing = asyncio.Event()
        self._last: Result | None = None
        self._prepared = 0
        self._gained = -1  # steps completed when a node was last lost
        self._said_s = time.monotonic()

    @property
    def listening(self) -> bool:
        """Whether it has the rendezvous port."""
        return self._peers.listening

    def quit(self) -> None:
        """Be told that this node's own agent is through; a farewell that is under way is finished."""
        self._peers.events.put(Quit())

    async def run(self) -> None:
        """Run until every node knows how the run ended, or until this one was told to stop."""
        await self._listen()
        beating: asyncio.Task[None] | None = None
        try:
            attempt_store = self._open()
            beating = asyncio.ensure_future(self._beat(attempt_store))
            await self._attempts(attempt_store)
        except _NodeLeavesError:
            pass
        except _RunEndedError as over:
            await self._farewell(over)
        except OSError as error:
            path = self._settings.output_dir
            await self._farewell(_RunEndedError(Exit.CHECKPOINT, f"{path}: cannot be written: {error}"))
        finally:
            self._closing.set()  # a heartbeat that is under way at the release would write the lock again
            if beating is not None:
                await asyncio.wait({beating}, timeout=_CLOSE_WITHIN_S)
            await self.close()

    async def close(self) -> None:
        """Leave the port and the output folder to whoever comes next."""
        await self._peers.close()
        self._close_store()
        attempt_store, self._attempt_store = self._attempt_store, None
        if attempt_store is not None:
            attempt_store.close()

    async def _listen(self) -> None:
        said_s = 0.0
        while True:
            try:
                return await self._peers.listen()
            except OSError as error:  # an earlier life of this node may still be on its way out
                if time.monotonic() - said_s >= self._settings.intervals.say_s:
                    said_s = time.monotonic()
                    self._console.say(f"port {self._settings.coordinator.port}: {error.strerror or error}")
                await asyncio.sleep(self._settings.intervals.retry_s)

    def _open(self) -> AttemptStore:
        settings = self._settings
        try:
            self._attempt_store = AttemptStore.open(
                output_dir=settings.output_dir, job=settings.job, clock=self._clock
            )
        except (OutputTakenError, WriterLockedError) as error:
            raise _RunEndedError(Exit.CONFIG, str(error)) from error
        except FormatError as error:
            raise _RunEndedError(Exit.CHECKPOINT, f"{settings.output_dir}: {error}") from error
        self._note_attempt(self._attempt_store.starts)
        return self._attempt_store

    async def _attempts(self, attempt_store: AttemptStore) -> None:
        decision = attempt_store.count_interrupted()
        pause_s = self._follow(INTERRUPTED, decision) if decision is not None else 0.0
        while True:
            await self._rest(pause_s)
            nodes, endpoints = await self._gather()
            store = await self._open_store(world_size=len(endpoints))
            number = attempt_store.begin(nodes)  # on disk before any rank runs
            self._note_attempt(number)
            self._say_begin(attempt_store, nodes, ranks=len(endpoints))
            attempt = Attempt(
                Start(attempt=number, nodes=nodes, endpoints=endpoints, master=store),
                settings=self._settings, peers=self._peers, console=self._console, leaving=self._leaving,
                deadline_left_s=lambda: attempt_store.deadline_left_s, on_progress=self._on_progress,
            )  # fmt: skip
            result = self._last = await attempt.run()
            self._close_store()
            match result.outcome:
                case AttemptOutcome.DONE:
                    raise _RunEndedError(Exit.DONE, result.reason, result=result)
                case AttemptOutcome.DEADLINE:
                    raise _RunEndedError(Exit.DEADLINE, self._deadline_sentence(), result=result)
                case AttemptOutcome.STOP_IF:
                    raise _RunEndedError(Exit.STOP_IF, result.reason, result=result)
                case AttemptOutcome.LOCK_LOST:
                    raise _RunEndedError(Exit.CHECKPOINT, str(result.lock_lost), result=result)
                case AttemptOutcome.STOPPED:
                    attempt_store.uncount()
                    pause_s = 0.0
                case AttemptOutcome.FAILED if self._goes_on_without(result):
                    attempt_store.uncount()
                    pause_s = 0.0
                case AttemptOutcome.FAILED:
                    assert result.failure is not None
                    pause_s = self._follow(result.failure, attempt_store.fail(result.failure))

    def _say_begin(self, attempt_store: AttemptStore, nodes: tuple[int, ...], *, ranks: int) -> None:
        job = self._settings.job
        size = f"{'1 rank' if ranks == 1 else f'{ranks} ranks'} on {say_size(len(nodes), job)}"
        without = set(range(job.nodes)) - set(nodes)
        left_out = f", without {say_nodes(without)}" if without else ""
        code = _other_code(attempt_store, job)
        self._console.say(f"attempt {self._console.attempt} begins: {size}{left_out}{code}")

    def _goes_on_without(self, result: Result) -> bool:
        """Say whether a lost node is nothing that counts: the job may be without it, and gained steps.

        What takes the same nodes down at the same step again and again has to come to an end.
        """
        failure, furthest = result.failure, result.furthest
        if not self._settings.job.is_elastic or failure is None or failure.kind is not Kind.NODE:
            return False
        gains = furthest is not None and furthest > self._gained
        self._gained = furthest if furthest is not None else self._gained
        if gains:
            self._console.say(f"{failure.reason}; the others go on, with it where it comes back in time")
        return gains

    def _follow(self, failure: Failure, decision: Retry | GiveUp) -> float:
        if isinstance(decision, GiveUp):
            result = Result(
                outcome=AttemptOutcome.FAILED, failure=failure, step=failure.step,
                checkpoint=failure.checkpoint or (self._last.checkpoint if self._last else None),
            )  # fmt: skip
            raise _RunEndedError(decision.exit, f"{failure.reason} ({decision.why})", result=result)
        who = f"rank {failure.rank}: " if failure.kind is Kind.RANK else ""
        self._console.say(
            f"the attempt failed: {who}{failure.reason}; the next begins in {decision.pause_s:g} s"
        )
        return decision.pause_s

    async def _open_store(self, *, world_size: int) -> str:
        """Serve the store of the next attempt and return its address; one rank has nobody to find there."""
        settings = self._settings
        if world_size == 1:
            return str(settings.master)
        # The address and not its name, which this machine may not be able to resolve yet.
        host = settings.bind_host or self._peers.own_host or "127.0.0.1"
        began_s, said_s = time.monotonic(), 0.0
        while True:
            try:
                self._store = Store(host=host, port=settings.master.port, world_size=world_size)
            except OSError as error:  # an earlier life of this node may still be on its way out
                reason = f"port {settings.master.port}: {error.strerror or error}"
            else:
                return self._store.address
            if time.monotonic() - began_s >= settings.job.rendezvous_timeout_s:
                raise _RunEndedError(Exit.RENDEZVOUS, reason)
            if time.monotonic() - said_s >= settings.intervals.say_s:
                said_s = time.monotonic()
                self._console.say(reason)
            await self._rest(settings.intervals.retry_s)

    def _close_store(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    async def _rest(self, pause_s: float) -> None:
        until_s = time.monotonic() + pause_s
        while (left_s := until_s - time.monotonic()) > 0:
            await self._idle(left_s)

    async def _gather(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Return the nodes that take part in the next attempt, and the endpoints of their ranks."""
        began_s = self._said_s = time.monotonic()
        job, say_s = self._settings.job, self._settings.intervals.say_s
        timeout_s = job.rendezvous_timeout_s
        while True:
            there, waited_s = self._peers.connected - self._leaving, time.monotonic() - began_s
            missing = set(range(job.nodes)) - there
            more_s = wait_for_more(there, job=job, waited_s=waited_s, away_s=self._peers.away_s)
            if more_s == 0.0:
                nodes = tuple(sorted(there))
                endpoints = await self._prepare(nodes)
                if endpoints is not None:
                    return nodes, endpoints
                continue  # a node went meanwhile, and is missing now, or one came
            names = ", ".join(str(node) for node in sorted(missing))
            if waited_s >= timeout_s:
                raise _RunEndedError(Exit.RENDEZVOUS, f"node {names} did not come within {timeout_s:.0f} s")
            if time.monotonic() - self._said_s >= say_s:
                self._said_s = time.monotonic()
                within = f"{waited_s:.0f} s of {timeout_s:.0f} s"
                if more_s is not None:
                    within = f"{say_size(len(there), job)} are there, which begin in {more_s:.0f} s"
                self._console.say(f"waiting for node {names} ({within})")
            left_s = timeout_s - waited_s if more_s is None else more_s
            await self._idle(min(left_s, say_s))

    async def _prepare(self, nodes: tuple[int, ...]) -> tuple[str, ...] | None:
        # Numbered, because the answer to an earlier question may come late, with ports that are taken by now.
        self._prepared += 1
        for node in nodes:
            self._peers.send(node, Prepare(number=self._prepared))
        ready: dict[int, Ready] = {}
        until_s = time.monotonic() + _PREPARE_WITHIN_S
        while (left_s := until_s - time.monotonic()) > 0:
            event = await self._idle(left_s)
            if self._leaving & set(nodes):
                return None
            match event:
                case Lost():
                    return None
                case Joined(node=node) if node not in nodes:  # there are more by now
                    return None
                case Got(node=node, message=Ready(number=self._prepared) as answer):
                    ready[node] = answer
            if len(ready) == len(nodes):
                return tuple(endpoint for node in nodes for endpoint in self._endpoints(node, ready[node]))
        return None

    def _endpoints(self, node: int, ready: Ready) -> list[str]:
        # Node 0's agent talks over loopback, which is no address for the other nodes.
        host = (self._peers.own_host or ready.host) if node == 0 else ready.host
        return [f"{host}:{port}" for port in ready.ports]

    async def _idle(self, timeout_s: float) -> Event | None:
        """Wait for one event between attempts and do what any of them asks."""
        self._release()
        left_s = self._attempt_store.deadline_left_s if self._attempt_store else None
        if left_s is not None and left_s <= 0:
            raise _RunEndedError(Exit.DEADLINE, self._deadline_sentence())
        event = await self._peers.events.get(timeout_s if left_s is None else min(timeout_s, left_s))
        match event:
            case Got(node=node, message=Leaving()):
                self._leaving.add(node)
            case Quit():
                raise _NodeLeavesError
            case Lost(node=node) | Joined(node=node):
                self._leaving.discard(node)
                self._released.discard(node)
            case LockLost(reason=reason):
                raise _RunEndedError(Exit.CHECKPOINT, reason)
        self._release()
        return event

    def _release(self) -> None:
        last = self._last
        for node in self._leaving - self._released:
            saved = f"stopped after step {last.step}" if last and last.step is not None else "stopped"
            self._peers.send(
                node,
                Released(
                    attempt=self._peers.attempt, reason=saved, step=last.step if last else None,
                    checkpoint=last.checkpoint if last else None,
                ),
            )  # fmt: skip
            self._released.add(node)
        if 0 in self._leaving:
            raise _NodeLeavesError

    async def _farewell(self, over: _RunEndedError) -> None:
        failure = over.result.failure if over.result else None
        end = self._peers.ending = End(
            exit=int(over.exit_code), attempt=self._peers.attempt, reason=over.reason,
            rank=failure.rank if failure else None, rank_exit=failure.code if failure else None,
            step=over.result.step if over.result else None,
            checkpoint=over.result.checkpoint if over.result else None,
        )  # fmt: skip
        if self._attempt_store is not None:
            try:
                self._attempt_store.finish(over.exit_code)
            except OSError as error:
                self._console.say(f"{self._settings.output_dir}: {error}")
        # Nodes that are away for a moment come back to hear it; else they would wait for a whole rendezvous.
        untold = set(range(self._settings.job.nodes)) - self._peers.connected
        if self._settings.job.is_elastic and over.exit_code is Exit.DONE:  # they read it in run.json
            untold.clear()
        self._peers.send_all(end)
        if over.exit_code is Exit.RENDEZVOUS:  # who did not come in all that time gives up by itself
            untold.clear()
        until_s = time.monotonic() + self._settings.intervals.farewell_s
        while (untold or self._peers.connected) and (left_s := until_s - time.monotonic()) > 0:
            event = await self._peers.events.get(left_s)
            if isinstance(event, Joined):
                untold.discard(event.node)

    async def _beat(self, attempt_store: AttemptStore) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._settings.intervals.beat_s)
                return
            try:  # in a thread: a network volume that stalls must not silence this node
                await asyncio.to_thread(attempt_store.beat)
            except LockLostError as error:
                self._peers.events.put(LockLost(reason=str(error)))
                return
            except OSError as error:  # a network volume may stumble; training itself will tell if it is gone
                self._console.say(f"writer lock: {error}")

    def _note_attempt(self, number: int) -> None:
        self._console.attempt = self._peers.attempt = number

    def _deadline_sentence(self) -> str:
        return f"the deadline of {self._settings.job.deadline_s:g} s passed"


def _other_code(attempt_store: AttemptStore, job: NodeFile) -> str:
    """Say that a run goes on with other code of the user's than it had."""
    if attempt_store.code_before is None:
        return ""
    before, now = attempt_store.code_before[:12], (job.code_sha256 or "none")[:12]
    return f"; with other code than until now: SHA-256 {now}, was {before}"
