"""The ranks of this node in one attempt: started, watched, killed, and read through their board.

Knows nothing of other nodes. Nothing is signalled but process groups whose leader is our own child that has
not been reaped, so no reused process id can be hit.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.node.console import Console
from trainer.node.interfaces import find_interface
from trainer.node.messages import Exited, RankState, Start
from trainer.node.pump import Pump
from trainer.node.settings import Settings
from trainer.node.spawn import Birth, rank_environment
from trainer.protocol.children import start_child
from trainer.protocol.codec import FormatError
from trainer.protocol.heartbeat import NO_STOP, Board, Phase, RankRecord
from trainer.protocol.outcome import Outcome, load_outcome


@dataclass(slots=True)
class _Hand:
    rank: int
    process: subprocess.Popen[bytes]
    pump: Pump
    outcome: Path
    killed: bool = False
    ended: bool = False


class Crew:
    """Local ranks from their start until none is left."""

    def __init__(self, start: Start, *, settings: Settings, console: Console) -> None:
        """Make the board; no rank runs yet.

        Raises:
            OSError: The temporary folder cannot be written.
        """
        self.attempt = start.attempt
        self._start = start
        self._settings = settings
        self._console = console
        self._folder = Path(tempfile.mkdtemp(prefix="ftl-"))
        self._board = Board.create(self._folder / "board", ranks=len(settings.local_ranks))
        self._hands: list[_Hand] = []
        self._spawned_s = time.monotonic()

    def spawn(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start all local ranks.

        Raises:
            OSError: A process could not be made; those made before it are to be killed.
        """
        first = self._start.endpoints[self._settings.local_ranks.start]
        interface = find_interface(first.rpartition(":")[0])
        for rank in self._settings.local_ranks:
            birth = Birth(
                rank=rank, attempt=self.attempt, endpoints=self._start.endpoints, master=self._start.master,
                board=self._folder / "board", outcome=self._folder / f"rank{rank}.json", interface=interface,
            )  # fmt: skip
            env = rank_environment(birth, job=self._settings.job, base=environ)
            process, pipe = start_child(command, env=env)
            pump = Pump(pipe, self._line_taker(rank))
            self._hands.append(_Hand(rank=rank, process=process, pump=pump, outcome=birth.outcome))

    @property
    def cleared(self) -> bool:
        """Whether no rank runs any more."""
        return all(hand.ended for hand in self._hands)

    @property
    def pids(self) -> frozenset[int]:
        """Process ids of ranks that still run."""
        return frozenset(hand.process.pid for hand in self._hands if not hand.ended)

    def poll(self) -> list[Exited]:
        """Reap ranks that ended since the last call and return what they left, after their last lines."""
        return [self._bury(hand) for hand in self._hands if not hand.ended and _is_dead(hand.process.pid)]

    def records(self) -> tuple[RankState, ...]:
        """Return the state of every rank, as it was left where one has ended."""
        now_s = time.monotonic()
        return tuple(
            _state(hand.rank, self._read(hand), now_s=now_s, spawned_s=self._spawned_s)
            for hand in self._hands
        )

    def request_stop(self, step: int) -> None:
        """Have the ranks save and stop after `step`; a request that stands already stays."""
        if self._board.stop_step == NO_STOP:
            self._board.request_stop(step)

    def kill(self) -> None:
        """Kill all ranks and what they started; `poll` reports them when they are gone."""
        for hand in self._hands:
            if not hand.ended:
                hand.killed = hand.killed or not _is_dead(hand.process.pid)
                _kill_group(hand.process.pid)

    def close(self) -> None:
        """Free the board and the temporary folder; ranks that cannot be killed are left behind."""
        for hand in self._hands:
            hand.pump.close()
        self._board.close()
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                path.unlink()
            self._folder.rmdir()

    def _bury(self, hand: _Hand) -> Exited:
        last = self._read(hand)
        _kill_group(hand.process.pid)  # before it is reaped: data loaders that outlive their rank
        code = hand.process.wait()
        hand.pump.close()
        hand.ended = True
        outcome = _outcome(hand.outcome)
        return Exited(
            attempt=self.attempt,
            rank=hand.rank,
            code=code,
            killed=hand.killed,
            reason=outcome.reason if outcome else None,
            step=outcome.step if outcome and outcome.step is not None else (last.step if last else None),
            checkpoint=outcome.checkpoint if outcome else None,
        )

    def _read(self, hand: _Hand) -> RankRecord | None:
        return self._board.read(hand.rank - self._settings.local_ranks.start)

    def _line_taker(self, rank: int) -> _TakeLine:
        return _TakeLine(self._console, attempt=self.attempt, rank=rank)


class _TakeLine:
    def __init__(self, console: Console, *, attempt: int, rank: int) -> None:
        self._console = console
        self._attempt = attempt
        self._rank = rank

    def __call__(self, text: bytes, dropped: int) -> None:
        self._console.pass_on(attempt=self._attempt, rank=self._rank, text=text, dropped=dropped)


def reap_orphans(ours: frozenset[int]) -> None:
    """Reap children that are not in `ours`: as process 1 we inherit what a dead rank leaves behind."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in ours:
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(found.si_pid, os.WNOHANG)


def _is_dead(pid: int) -> bool:
    # WNOWAIT leaves it unreaped, so that its id stays ours until its group is killed.
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _outcome(path: Path) -> Outcome | None:
    try:
        return load_outcome(path)
    except (FormatError, OSError):
        return None


def _state(rank: int, record: RankRecord | None, *, now_s: float, spawned_s: float) -> RankState:
    if record is None:
        return RankState(
            rank=rank, recorded=False, step=0, epoch=0, total_steps=0, phase=Phase.START.name.lower(),
            silent_s=now_s - spawned_s, loss=None, images_per_s=None,
        )  # fmt: skip
    return RankState(
        rank=rank, recorded=True, step=record.step, epoch=record.epoch, total_steps=record.total_steps,
        phase=record.phase.name.lower(), silent_s=max(0.0, now_s - record.t_mono_s),
        loss=record.loss if math.isfinite(record.loss) else None,
        images_per_s=record.images_per_s if 0 < record.images_per_s < math.inf else None,
        evaluated=record.evaluated,
    )  # fmt: skip
