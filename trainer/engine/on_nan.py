"""What becomes of a step that makes no numbers (`Global.on_nan`): the run stops, leaves it out, or goes back.

`stop` looks at what is fetched anyway: the losses. The others have to know of each update whether it left
weights that are no numbers, which a loss tells one step late, and both without a look from the host:

- A loss that is no number is made to reach all gradients, by a factor that is one or not a number. So it
  reaches the weights of all ranks, through the exchange of gradients, and all ranks come to the same answer.
- After the update the weights are added up on the device. A sum of numbers is one (weights that are so large
  that it is not are no use either), and a sum that anything else is in is none.
- `rewind` keeps that answer beside the losses. The first step whose loss or weights are no numbers is the one
  that is left out when the run has gone back.
- `skip` also takes the update back, by choosing between what was there before and what is now, tensor by
  tensor: weights, the optimizer's state, running statistics, the average. It therefore keeps a copy of all of
  them during a step. The optimizer makes its state in its first update, so that there is nothing to choose
  yet: of the first update of a process alone the host reads whether the gradients are numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import paddle

from trainer.checkpoints.state import LeftOut
from trainer.data.sharding import Indices
from trainer.engine.ema import ExponentialMovingAverage
from trainer.engine.run_log import RunLog
from trainer.engine.setup import Setup
from trainer.errors import DivergedError
from trainer.models.weights import own_tensors

SKIPS_IN_A_ROW = 10
"""Steps that are left out one after the other before a run is given up."""
REWINDS = 5
"""Times that a run goes back before it is given up."""
NAMED = 64
"""Images of a step that are written down."""
_SAID = 3
_FIX = "lower Optimizer.lr.learning_rate, or lengthen warmup_epoch"


@dataclass(frozen=True, kw_only=True, slots=True)
class DoneBatch:
    """What is known of a batch once its measurements were fetched.

    Attributes:
        epoch: Of the run, from 0.
        step: Optimizer steps completed after it.
        rates: Learning rate of each optimizer.
        indices: This rank's samples of the list.
        place: What of the order of an epoch it was, on all ranks.
        loss: Mean over all ranks.
        whole: Whether the weights are numbers after it, as far as that is watched.
        applied: Whether it was the last one of an update.
    """

    epoch: int
    step: int
    rates: Sequence[float]
    indices: Indices
    place: LeftOut
    loss: float
    whole: bool
    applied: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class BadStep:
    """A step that made no numbers.

    Attributes:
        batch: The batch that did.
        images: Files of all ranks, at most `NAMED`.
        count: How many images there were.
    """

    batch: DoneBatch
    images: Sequence[str]
    count: int

    def __str__(self) -> str:
        loss = self.batch.loss
        made = f"weights that are no numbers, after {loss:g}" if math.isfinite(loss) else str(loss)
        rates = ", ".join(f"{rate:g}" for rate in self.batch.rates)
        shown = ", ".join(self.images[:_SAID])
        more = f" and {self.count - _SAID} more" if self.count > _SAID else ""
        return f"{made} (learning rate {rates}, images {shown}{more})"

    def refuse(self, *, tried: str = "", fix: str = _FIX) -> DivergedError:
        """Make the error that ends the run; `tried` is what was done before."""
        return DivergedError(
            where=f"step {self.batch.step}", expected="a finite loss", got=f"{self}{tried}", fix=fix
        )

    def write(self, run_log: RunLog, event: str, *, to_step: int | None = None) -> None:
        """Append a row of it to metrics.jsonl; `to_step` where the run goes back to it."""
        batch, back = self.batch, {} if to_step is None else {"to_step": to_step}
        run_log.row(
            event, epoch=batch.epoch + 1, step=batch.step, lr=batch.rates[0], loss=batch.loss,
            images=list(self.images), **back,
        )  # fmt: skip


class GoBackError(Exception):
    """The run is to go back to its last checkpoint; never leaves the training loop."""

    def __init__(self, bad: BadStep) -> None:
        super().__init__(str(bad))
        self.bad = bad


class OnNan:
    """Looks at batches once they were fetched, in order, and does what `Global.on_nan` says. On all ranks."""

    def __init__(self, setup: Setup, run_log: RunLog) -> None:
        self._collective = setup.collective
        self._samples = setup.train_loader.samples
        self._run_log = run_log
        self._mode = setup.options.run.on_nan
        self._suspects: list[DoneBatch] = []
        self._skipped = 0

    def make_guard(self, setup: Setup) -> UpdateGuard | None:
        """Return what watches the updates of a setup, where that is needed."""
        if self._mode == "stop":
            return None
        return UpdateGuard(setup.model, setup.optimizers, ema=setup.ema, takes_back=self._mode == "skip")

    def look(self, batch: DoneBatch) -> None:
        """Take note of a batch.

        Raises:
            DivergedError: It ends the run.
            GoBackError: The run is to go back.
        """
        good = math.isfinite(batch.loss)
        if self._mode == "skip":
            self._skip(batch, good=good)
        elif not good and self._mode == "stop":
            raise self._name([batch]).refuse()
        elif not (good and batch.whole):
            raise GoBackError(self._name([batch]))

    def _skip(self, batch: DoneBatch, *, good: bool) -> None:
        if not good:
            self._suspects.append(batch)
        if not batch.applied:
            return
        suspects, self._suspects = self._suspects or [batch], []
        if batch.whole:
            self._skipped = 0
            return
        self._skipped += 1
        bad = self._name(suspects)
        bad.write(self._run_log, "skip")
        self._run_log.say(f"[Train]warning: step {batch.step} is left out: {bad}")
        if self._skipped == SKIPS_IN_A_ROW:
            raise bad.refuse(tried=f", the last of {SKIPS_IN_A_ROW} steps in a row that were left out")

    def _name(self, batches: Sequence[DoneBatch]) -> BadStep:
        """Gather the images of all ranks' parts; all ranks come here together."""
        own = np.concatenate([batch.indices for batch in batches]).astype(np.int64)
        (indices,) = self._collective.gather_rows([own])
        images = [str(self._samples.paths[index]) for index in indices[:NAMED].tolist()]
        return BadStep(batch=batches[0], images=images, count=len(indices))


class UpdateGuard:
    """Watches updates, and takes those back that leave no numbers."""

    def __init__(
        self, model: paddle.nn.Layer, optimizers: Sequence[paddle.optimizer.Optimizer], *,
        ema: ExponentialMovingAverage | None, takes_back: bool,
    ) -> None:  # fmt: skip
        """`takes_back`: for `skip`; else updates are only watched."""
        self._model = model
        self._optimizers = optimizers
        self._ema = ema
        self._takes_back = takes_back
        self._trained = [tensor for tensor in model.parameters() if not tensor.stop_gradient]
        self._statistics = _statistics(model) if takes_back else []
        self._before: list[paddle.Tensor] = []
        self._state: list[paddle.Tensor] | None = None

    def begin(self) -> None:
        """Be told that the first batch of an update comes: its forward pass moves running statistics."""
        self._before = [_copy(tensor) for tensor in self._statistics]

    def mark(self, loss: paddle.Tensor) -> paddle.Tensor:
        """Return a loss of the same value, whose gradients are no numbers where it is none."""
        return loss * (loss.detach() * 0.0 + 1.0)

    def update(self, update: Callable[[], None]) -> paddle.Tensor:
        """Update, and return whether all weights are numbers then, bool [], on the device."""
        with paddle.no_grad():
            if not self._takes_back:
                update()
                return self._is_whole()
            if self._state is None:
                return self._first(update)
            moved = [*self._trained, *self._state]
            before = [_copy(tensor) for tensor in moved]
            average = self._ema.values() if self._ema is not None else None
            update()
            whole = self._is_whole()
            _choose(whole, [*moved, *self._statistics], [*before, *self._before])
            if self._ema is not None and average is not None:
                self._ema.choose(whole, average)
            return whole

    def _first(self, update: Callable[[], None]) -> paddle.Tensor:
        gradients = [tensor.grad for tensor in self._trained if tensor.grad is not None]
        whole = _is_finite(gradients)
        if bool(whole):
            update()
            self._state = _state(self._optimizers)
            return self._is_whole()
        _choose(whole, self._statistics, self._before)
        return whole

    def _is_whole(self) -> paddle.Tensor:
        return _is_finite(self._trained)


def refuse_broken_weights(setup: Setup, *, step: int) -> None:
    """Refuse weights that are no numbers, on all ranks alike.

    Raises:
        DivergedError: Some are none.
    """
    trained = [tensor for tensor in setup.model.parameters() if not tensor.stop_gradient]
    whole = paddle.stack([paddle.isfinite(tensor).all() for tensor in trained]).astype("float64")
    broken = int(np.count_nonzero(setup.collective.sum_tensor(whole) < setup.ranks.world_size))
    if broken:
        raise DivergedError(
            where=f"step {step}", expected="finite weights", fix=_FIX,
            got=f"nan or inf in {broken} of {len(trained)} tensors",
        )  # fmt: skip


def _is_finite(tensors: Sequence[paddle.Tensor]) -> paddle.Tensor:
    """Tell whether all numbers of some tensors are finite, bool []."""
    sums = paddle.stack([tensor.detach().sum(dtype="float32") for tensor in tensors])
    return paddle.isfinite(sums.sum())


def _choose(whole: paddle.Tensor, tensors: Sequence[paddle.Tensor], before: Sequence[paddle.Tensor]) -> None:
    for tensor, old in zip(tensors, before, strict=True):
        tensor.set_value(paddle.where(whole, tensor, old))


def _copy(tensor: paddle.Tensor) -> paddle.Tensor:
    return tensor.detach().clone()


def _statistics(model: paddle.nn.Layer) -> list[paddle.Tensor]:
    """Return what a forward pass in training changes: buffers, and the running statistics of batch norm."""
    buffers = {key for key, _ in model.named_buffers()}
    return [
        tensor
        for key, tensor in own_tensors(model).items()
        if key in buffers or key.rpartition(".")[2] in ("_mean", "_variance")
    ]


def _state(optimizers: Sequence[paddle.optimizer.Optimizer]) -> list[paddle.Tensor]:
    """Return the tensors that updates change besides the weights.

    Powers of Adam's betas lie on the host, also beside a GPU (paddle/optimizer/adam.py, 3.3.1); choosing
    there would make the host wait. On a GPU they count a step that was left out.
    """
    found = []
    for optimizer in optimizers:
        state = optimizer.state_dict()
        masters = state.get("master_weights") or {}
        found += [value for value in (*state.values(), *masters.values()) if isinstance(value, paddle.Tensor)]
    on_gpu = any(tensor.place.is_gpu_place() for tensor in found)
    return [tensor for tensor in found if not on_gpu or tensor.place.is_gpu_place()]
