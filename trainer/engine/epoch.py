"""An epoch that is going on: what its steps measured, written down as it is fetched.

Steps come here twice: when they were handed to the device, with what the host knows of them, and when what
they measured was fetched, of several at once. Rows of metrics.jsonl are written then, one for each, in order,
with the time at which the step was over here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.checkpoints.state import LeftOut, TrainState
from trainer.data.loader import Batch
from trainer.data.sharding import Indices
from trainer.engine.averages import AverageMeter, Throughput
from trainer.engine.liveness import Liveness
from trainer.engine.on_nan import DoneBatch, OnNan
from trainer.engine.run_log import RunLog, format_duration, format_values
from trainer.engine.setup import LoopOptions
from trainer.engine.step import StepResult, StepTaken


@dataclass(frozen=True, kw_only=True, slots=True)
class _Unfetched:
    """What is known here of a batch whose measurements are still on the device."""

    iteration: int
    step: int
    taken: StepTaken
    indices: Indices
    place: LeftOut
    samples: int
    own_samples: int
    step_s: float
    read_s: float
    copy_s: float
    at_s: float


class RunningEpoch:
    """What is written down of an epoch.

    Attributes:
        index: From 0.
        means: Of all that was fetched so far.
        bad_images: In whose place others were trained on, on all ranks, as far as fetched.
    """

    def __init__(
        self, state: TrainState, *, options: LoopOptions, run_log: RunLog, liveness: Liveness, on_nan: OnNan
    ) -> None:
        """Begin an epoch, or go on with the one that `state` is in."""
        self.index = state.epoch
        self.means = AverageMeter(state.measured)
        self.bad_images = state.sampler.bad_images
        self._options = options
        self._run_log = run_log
        self._liveness = liveness
        self._on_nan = on_nan
        self._throughput = Throughput()
        self._unfetched: list[_Unfetched] = []

    def note(
        self, batch: Batch, taken: StepTaken, *, iteration: int, step: int, place: LeftOut, step_s: float,
        read_s: float, copy_s: float,
    ) -> None:  # fmt: skip
        """Be told of a batch that was handed to the device, or left out.

        Args:
            batch: This rank's part.
            taken: What was done with it.
            iteration: Batch of the epoch, from 0.
            step: Optimizer steps completed after it.
            place: What of an epoch's order it was.
            step_s: Seconds that it took here, those that were waited for it included.
            read_s: Seconds that were waited for it, those of copying included.
            copy_s: Those that the host has spent on copying it to the device.
        """
        self._throughput.add(step_s=step_s, read_s=read_s, samples=batch.global_samples)
        if not taken.trained:
            self._run_log.row(
                "left_out", epoch=self.index + 1, iter=iteration, step=step, samples=batch.global_samples
            )
            return
        self._unfetched.append(
            _Unfetched(
                iteration=iteration, step=step, taken=taken, indices=batch.indices.copy(), place=place,
                samples=batch.global_samples, own_samples=len(batch.labels), step_s=step_s, read_s=read_s,
                copy_s=copy_s, at_s=time.time(),
            )
        )  # fmt: skip

    def take(self, results: Sequence[StepResult]) -> None:
        """Write down what all batches measured that were trained on since the last time.

        Raises:
            DivergedError: A loss is no number, and ends the run; rows end with its.
            GoBackError: The same, and the run goes back.
        """
        rows, self._unfetched = self._unfetched, []
        took_s = sum(row.step_s for row in rows)
        self._liveness.images_per_s = sum(row.own_samples for row in rows) / took_s if took_s else 0.0
        for row, result in zip(rows, results, strict=True):
            self.bad_images += result.bad_images
            if math.isfinite(result.loss):
                self.means.add(result.means, samples=row.samples)
                self._liveness.loss = result.loss
            self._record(row, result)

    def say(self, taken: StepTaken, *, iteration: int) -> None:
        """Say how far the epoch is, with the means so far and the times since the last line."""
        epochs, batches, times = self._options.run.epochs, self._options.batches, self._throughput
        left = (epochs - self.index) * batches - iteration - 1
        rates = ", ".join(f"{rate:.8f}" for rate in taken.learning_rates)
        self._run_log.say(
            f"[Train][Epoch {self.index + 1}/{epochs}][Iter: {iteration}/{batches}]"
            f"lr: {rates}, {format_values(self.means.values())}, {times}, "
            f"eta: {format_duration(left * times.step_s)}"
        )
        self._throughput = Throughput()

    def _record(self, row: _Unfetched, result: StepResult) -> None:
        rates = row.taken.learning_rates
        rate = round(row.samples / row.step_s, 3) if row.step_s else 0.0
        self._run_log.row(
            "step", at_s=row.at_s, epoch=self.index + 1, iter=row.iteration, step=row.step, lr=rates[0],
            **{f"lr_{index}": rate for index, rate in enumerate(rates) if index},
            samples=row.samples, **result.means, images_per_s=rate, reader_s=round(row.read_s, 6),
            step_s=round(row.step_s, 6), copy_s=round(row.copy_s, 6), peers_s=round(row.taken.peers_s, 6),
        )  # fmt: skip
        self._on_nan.look(
            DoneBatch(
                epoch=self.index, step=row.step, rates=rates, indices=row.indices, place=row.place,
                loss=result.loss, whole=result.whole, applied=row.taken.applied,
            )
        )  # fmt: skip
