"""Attempts as they are kept: run.json and the writer lock of the output folder.

Each change is on disk before anybody acts upon it. An attempt counts from its beginning, and is taken back
where it was stopped from outside: a node 0 that is killed can no longer count. So a file with one start
more than it has failures and stops says that node 0 was killed in the middle, and the next node 0 counts
that as a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from trainer.node.decisions import Failure, GiveUp, Kind, Retry, decide
from trainer.protocol.exits import Exit
from trainer.protocol.layout import OutputLayout
from trainer.protocol.nodefile import NodeFile
from trainer.protocol.runfile import AttemptNodes, RunFile, claim_output, format_nodes, save_run_file
from trainer.protocol.writerlock import WriterLock, describe_self, refuse_other_writer

_ATTEMPTS_TOLD = 500  # a thousand nodes of which each second one is there take some 3 KB an attempt
Clock = Callable[[], float]
"""Unix time in seconds."""

INTERRUPTED = Failure(
    kind=Kind.NODE, rank=None, code=None, step=None,
    reason="node 0 disappeared in the middle of an attempt",
)  # fmt: skip


class AttemptStore:
    """Counts starts and failures of the run, durably.

    Attributes:
        code_before: SHA-256 of the user's code that the run has trained with until now, where this job has
            other code, or none; else None.
    """

    def __init__(
        self, *, output_dir: Path, job: NodeFile, run: RunFile, lock: WriterLock, clock: Clock
    ) -> None:
        self._output_dir = output_dir
        self._job = job
        self._run = run
        self._lock = lock
        self._clock = clock
        self.code_before: str | None = None

    @classmethod
    def open(cls, *, output_dir: Path, job: NodeFile, clock: Clock) -> AttemptStore:
        """Claim the output folder and take its lock.

        Raises:
            OutputTakenError: It holds another run.
            WriterLockedError: Another run writes to it now.
            FormatError: Its run.json is broken.
            OSError: It cannot be read or written.
        """
        # Asked before the folder is claimed: claiming may move another run's files aside.
        path = OutputLayout(output_dir).writer_lock
        refuse_other_writer(path, run_id=job.run_id, now_s=clock())
        run = claim_output(
            output_dir, run_id=job.run_id, now_s=clock(), overwrite=job.overwrite, continues=job.continues
        )
        lock = WriterLock.acquire(path, describe_self(run_id=job.run_id, now_s=clock()))
        attempt_store = cls(output_dir=output_dir, job=job, run=run, lock=lock, clock=clock)
        # Who starts a run that is over goes on with it on purpose: counts and deadline begin anew.
        if run.ended is not None:
            attempt_store._save(replace(run, attempts=0, fingerprints=(), ended=None, first_start_s=clock()))
        if attempt_store._run.code_sha256 != job.code_sha256:
            attempt_store.code_before = attempt_store._run.code_sha256 if attempt_store.starts else None
            attempt_store._save(replace(attempt_store._run, code_sha256=job.code_sha256))
        return attempt_store

    @property
    def starts(self) -> int:
        """Number of the last attempt that began; 0 before the first."""
        return self._run.starts

    @property
    def deadline_left_s(self) -> float | None:
        """Seconds until the deadline, negative after it; None where there is none."""
        if self._job.deadline_s is None:
            return None
        return self._run.first_start_s + self._job.deadline_s - self._clock()

    def count_interrupted(self) -> Retry | GiveUp | None:
        """Account for an attempt that an earlier life of node 0 began and never finished; None where none."""
        if self._run.attempts <= len(self._run.fingerprints):
            return None
        return self.fail(INTERRUPTED)

    def begin(self, nodes: Iterable[int]) -> int:
        """Count a start by these nodes and return its number."""
        number, told = self._run.starts + 1, self._run.nodes
        if self._job.is_elastic:
            taken = AttemptNodes(attempt=number, nodes=format_nodes(nodes))
            told = (*(told or ()), taken)[-_ATTEMPTS_TOLD:]
        self._save(replace(self._run, starts=number, attempts=self._run.attempts + 1, nodes=told))
        return number

    def fail(self, failure: Failure) -> Retry | GiveUp:
        """Record that the attempt failed and decide what follows."""
        earlier = self._run.fingerprints
        self._save(replace(self._run, fingerprints=(*earlier, failure.fingerprint)))
        return decide(
            failure,
            attempts=self._run.attempts,
            earlier=earlier,
            max_restarts=self._job.max_restarts,
            backoff_s=self._job.backoff_s,
        )

    def uncount(self) -> None:
        """Take back the count of the attempt that was stopped from outside."""
        self._save(replace(self._run, attempts=self._run.attempts - 1))

    def finish(self, exit_code: Exit) -> None:
        """Record that the run ended for good."""
        self._save(replace(self._run, ended=int(exit_code)))

    def beat(self) -> None:
        """Renew the writer lock's heartbeat.

        Raises:
            LockLostError: Another process holds it by now.
            OSError: The folder cannot be written.
        """
        self._lock.beat(self._clock())

    def close(self) -> None:
        """Give the writer lock back."""
        self._lock.release()

    def _save(self, run: RunFile) -> None:
        save_run_file(self._output_dir, run)
        self._run = run
