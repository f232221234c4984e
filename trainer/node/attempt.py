"""One attempt over all nodes: from the start of the ranks until none is left, and how it went.

Decides when ranks are stopped and killed; what follows is the coordinator's to decide.

A state machine that is read off four deadlines, each of which is None until its state begins:

    running ──told to stop, or out of time──▶ polling ──all answered, or 1 s──▶ stopping
       │          (fresh records, by which the step is chosen)                      │
       ├──────────────────────────── a rank failed ─────────────────────────────────┤
       │                                                                            ▼
       │                              settling (its peers fail too: who was first?) ─┬─▶ killing
       └──── a node lost, a rank hangs, the lock lost; the time to save is over ─────┘      │
                                                       all nodes `Cleared`, or 2 × kill_s ──▶ the end

Killing wins over settling, and settling over stopping; nothing goes back. Not a class a state: what happens
is nearly the same in all of them, and what is due is one look at the deadlines at each event and each
`watch_s`, so that there are no timers to cancel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from trainer.node.console import Console
from trainer.node.decisions import (
    Failure,
    Kind,
    Speedometer,
    blame_node,
    choose_stop_step,
    describe_exited,
    find_hang,
    find_root_cause,
    is_computing,
)
from trainer.node.membership import choose_epoch_end, say_nodes
from trainer.node.messages import (
    Cleared,
    Exited,
    Kill,
    Leaving,
    Poll,
    RankState,
    Records,
    Released,
    Start,
    Stop,
    Waiting,
)
from trainer.node.peers import Event, Got, Joined, LockLost, Lost, Peers, Quit
from trainer.node.settings import NodeSettings
from trainer.node.stop_if import StopCondition
from trainer.protocol.exits import Exit
from trainer.protocol.progress import Progress, RankProgress, format_progress
from trainer.protocol.step_times import StepTimes

_ASK_WITHIN_S = 1.0
_TIMED = 32
"""Ranks whose times stand in a progress line; each takes about 200 bytes of the 64 KiB."""


class AttemptOutcome(Enum):
    """How an attempt went."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    DEADLINE = "deadline"
    STOP_IF = "stop_if"
    LOCK_LOST = "lock_lost"


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The end of an attempt.

    Attributes:
        failure: What failed; None unless `outcome` is FAILED.
        step: Steps completed, or None where unknown.
        furthest: Steps that any rank was seen to have completed, or None.
        checkpoint: Last whole checkpoint, or None where unknown.
        lock_lost: What broke; None unless `outcome` is LOCK_LOST.
        reason: Rank 0's own words for a good end; what came true of `STOP_IF`.
    """

    outcome: AttemptOutcome
    failure: Failure | None = None
    step: int | None = None
    furthest: int | None = None
    checkpoint: str | None = None
    lock_lost: str | None = None
    reason: str = "done"


class Attempt:
    """One attempt."""

    def __init__(
        self, start: Start, *, settings: NodeSettings, peers: Peers, console: Console, leaving: set[int],
        deadline_left_s: Callable[[], float | None], on_progress: Callable[[Progress], None],
    ) -> None:  # fmt: skip
        """`leaving` is the coordinator's own set of nodes that were told to stop; it is added to here."""
        self._start = start
        self._settings = settings
        self._peers = peers
        self._console = console
        self._leaving = leaving
        self._deadline_left_s = deadline_left_s
        self._world_size = len(start.endpoints)
        self._uncleared = set(start.nodes)
        self._lost: dict[int, str] = {}
        self._told_to_wait: set[int] = set()
        self._exits: dict[int, Exited] = {}
        self._states: dict[int, tuple[RankState, float]] = {}
        self._failure: Failure | None = None  # of a node or a hang; ranks' own are in _exits
        self._lock_lost: str | None = None
        self._stopping: AttemptOutcome | None = None
        self._asked: set[int] = set()
        self._settle_until_s: float | None = None
        self._ask_until_s: float | None = None
        self._stop_until_s: float | None = None
        self._kill_until_s: float | None = None
        self._speed = Speedometer()
        self._stop_reason = ""
        self._stop_if = (
            StopCondition(settings.job.stop_if, world_size=self._world_size, nodes=start.nodes)
            if settings.job.stop_if is not None else None
        )  # fmt: skip
        self._next_look_s = 0.0
        self._reporter = Reporter(
            attempt=start.attempt, world_size=self._world_size,
            absent=tuple(sorted(set(range(settings.job.nodes)) - set(start.nodes))) or None,
            procs_per_node=settings.job.procs_per_node, every_s=settings.intervals.report_s, console=console,
            clock=time.time, on_progress=on_progress,
        )  # fmt: skip

    async def run(self) -> Result:
        """Start all ranks and return when none is left."""
        for node in self._start.nodes:
            self._peers.send(node, self._start)
        # Who went between the gathering and the start will never answer, and its `Lost` was taken already.
        for node in self._uncleared - self._peers.connected:
            self._on_lost(node, "it left before the start")
        while self._uncleared:
            event = await self._peers.events.get(self._settings.intervals.watch_s)
            if event is not None:
                self._handle(event)
            self._tick(time.monotonic())
        self._reporter.print()
        return self._result()

    def _handle(self, event: Event) -> None:
        match event:
            case Got(node=node, message=Records() as records) if records.attempt == self._start.attempt:
                self._on_records(node, records)
            case Got(message=Exited() as exited) if exited.attempt == self._start.attempt:
                self._on_exited(exited)
            case Got(node=node, message=Cleared(attempt=attempt)) if attempt == self._start.attempt:
                self._uncleared.discard(node)
            case Got(node=node, message=Leaving()) if node not in self._start.nodes:
                self._leaving.add(node)  # nobody waits for it
                released = Released(attempt=self._start.attempt, reason="stopped", step=None, checkpoint=None)
                self._peers.send(node, released)
            case Got(node=node, message=Leaving()):
                self._leaving.add(node)
                self._begin_stop(AttemptOutcome.STOPPED, f"node {node} was told to stop")
            case Lost(node=node, reason=reason):
                self._on_lost(node, reason)
            case Joined(node=node):  # back already; it waits for the next attempt
                self._leaving.discard(node)
                self._told_to_wait.discard(node)
            case Quit():
                self._leaving.add(0)
                self._uncleared.discard(0)
                self._stopping = self._stopping or AttemptOutcome.STOPPED
                self._kill("node 0 leaves at once")
            case LockLost(reason=reason):
                self._lock_lost = reason
                self._kill(reason)
            case _:  # late news of an earlier attempt
                pass

    def _tick(self, now_s: float) -> None:
        self._reporter.tick()
        # In the order in which one wins over the other; see above.
        if self._kill_until_s is not None:
            if now_s >= self._kill_until_s:
                self._console.say(f"nodes {_names(self._uncleared)} did not get rid of their ranks; going on")
                self._uncleared.clear()
            return
        if self._settle_until_s is not None:
            if now_s >= self._settle_until_s:
                self._kill("a rank failed")
            return
        if self._stopping is None:
            left_s = self._deadline_left_s()
            if left_s is not None and left_s <= 0:
                self._begin_stop(AttemptOutcome.DEADLINE, "the deadline passed")
            elif self._stop_if is not None and now_s >= self._next_look_s:
                self._next_look_s = now_s + self._settings.intervals.poll_s
                self._ask_stop_if(self._stop_if, now_s)
        # Who does not answer in time is behind, or hangs: the step is chosen without it.
        if self._ask_until_s is not None and (not self._asked or now_s >= self._ask_until_s):
            self._ask_until_s = None
            self._send_stop()
        if self._stop_until_s is None:
            self._look_for_hang(now_s)
        elif now_s >= self._stop_until_s:
            self._kill("the time to save is over")
        if self._settings.job.is_elastic and self._stopping is None and self._kill_until_s is None:
            self._let_in()

    def _ask_stop_if(self, stop_if: StopCondition, now_s: float) -> None:
        states = {
            rank: replace(state, silent_s=state.silent_s + now_s - heard_s)
            for rank, (state, heard_s) in self._states.items()
        }
        reason = stop_if.look(states, now_s=now_s)
        if reason is not None:
            self._stop_reason = reason
            self._begin_stop(AttemptOutcome.STOP_IF, reason)

    def _on_records(self, node: int, records: Records) -> None:
        now_s = time.monotonic()
        if self._stop_if is not None:
            self._stop_if.take_use(node, records.gpu_use)
        # A report may overtake the news of a rank's end: what ended has no state any more that could hang.
        self._states.update(
            (state.rank, (state, now_s)) for state in records.ranks if state.rank not in self._exits
        )
        self._speed.take(records.ranks, now_s=now_s)
        self._reporter.take(records.ranks)
        if records.asked:
            self._asked.discard(node)

    def _on_exited(self, exited: Exited) -> None:
        self._exits[exited.rank] = exited
        self._states.pop(exited.rank, None)
        stopped = self._stopping is not None and exited.code == Exit.STOPPED
        if exited.killed or exited.code == 0 or stopped:
            return
        self._console.say(describe_exited(exited))
        if self._settle_until_s is None:
            self._settle_until_s = time.monotonic() + self._settings.intervals.settle_s

    def _on_lost(self, node: int, reason: str) -> None:
        left = node in self._leaving and self._stopping is not None
        self._leaving.discard(node)
        self._told_to_wait.discard(node)
        if node not in self._uncleared:
            return
        self._uncleared.discard(node)
        first = node * self._settings.job.procs_per_node
        ranks = range(first, first + self._settings.job.procs_per_node)
        if all(rank in self._exits and self._exits[rank].code == 0 for rank in ranks):
            return  # it was done
        if left:
            self._kill(f"node {node} left")
            return
        self._lost[node] = reason
        self._console.say(f"node {node} disappeared: {reason}")
        if self._settle_until_s is None and self._kill_until_s is None:
            self._failure = Failure(
                kind=Kind.NODE, rank=None, code=None, reason=f"node {node} disappeared: {reason}", step=None
            )
        self._kill(f"node {node} disappeared")

    def _look_for_hang(self, now_s: float) -> None:
        timeout_s = self._settings.job.hang_timeout_s
        if timeout_s is None:
            return
        # What was silent when it was reported is so still: until the next report its silence goes on.
        aged = (
            replace(state, silent_s=state.silent_s + now_s - heard_s)
            for state, heard_s in self._states.values()
        )
        hang = find_hang(aged, timeout_s=timeout_s)
        if hang is not None:
            reason = hang.describe()
            self._console.say(reason)
            self._failure = Failure(kind=Kind.HANG, rank=hang.rank, code=None, reason=reason, step=hang.step)
            self._kill(reason)

    def _let_in(self) -> None:
        """Have all ranks stop at the end of an epoch where a node waits for the next attempt."""
        waiting = self._peers.connected - set(self._start.nodes) - self._leaving
        if not waiting:
            return
        if new := waiting - self._told_to_wait:
            self._told_to_wait |= new
            then = "the others train without it for now; it is let in at the end of an epoch"
            for node in new:
                self._console.say(f"node {node} is here: {then}")
                self._peers.send(node, Waiting(reason=f"waiting: {then}"))
        intervals = self._settings.intervals
        step = choose_epoch_end(
            (state for state, _ in self._states.values()), steps_per_s=self._speed.steps_per_s,
            lead_s=intervals.stop_lead_s + 2 * intervals.poll_s, window_s=3 * intervals.poll_s,
        )  # fmt: skip
        if step is None:
            return
        # No limit of time: nobody is about to be killed, and a rank that hangs is found as ever.
        self._stopping = AttemptOutcome.STOPPED
        where = f"step {step}, where an epoch ends"
        self._console.say(f"to let {say_nodes(waiting)} in, all ranks save and stop after {where}")
        self._peers.send_all(Stop(attempt=self._start.attempt, step=step))

    def _begin_stop(self, outcome: AttemptOutcome, reason: str) -> None:
        if self._kill_until_s is not None or self._settle_until_s is not None:
            return
        now_s = time.monotonic()
        if self._stopping is not None:
            # A stop at the end of an epoch is under way, and as good; now somebody has to be gone in time.
            self._stop_until_s = self._stop_until_s or now_s + self._settings.stop_within_s
            return
        self._stopping = outcome
        self._stop_until_s = now_s + self._settings.stop_within_s
        self._console.say(reason)
        self._asked = set(self._uncleared)
        self._ask_until_s = now_s + _ASK_WITHIN_S
        self._peers.send_all(Poll())

    def _send_stop(self) -> None:
        if not is_computing(state for state, _ in self._states.values()):
            self._console.say("no rank computes yet, so there is nothing to save")
            self._kill("there is nothing to save")
            return
        step = choose_stop_step(
            (state for state, _ in self._states.values()),
            steps_per_s=self._speed.steps_per_s,
            lead_s=self._settings.intervals.stop_lead_s,
        )
        self._console.say(f"all ranks save and stop after step {step}")
        self._peers.send_all(Stop(attempt=self._start.attempt, step=step))

    def _kill(self, reason: str) -> None:
        if self._kill_until_s is None:
            self._kill_until_s = time.monotonic() + 2 * self._settings.intervals.kill_s
            self._peers.send_all(Kill(attempt=self._start.attempt, reason=reason))

    def _result(self) -> Result:
        exits = self._exits.values()
        saved = self._exits.get(0)  # rank 0 saves, so that its step is the checkpoint's
        step = saved.step if saved else None
        checkpoint = next((exited.checkpoint for exited in exits if exited.checkpoint), None)
        failure = self._failure or find_root_cause(exits, stopping=self._stopping is not None)
        if self._lost and self._settings.job.is_elastic and failure is not None:
            failure = blame_node(failure, self._lost)
        furthest = max(
            [
                *(state.step for state, _ in self._states.values() if state.recorded),
                *(exited.step for exited in exits if exited.step is not None),
            ],
            default=None,
        )
        if self._lock_lost is not None:
            return Result(
                outcome=AttemptOutcome.LOCK_LOST, lock_lost=self._lock_lost, step=step, checkpoint=checkpoint
            )
        if len(exits) == self._world_size and all(exited.code == 0 for exited in exits):
            said = saved.reason if saved is not None and saved.reason else "done"
            return Result(outcome=AttemptOutcome.DONE, step=step, checkpoint=checkpoint, reason=said)
        if self._stopping is not None:
            return Result(
                outcome=self._stopping, failure=failure, step=step, checkpoint=checkpoint,
                reason=self._stop_reason or "stopped",
            )  # fmt: skip
        if failure is None:
            failure = Failure(kind=Kind.NODE, rank=None, code=None, reason="ranks vanished", step=None)
        return Result(
            outcome=AttemptOutcome.FAILED, failure=failure, step=failure.step, checkpoint=checkpoint,
            furthest=furthest,
        )  # fmt: skip


def _names(nodes: set[int]) -> str:
    return ", ".join(str(node) for node in sorted(nodes))


def choose_timed(times: Mapping[int, StepTimes | None]) -> set[int]:
    """Return the ranks whose times go into a line, which a line of a log has room for.

    Of many ranks those that take longest by themselves, and some of the others to compare them with.
    """
    known = sorted((found.own_s, rank) for rank, found in times.items() if found is not None)
    if len(known) <= _TIMED:
        return {rank for _, rank in known}
    middle = len(known) // 2
    shown = [*known[-_TIMED // 2 :], *known[middle - _TIMED // 2 : middle]]
    return {rank for _, rank in shown}


class Reporter:
    """Keeps the last state of every rank of one attempt and prints them all when it is time."""

    def __init__(
        self, *, attempt: int, world_size: int, procs_per_node: int, every_s: float, console: Console,
        clock: Callable[[], float], absent: tuple[int, ...] | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """`clock` gives Unix time; the interval is measured with it too, which costs at most a line.

        `on_progress` is told what is printed, and must not wait.
        """
        self._absent = absent
        self._on_progress = on_progress
        self._attempt = attempt
        self._world_size = world_size
        self._procs_per_node = procs_per_node
        self._every_s = every_s
        self._console = console
        self._clock = clock
        self._states: dict[int, tuple[RankState, float]] = {}
        self._epoch = 0
        self._next_s = clock() + every_s

    def take(self, states: Iterable[RankState]) -> None:
        """Take new states; where they complete an epoch, print."""
        now_s = self._clock()
        for state in states:
            if state.recorded:
                self._states[state.rank] = (state, now_s)
        epoch = min((state.epoch for state, _ in self._states.values()), default=0)
        if epoch > self._epoch and len(self._states) == self._world_size:
            self._epoch = epoch
            self.print()

    def tick(self) -> None:
        """Print if it is time."""
        if self._clock() >= self._next_s:
            self.print()

    def print(self) -> None:
        """Print now, if any rank has reported yet."""
        now_s = self._clock()
        self._next_s = now_s + self._every_s
        if self._states:
            progress = self._progress(now_s)
            self._console.say_bytes(format_progress(progress))
            self._on_progress(progress)

    def _progress(self, now_s: float) -> Progress:
        rows = [self._states[rank] for rank in sorted(self._states)]
        timed = choose_timed({state.rank: state.times for state, _ in rows})
        return Progress(
            time_s=now_s,
            attempt=self._attempt,
            world_size=self._world_size,
            total_steps=max(state.total_steps for state, _ in rows),
            evaluated=next((state.evaluated for state, _ in rows if state.evaluated is not None), None),
            absent=self._absent,
            ranks=tuple(
                RankProgress(
                    rank=state.rank,
                    node=state.rank // self._procs_per_node,
                    step=state.step,
                    epoch=state.epoch,
                    phase=state.phase,
                    loss=state.loss,
                    images_per_s=state.images_per_s,
                    silent_s=state.silent_s + max(0.0, now_s - heard_s),
                    times=state.times if state.rank in timed else None,
                )
                for state, heard_s in rows
            ),
        )
