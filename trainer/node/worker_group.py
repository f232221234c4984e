"""The ranks of this node in one attempt: started, watched, killed, and read through their heartbeats.

Knows nothing of other nodes.

A rank is looked at by waitid(2) with WNOWAIT: a process that has ended stays unreaped, so that its id, and
that of its group, cannot be given to another one. Only then is its group killed, because data loaders
outlive their rank, and only then is it reaped. So nothing is ever signalled but a group whose leader is our
own child. `Popen.poll` would reap first, and with that give the id away.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.node.console import Console
from trainer.node.messages import Exited, RankState, Start
from trainer.node.pump import Pump
from trainer.node.settings import NodeSettings
from trainer.protocol import environment
from trainer.protocol.children import start_child
from trainer.protocol.codec import FormatError
from trainer.protocol.heartbeat import NO_STOP, Heartbeats, Phase, RankRecord
from trainer.protocol.nodefile import NodeFile
from trainer.protocol.outcome import Outcome, load_outcome


@dataclass(slots=True)
class _Worker:
    rank: int
    process: subprocess.Popen[bytes]
    pump: Pump
    outcome: Path
    killed: bool = False
    ended: bool = False


class WorkerGroup:
    """Local ranks from their start until none is left."""

    def __init__(self, start: Start, *, settings: NodeSettings, console: Console) -> None:
        """Make the file of heartbeats; no rank runs yet.

        Raises:
            OSError: The temporary folder cannot be written.
        """
        self.attempt = start.attempt
        self._start = start
        self._settings = settings
        self._console = console
        self._folder = Path(tempfile.mkdtemp(prefix="ftl-"))
        self._heartbeats = Heartbeats.create(self._folder / "heartbeats", ranks=len(settings.local_ranks))
        self._workers: list[_Worker] = []
        self._spawned_s = time.monotonic()

    def spawn(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start all local ranks.

        Raises:
            OSError: A process could not be made; those made before it are to be killed.
        """
        # All ranks of a node have the same host in their endpoints, so the first one's will do.
        procs = self._settings.job.procs_per_node
        offset = self._start.nodes.index(self._settings.node) * procs
        interface = find_interface(self._start.endpoints[offset].rpartition(":")[0])
        for rank in self._settings.local_ranks:
            spec = LaunchSpec(
                rank=offset + rank % procs, attempt=self.attempt, endpoints=self._start.endpoints,
                master=self._start.master, heartbeats=self._folder / "heartbeats",
                outcome=self._folder / f"rank{rank}.json", interface=interface,
            )  # fmt: skip
            env = rank_environment(spec, job=self._settings.job, base=environ)
            process, pipe = start_child(command, env=env)
            pump = Pump(pipe, self._line_writer(rank))
            self._workers.append(_Worker(rank=rank, process=process, pump=pump, outcome=spec.outcome))

    @property
    def cleared(self) -> bool:
        """Whether no rank runs any more."""
        return all(worker.ended for worker in self._workers)

    @property
    def pids(self) -> frozenset[int]:
        """Process ids of ranks that still run."""
        return frozenset(worker.process.pid for worker in self._workers if not worker.ended)

    def poll(self) -> list[Exited]:
        """Reap ranks that ended since the last call and return what they left, after their last lines."""
        return [
            self._reap(worker)
            for worker in self._workers
            if not worker.ended and _is_dead(worker.process.pid)
        ]

    def records(self) -> tuple[RankState, ...]:
        """Return the state of every rank, as it was left where one has ended."""
        now_s = time.monotonic()
        return tuple(
            _state(worker.rank, self._read(worker), now_s=now_s, spawned_s=self._spawned_s)
            for worker in self._workers
        )

    def request_stop(self, step: int) -> None:
        """Have the ranks save and stop after `step`; a request that stands already stays."""
        # Ranks may have stopped after the first step already; who sees a second one would wait for them.
        if self._heartbeats.stop_step == NO_STOP:
            self._heartbeats.request_stop(step)

    def kill(self) -> None:
        """Kill all ranks and what they started; `poll` reports them when they are gone."""
        for worker in self._workers:
            if not worker.ended:
                # One that had ended by itself keeps its own code.
                worker.killed = worker.killed or not _is_dead(worker.process.pid)
                _kill_group(worker.process.pid)

    def close(self) -> None:
        """Free the heartbeats and the temporary folder; ranks that cannot be killed are left behind."""
        for worker in self._workers:
            worker.pump.close()
        self._heartbeats.close()
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                path.unlink()
            self._folder.rmdir()

    def _reap(self, worker: _Worker) -> Exited:
        last = self._read(worker)
        _kill_group(worker.process.pid)  # before it is reaped: data loaders that outlive their rank
        code = worker.process.wait()
        worker.pump.close()
        worker.ended = True
        outcome = _outcome(worker.outcome)  # written just before it exited, so that it is whole or not there
        return Exited(
            attempt=self.attempt,
            rank=worker.rank,
            code=code,
            killed=worker.killed,
            reason=outcome.reason if outcome else None,
            step=outcome.step if outcome and outcome.step is not None else (last.step if last else None),
            checkpoint=outcome.checkpoint if outcome else None,
        )

    def _read(self, worker: _Worker) -> RankRecord | None:
        return self._heartbeats.read(worker.rank - self._settings.local_ranks.start)

    def _line_writer(self, rank: int) -> _LineWriter:
        return _LineWriter(self._console, attempt=self.attempt, rank=rank)


class _LineWriter:
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
        evaluated=record.evaluated, epoch_end=record.epoch_end, epoch_steps=record.epoch_steps,
        times=record.times,
    )  # fmt: skip


# They would send Paddle's own HTTP through a proxy; its launcher removes them too (launch/context).
_REMOVED = ("http_proxy", "https_proxy")


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchSpec:
    """All that one rank is started with.

    Attributes:
        rank: Among the ranks that take part. Everywhere else in this package a rank's number is that of the
            job with all its nodes, so that it stays the same whoever is there.
        attempt: From 1.
        endpoints: Of all ranks that take part, by rank.
        master: `host:port` of Paddle's store.
        heartbeats: File of the heartbeats of this node.
        outcome: Where the rank leaves its outcome.
        interface: Network interface by which the other nodes know this one; None where it has no name.
    """

    rank: int
    attempt: int
    endpoints: Sequence[str]
    master: str
    heartbeats: Path
    outcome: Path
    interface: str | None = None


def rank_environment(spec: LaunchSpec, *, job: NodeFile, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a rank: `base` with what Paddle and `trainer.ranks` read.

    Names are those of paddle/distributed/launch/controllers/collective.py (Paddle 3.3.1).
    """
    local = spec.rank % job.procs_per_node
    env = {name: value for name, value in base.items() if name not in _REMOVED}
    env.setdefault("PYTHONUNBUFFERED", "1")  # as the training operator: the last words of a killed rank
    env.update(
        {
            "PADDLE_TRAINER_ID": str(spec.rank),
            "PADDLE_TRAINERS_NUM": str(len(spec.endpoints)),
            "PADDLE_TRAINER_ENDPOINTS": ",".join(spec.endpoints),
            "PADDLE_CURRENT_ENDPOINT": spec.endpoints[spec.rank],
            "PADDLE_MASTER": spec.master,
            "PADDLE_RANK_IN_NODE": str(local),
            "PADDLE_DISTRI_BACKEND": job.backend,
            environment.RUN_ID: job.run_id,
            environment.ATTEMPT: str(spec.attempt),
            environment.HEARTBEATS: str(spec.heartbeats),
            environment.OUTCOME: str(spec.outcome),
            environment.STORE: "1",
        }
    )
    if job.is_elastic:
        env[environment.SHARDS] = str(job.world_size)
    if job.backend == "nccl":
        env["FLAGS_selected_gpus"] = str(local)  # counts within CUDA_VISIBLE_DEVICES
    else:
        env.pop("FLAGS_selected_gpus", None)
        if spec.interface is not None:
            # Else gloo listens where the host's name leads, which may be nowhere, or 127.0.1.1
            # (createDefaultDevice in paddle/fluid/distributed/collective/process_group_gloo.cc).
            env.setdefault("GLOO_SOCKET_IFNAME", spec.interface)
    return env


_SIOCGIFADDR = 0x8915  # netdevice(7)
_NAME_BYTES, _REQUEST_BYTES = 15, 40
_ADDRESS = slice(20, 24)  # of an ifreq that holds a sockaddr_in


def find_interface(address: str) -> str | None:
    """Return the interface that has an IPv4 address as its first, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack(f"{_REQUEST_BYTES}s", name.encode()[:_NAME_BYTES])
            try:
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, request)
            except OSError:  # it has no IPv4 address
                continue
            if socket.inet_ntoa(answer[_ADDRESS]) == address:
                return name
    return None
