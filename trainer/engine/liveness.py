"""A rank's side of the heartbeats: says what it is doing, and hears when to stop."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

from trainer.protocol.evaluated import Evaluated
from trainer.protocol.heartbeat import NO_STOP, Heartbeats, Phase, RankRecord
from trainer.protocol.step_times import StepTimes


class Liveness:
    """Publishes this rank's record; without a file of heartbeats it only remembers."""

    def __init__(self, heartbeats: Path | None, *, local_rank: int) -> None:
        """Map the file of the node process, where there is one.

        Raises:
            FormatError: It is no file of heartbeats.
            OSError: It cannot be mapped.
        """
        self._heartbeats = Heartbeats.open(heartbeats) if heartbeats is not None else None
        self._local_rank = local_rank
        self.step = 0
        self.epoch = 0
        self.total_steps = 0
        self.epoch_end = 0
        self.epoch_steps = 0
        self.loss = math.nan
        self.images_per_s = 0.0
        self.evaluated: Evaluated | None = None
        self.times: StepTimes | None = None

    @property
    def is_watched(self) -> bool:
        """Whether a node process reads the records, and says when to stop."""
        return self._heartbeats is not None

    @property
    def stop_step(self) -> int | None:
        """Step after which all ranks are to save and stop, or None."""
        step = self._heartbeats.stop_step if self._heartbeats is not None else NO_STOP
        return None if step == NO_STOP else step

    def enter(self, phase: Phase) -> None:
        """Publish that this rank begins something; also a sign of life within it."""
        if self._heartbeats is None:
            return
        self._heartbeats.write(
            self._local_rank,
            RankRecord(
                step=self.step, epoch=self.epoch, total_steps=self.total_steps, phase=phase, pid=os.getpid(),
                t_mono_s=time.monotonic(), loss=self.loss, images_per_s=self.images_per_s,
                evaluated=self.evaluated, epoch_end=self.epoch_end, epoch_steps=self.epoch_steps,
                times=self.times,
            ),
        )  # fmt: skip

    def close(self) -> None:
        """Unmap the file."""
        if self._heartbeats is not None:
            self._heartbeats.close()
