"""Running means of an epoch: of losses and metrics by samples, of times by steps since the last line."""

from __future__ import annotations

import math
from collections.abc import Mapping

from trainer.checkpoints.state import EpochSums


class AverageMeter:
    """Means weighted by samples."""

    def __init__(self, measured: EpochSums | None = None) -> None:
        """Begin with what an interrupted epoch has measured, or with nothing."""
        self._sums = dict(measured.sums) if measured is not None else {}
        self._samples = measured.samples if measured is not None else 0.0

    def add(self, values: Mapping[str, float], *, samples: float) -> None:
        """Add the means of so many samples."""
        for key, value in values.items():
            self._sums[key] = self._sums.get(key, 0.0) + value * samples
        self._samples += samples

    def values(self) -> dict[str, float]:
        """Return the means so far."""
        return {key: value / self._samples for key, value in self._sums.items()} if self._samples else {}

    def sums(self) -> EpochSums:
        """Return what has been added so far; of a metric that was no number, nothing can be saved."""
        finite = {key: value for key, value in self._sums.items() if math.isfinite(value)}
        return EpochSums(sums=finite, samples=self._samples)


class Throughput:
    """Times of the steps since the last line."""

    def __init__(self) -> None:
        self._step_s = self._read_s = 0.0
        self._samples = self._steps = 0

    def add(self, *, step_s: float, read_s: float, samples: int) -> None:
        """Add a step."""
        self._step_s += step_s
        self._read_s += read_s
        self._samples += samples
        self._steps += 1

    @property
    def step_s(self) -> float:
        """Mean seconds a step, reading included."""
        return self._step_s / self._steps if self._steps else 0.0

    @property
    def read_s(self) -> float:
        """Mean seconds that a step waited for its images."""
        return self._read_s / self._steps if self._steps else 0.0

    @property
    def images_per_s(self) -> float:
        """Images a second."""
        return self._samples / self._step_s if self._step_s else 0.0

    def __str__(self) -> str:
        """Write the times as PaddleClas does."""
        return (
            f"batch_cost: {self.step_s:.5f}s, reader_cost: {self.read_s:.5f}, "
            f"ips: {self.images_per_s:.2f} samples/s"
        )
