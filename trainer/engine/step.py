"""One step: forward, backward, update. Nothing here waits for the device, and ranks meet in gradients only.

What a step measured stays on the device (`trainer.engine.pending`) until all ranks fetch it together: at the
steps that are printed, at the end of an epoch, before each evaluation, and before each save. Between two
fetches no number is read and nothing is exchanged but gradients. Exceptions: `AMP` in float16, whose scaler
asks in each update whether all gradients are finite (`paddle.amp.GradScaler` 3.3.1 offers nothing else;
bfloat16 needs no scaler); and ranks on CPUs, which before the exchange of gradients meet at a counter of
Paddle's store (`trainer.engine.barrier` says why; with GPUs there is none).

How ranks agree on a stop. They have to stop after the same step, or the one that goes on waits for the others
for ever. (1) A process without peers looks at its own signal after each step. (2) Ranks of a node process
look at the stop step in the memory of their heartbeats: the coordinator chose one that no rank had reached.
What counts there are steps that the host has told the device, which on a GPU runs behind; a rank may be ahead
of the device by `RUN_AHEAD` steps and no more, so that the pace of hosts is that of devices. (3) Whoever gets
a signal itself says so in the next fetch, whose answer all ranks see after the same step. Where there is no
node process (Paddle's own launcher) that is the only way: there ranks also fetch about once a second, counted
in steps, because clocks differ: each fetch adds up how long the ranks took for the steps since the last one,
and all take the next number of steps from the same sum.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import paddle

from trainer.engine.feed import FedBatch
from trainer.engine.liveness import Liveness
from trainer.engine.on_nan import UpdateGuard
from trainer.engine.pending import PendingSums
from trainer.engine.setup import Setup
from trainer.engine.signals import StopSignal
from trainer.metrics.batch import Sum
from trainer.protocol.heartbeat import Phase

RUN_AHEAD = 1
"""Whole steps that the host may have told a GPU beyond the one that it works on."""
_AGREE_EVERY_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTaken:
    """A batch that was trained on, or left out.

    Attributes:
        learning_rates: That the update of each optimizer used or will use.
        applied: Whether the optimizer step is over; between updates of `update_freq` it is not.
        trained: Whether it was trained on.
        peers_s: Seconds that it waited for other ranks, before gradients are exchanged.
    """

    learning_rates: Sequence[float]
    applied: bool
    trained: bool = True
    peers_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """What a batch of all ranks measured.

    Attributes:
        loss: Mean over the global batch.
        means: Loss and metrics by name, means over the global batch.
        bad_images: In whose place others are in the global batch, padding left out.
        whole: Whether the weights were numbers after it, as far as that is watched.
    """

    loss: float
    means: Mapping[str, float]
    bad_images: int = 0
    whole: bool = True

    @property
    def is_good(self) -> bool:
        """Whether the loss is a number, and the weights after it are."""
        return self.whole and math.isfinite(self.loss)


class Stepper:
    """Does steps, counts the batches between updates, and keeps what they measured."""

    def __init__(
        self, setup: Setup, *, liveness: Liveness, stop: StopSignal, guard: UpdateGuard | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        """`guard` watches updates, where they are to be watched; `clock` measures in seconds."""
        self._setup = setup
        self._liveness = liveness
        self._stop = stop
        self._guard = guard
        self._pending = 0
        self._spoiled = False
        self._sums: PendingSums[str] = PendingSums()
        self._run_ahead = _RunAhead() if setup.options.run.on_gpu else None
        self._agreement = None
        if setup.ranks.world_size > 1 and not liveness.is_watched:
            self._agreement = _Agreement(clock)

    @property
    def unfetched(self) -> int:
        """Batches since the last fetch."""
        return len(self._sums)

    @property
    def must_agree(self) -> bool:
        """Whether all ranks fetch after this batch because they have not for about a second."""
        return self._agreement is not None and self.unfetched >= self._agreement.steps

    def step(self, fed: FedBatch, *, step: int) -> StepTaken:
        """Train on a batch as optimizer step `step`."""
        setup, batch = self._setup, fed.batch
        self._liveness.enter(Phase.COMPUTE)
        self._seed(step, batch.shard)
        rates = [schedule(step) for schedule in setup.schedules]
        applied = self._pending + 1 == setup.options.update_freq
        if self._spoiled:
            self._end_batch(applied)
            return StepTaken(learning_rates=rates, applied=applied, trained=False)
        peers_s = 0.0
        if applied:
            began_s = time.perf_counter()
            setup.collective.wait()  # its gradients are summed in the backward pass
            peers_s = time.perf_counter() - began_s
        if self._guard is not None and self._pending == 0:
            self._guard.begin()
        images, labels = fed.images, fed.labels
        with self._without_exchange(applied):
            with setup.precision.training():
                outputs = setup.network(images)
                losses = setup.loss(outputs, labels)
            loss = losses["loss"] if self._guard is None else self._guard.mark(losses["loss"])
            if not batch.counts:  # it only takes part in the exchange
                loss = loss * 0.0
            divisor = setup.options.divisor
            setup.precision.backward(loss / divisor if divisor != 1.0 else loss)
        whole = self._update(rates) if applied else None
        count = len(batch.labels) if batch.counts else 0
        sums = {key: Sum(value.detach(), times=count) for key, value in losses.items()}
        sums.update(setup.metrics(outputs, labels))
        if not batch.counts:
            sums = {key: one._replace(times=0.0) for key, one in sums.items()}
        self._sums.keep(sums, count, batch.bad_images, 1.0 if whole is None else Sum(whole))
        self._end_batch(applied)
        if self._run_ahead is not None:
            self._run_ahead.hold()
        return StepTaken(learning_rates=rates, applied=applied, peers_s=peers_s)

    def leave_out(self, *, step: int) -> StepTaken:
        """Train on nothing of a batch, and so move no weights in optimizer step `step`; nothing is kept."""
        self._spoiled = True
        applied = self._pending + 1 == self._setup.options.update_freq
        self._end_batch(applied)
        rates = [schedule(step) for schedule in self._setup.schedules]
        return StepTaken(learning_rates=rates, applied=applied, trained=False)

    def _end_batch(self, applied: bool) -> None:
        if applied and self._spoiled:  # what other batches of the step left
            for optimizer in self._setup.optimizers:
                optimizer.clear_grad()
        self._spoiled = self._spoiled and not applied
        self._pending = 0 if applied else self._pending + 1

    def _update(self, rates: Sequence[float]) -> paddle.Tensor | None:
        """Move the weights; returns whether they are numbers then, where that is watched."""
        setup = self._setup
        setup.collective.average_gradients(setup.apart)
        for optimizer, rate in zip(setup.optimizers, rates, strict=True):
            optimizer.set_lr(rate)

        def update() -> None:
            with paddle.utils.unique_name.guard():  # its tensors are named as a fresh process names them
                setup.precision.update(setup.optimizers)
            if setup.ema is not None:
                setup.ema.update()

        whole = None
        if self._guard is None:
            update()
        else:
            whole = self._guard.update(update)
        for optimizer in setup.optimizers:
            optimizer.clear_grad()
        return whole

    def fetch(self, *, wants_save: bool = False) -> tuple[list[StepResult], bool, bool]:
        """Wait for what the batches since the last fetch measured, on all ranks together.

        Args:
            wants_save: It is time for a save, by the clock of this rank.

        Returns:
            One for each batch, in order; whether any rank was signalled; and whether any wants a save.
        """
        beside = [1.0 if self._stop.number else 0.0, 1.0 if wants_save else 0.0]
        if self._agreement is not None:
            beside.append(self._agreement.measure())
        batches = self.unfetched
        found, (asked, wanted, *took) = self._sums.fetch(self._setup.collective, *beside)
        if self._agreement is not None:
            self._agreement.settle(batches, seconds=took[0] / self._setup.ranks.world_size)
        results = []
        for one in found:
            total, bad, whole = one.counts
            means = {key: value / total for key, value in one.sums.items()}
            results.append(
                StepResult(
                    loss=means["loss"], means=means, bad_images=int(bad),
                    whole=whole == self._setup.ranks.world_size,
                )
            )  # fmt: skip
        return results, asked > 0, wanted > 0

    def _seed(self, step: int, shard: int) -> None:
        # Dropout's draws depend on the step and the part of the global batch alone, so that a resumed run
        # repeats them, and one on fewer nodes too.
        if self._setup.options.seeds_steps:
            seed = self._setup.options.run.seed or 0
            paddle.seed((seed * 1_000_003 + step) * 4096 + shard)

    def _without_exchange(self, applied: bool) -> contextlib.AbstractContextManager[None]:
        if applied or self._setup.ranks.world_size == 1:
            return contextlib.nullcontext()
        found: contextlib.AbstractContextManager[None] = self._setup.network.no_sync()
        return found


class _Agreement:
    """After how many batches all ranks look whether one of them was signalled."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since_s = clock()
        self.steps = 1

    def measure(self) -> float:
        """Return the seconds since the last time."""
        now_s = self._clock()
        took_s, self._since_s = now_s - self._since_s, now_s
        return took_s

    def settle(self, batches: int, *, seconds: float) -> None:
        """Be told what all ranks know: how many batches there were, and the mean of what they took."""
        if batches:
            self.steps = max(1, int(batches * _AGREE_EVERY_S / max(seconds, 1e-6)))


class _Event(Protocol):
    def record(self) -> None: ...

    def synchronize(self) -> None: ...


class _RunAhead:
    """Holds the host back from telling a GPU ever more steps; the GPU always has one to go on with."""

    def __init__(self, make: Callable[[], _Event] | None = None) -> None:
        self._make = make or paddle.device.cuda.Event
        self._events: deque[_Event] = deque()

    def hold(self) -> None:
        """Wait until the device has done all steps but the last ones."""
        event = self._make()
        event.record()
        self._events.append(event)
        if len(self._events) > RUN_AHEAD:
            self._events.popleft().synchronize()
