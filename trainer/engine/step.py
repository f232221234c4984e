"""One step: forward, backward, update, and what all ranks agree on afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import paddle

from trainer.data.loader import Batch
from trainer.engine.feed import FedBatch
from trainer.engine.liveness import Liveness
from trainer.engine.setup import Setup
from trainer.engine.signals import StopSignal
from trainer.protocol.heartbeat import Phase


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """One batch of all ranks.

    Attributes:
        loss: Mean over the global batch.
        means: Loss and metrics by name, means over the global batch.
        samples: In the global batch, padding left out.
        own_samples: In this rank's.
        learning_rates: That the update of each optimizer used or will use.
        applied: Whether the weights moved; between updates of `update_freq` they do not.
        asked_to_stop: Any rank was signalled.
        bad_images: In whose place others are in the global batch, padding left out.
    """

    loss: float
    means: Mapping[str, float]
    samples: int
    own_samples: int
    learning_rates: Sequence[float]
    applied: bool
    asked_to_stop: bool
    bad_images: int = 0

    @property
    def learning_rate(self) -> float:
        """That of the first optimizer."""
        return self.learning_rates[0]


class Stepper:
    """Does steps and counts the batches between updates."""

    def __init__(self, setup: Setup, *, liveness: Liveness, stop: StopSignal) -> None:
        self._setup = setup
        self._liveness = liveness
        self._stop = stop
        self._pending = 0

    def step(self, fed: FedBatch, *, step: int) -> StepResult:
        """Train on a batch as optimizer step `step`."""
        setup, batch = self._setup, fed.batch
        self._liveness.enter(Phase.COMPUTE)
        self._seed(step)
        rates = [schedule(step) for schedule in setup.schedules]
        applied = self._pending + 1 == setup.options.update_freq
        if applied:
            setup.collective.wait()  # its gradients are summed in the backward pass
        images, labels = fed.images, fed.labels
        with self._without_exchange(applied):
            with setup.precision.training():
                outputs = setup.network(images)
                losses = setup.loss(outputs, labels)
            setup.precision.backward(losses["loss"] / setup.options.update_freq)
        if applied:
            setup.collective.average_gradients(setup.apart)
            for optimizer, rate in zip(setup.optimizers, rates, strict=True):
                optimizer.set_lr(rate)
            with paddle.utils.unique_name.guard():  # its tensors are named as a fresh process names them
                setup.precision.update(setup.optimizers)
            for optimizer in setup.optimizers:
                optimizer.clear_grad()
            if setup.ema is not None:
                setup.ema.update()
        self._pending = 0 if applied else self._pending + 1
        sums = {key: float(value) * len(batch.labels) for key, value in losses.items()}
        sums.update(setup.metrics(outputs, labels))
        return self._agree(sums, batch, rates, applied=applied)

    def _agree(
        self, sums: Mapping[str, float], batch: Batch, rates: Sequence[float], *, applied: bool
    ) -> StepResult:
        # One small sum a step: the loss of the whole batch, and one moment at which all ranks see a signal.
        count = len(batch.labels)
        asked = 1.0 if self._stop.number else 0.0
        total, stops, bad, *summed = self._setup.collective.sum(
            [count, asked, batch.bad_images, *sums.values()]
        )
        means = {key: value / total for key, value in zip(sums, summed, strict=True)}
        return StepResult(
            loss=means["loss"], means=means, samples=batch.global_samples, own_samples=count,
            learning_rates=rates, applied=applied, asked_to_stop=stops > 0, bad_images=int(bad),
        )  # fmt: skip

    def _seed(self, step: int) -> None:
        # Dropout's draws depend on the step and the rank alone, so that a resumed run repeats them.
        if self._setup.options.seeds_steps:
            seed = self._setup.options.run.seed or 0
            paddle.seed((seed * 1_000_003 + step) * 4096 + self._setup.ranks.rank)

    def _without_exchange(self, applied: bool) -> contextlib.AbstractContextManager[None]:
        if applied or self._setup.ranks.world_size == 1:
            return contextlib.nullcontext()
        found: contextlib.AbstractContextManager[None] = self._setup.network.no_sync()
        return found
