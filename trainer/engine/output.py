"""Taking the output folder: whose it is, who writes to it, and whether there is something to go on from."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import CheckpointError, OutputRefusedError
from trainer.protocol.codec import FormatError
from trainer.protocol.layout import OutputLayout
from trainer.protocol.runfile import OutputTakenError, adopt_output, claim_output
from trainer.protocol.writerlock import LockLostError, WriterLock, WriterLockedError, describe_self

_BEAT_S = 15.0


@dataclass(slots=True)
class Output:
    """A claimed output folder.

    Attributes:
        layout: Its paths.
        run_id: Of the run that owns it.
        note: For people, where what was there is not whole; None else.
    """

    layout: OutputLayout
    run_id: str
    _lock: WriterLock | None
    _clock: Callable[[], float]
    _beat_s: float = 0.0
    note: str | None = None

    def beat(self) -> None:
        """Renew the writer lock where this process holds it and it is time.

        Raises:
            CheckpointError: Another process holds it by now.
        """
        now_s = self._clock()
        if self._lock is None or now_s - self._beat_s < _BEAT_S:
            return
        self._beat_s = now_s
        try:
            # As on a full disk: whoever could take it meanwhile is found at the next beat.
            with contextlib.suppress(OSError):
                self._lock.beat(now_s)
        except LockLostError as error:
            raise CheckpointError(str(error)) from error

    def close(self) -> None:
        """Give the writer lock back."""
        if self._lock is not None:
            self._lock.release()


def open_output(
    output_dir: Path,
    *,
    run_id: str | None,
    adopt: bool = False,
    overwrite: bool = False,
    clock: Callable[[], float] = time.time,
) -> Output:
    """Claim an output folder.

    Args:
        output_dir: Made where it does not exist.
        run_id: Of the job; its node process has claimed the folder and holds the lock. None without one.
        adopt: Go on with the run that is there, as `--resume latest` asks.
        overwrite: Take the folder even where another run filled it.
        clock: Unix time in seconds.

    Raises:
        OutputRefusedError: It is another run's, or another run writes to it now.
        CheckpointError: It cannot be read or written, or its run.json is broken.
    """
    layout = OutputLayout(output_dir)
    try:
        if run_id is not None:
            output_dir.mkdir(parents=True, exist_ok=True)
            return Output(layout, run_id, None, clock)
        wanted, note = secrets.token_hex(16), None
        if adopt:
            existing, note = adopt_output(output_dir, run_id=wanted, now_s=clock())
            wanted = existing.run_id if existing is not None else wanted
        claim_output(output_dir, run_id=wanted, now_s=clock(), overwrite=overwrite)
        lock = WriterLock.acquire(layout.writer_lock, describe_self(run_id=wanted, now_s=clock()))
        return Output(layout, wanted, lock, clock, clock(), note)
    except OutputTakenError as error:
        raise OutputRefusedError(f"{error}; or go on with what is there by --resume latest") from error
    except WriterLockedError as error:
        raise OutputRefusedError(str(error)) from error
    except (FormatError, OSError) as error:
        raise CheckpointError(
            f"{output_dir}: expected a folder to write to, got: {error}; choose another Global.output_dir"
        ) from error
