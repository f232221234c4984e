"""Mixed precision (`AMP`): what is computed in 16 bits, and the scale of the loss.

PaddleClas d178931, ppcls/engine/engine.py and ppcls/engine/train/train.py: the forward pass and the loss run
under `paddle.amp.auto_cast`, the loss is multiplied by a scale before the backward pass, and the update
divides the gradients by it again and is left out where one of them is not finite. Level O2 also keeps the
parameters in 16 bits, beside float32 copies in the optimizer.

Paddle 3.3 (python/paddle/amp/auto_cast.py) does none of this on a CPU; there such a config trains in float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import paddle

from trainer.checkpoints.state import LossScale
from trainer.config.sections import AmpSection

Optimizers: TypeAlias = Sequence["paddle.optimizer.Optimizer"]
Context = contextlib.AbstractContextManager[None]
_KEPT_IN_FLOAT32 = frozenset({"flatten_contiguous_range", "greater_than"})
"""Operators that PaddleClas keeps out of 16 bits besides those of Paddle's own list."""


class Scaler(Protocol):
    """What `paddle.amp.GradScaler` does for us."""

    def scale(self, var: paddle.Tensor) -> paddle.Tensor:
        """Multiply a loss."""

    def step(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Divide the gradients, and step if all are finite."""

    def update(self) -> None:
        """Adapt the scale."""

    def state_dict(self) -> dict[str, object]:
        """Return `scale`, `incr_count`, `decr_count` and the settings; nothing where it is switched off."""

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Take up such a state."""


class Precision:
    """Everything in float32; the base of the other."""

    @property
    def label(self) -> str:
        """What the log says of it."""
        return "float32"

    def training(self) -> Context:
        """Surround a forward pass and its loss in training."""
        return contextlib.nullcontext()

    def evaluation(self) -> Context:
        """Surround a forward pass and its loss in evaluation."""
        return contextlib.nullcontext()

    def decorate(self, model: paddle.nn.Layer, optimizers: Optimizers) -> None:
        """Turn a model that holds its first weights into what is trained."""

    def backward(self, loss: paddle.Tensor) -> None:
        """Add a loss's gradients to those that the parameters have."""
        loss.backward()

    def update(self, optimizers: Optimizers) -> None:
        """Take a step of each optimizer with those gradients."""
        for optimizer in optimizers:
            optimizer.step()

    def state(self) -> LossScale | None:
        """Return what a resumed run needs, or None."""
        return None

    def restore(self, state: LossScale | None) -> None:
        """Go on with a saved scale."""


FLOAT32 = Precision()


class MixedPrecision(Precision):
    """`AMP` on a device that has it."""

    def __init__(self, amp: AmpSection, *, evaluates: bool, scaler: Scaler | None = None) -> None:
        """Take the section.

        Args:
            amp: With `use_amp`.
            evaluates: Evaluations run in mixed precision too, although `use_fp16_test` does not ask for it.
            scaler: Of the loss; None makes Paddle's, which leaves bfloat16 as it is because its range is
                that of float32.
        """
        self._amp = amp
        self._in_evaluation = amp.use_fp16_test or evaluates
        self._scaler: Scaler = scaler or paddle.amp.GradScaler(
            enable=amp.dtype == "float16", init_loss_scaling=amp.scale_loss,
            use_dynamic_loss_scaling=amp.use_dynamic_loss_scaling,
        )  # fmt: skip

    @property
    def label(self) -> str:
        """What the log says of it."""
        amp = self._amp
        moves = ", which adapts" if amp.use_dynamic_loss_scaling else ""
        scale = f", losses scaled by {amp.scale_loss:g}{moves}" if amp.dtype == "float16" else ""
        return f"{amp.level} in {amp.dtype}{scale}"

    def training(self) -> Context:
        """Surround a forward pass and its loss in training."""
        return self._auto_cast()

    def evaluation(self) -> Context:
        """Surround a forward pass and its loss in evaluation."""
        return self._auto_cast() if self._in_evaluation else contextlib.nullcontext()

    def decorate(self, model: paddle.nn.Layer, optimizers: Optimizers) -> None:
        """Put the parameters into 16 bits (O2); optimizers keep float32 copies, which state dicts give."""
        if self._amp.level == "O2":
            paddle.amp.decorate(
                models=model, optimizers=list(optimizers), level="O2", dtype=self._amp.dtype,
                save_dtype="float32", master_weight=True,
            )  # fmt: skip

    def backward(self, loss: paddle.Tensor) -> None:
        """Add the gradients of a scaled loss."""
        self._scaler.scale(loss).backward()

    def update(self, optimizers: Optimizers) -> None:
        """Divide the gradients by the scale and step, unless one of them is not finite; adapt the scale."""
        for optimizer in optimizers:
            self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> LossScale | None:
        """Return the scale and how long it has been good or bad."""
        found = self._scaler.state_dict()  # empty where the scaler does nothing
        if not found:
            return None
        scale, grew, shrank = (found[key] for key in ("scale", "incr_count", "decr_count"))
        return LossScale(scale=_number(scale), incr_count=int(_number(grew)), decr_count=int(_number(shrank)))

    def restore(self, state: LossScale | None) -> None:
        """Go on with a saved scale."""
        own = self._scaler.state_dict()
        if state is None or not own:
            return
        scale = paddle.to_tensor([state.scale], dtype="float32").numpy()
        counts = {"incr_count": state.incr_count, "decr_count": state.decr_count}
        self._scaler.load_state_dict({**own, **counts, "scale": scale})

    def _auto_cast(self) -> Context:
        amp = self._amp
        found: Context = paddle.amp.auto_cast(
            custom_black_list=set(_KEPT_IN_FLOAT32), level=amp.level, dtype=amp.dtype,
            use_promote=amp.use_promote,
        )  # fmt: skip
        return found


def choose_precision(amp: AmpSection | None, *, on_gpu: bool) -> Precision:
    """Return how steps are computed, as the section `AMP` and the device have it."""
    if amp is None or not amp.use_amp or not on_gpu:
        return FLOAT32
    # Paddle evaluates a model of 16-bit parameters under auto_cast only; PaddleClas switches it on, too.
    return MixedPrecision(amp, evaluates=amp.level == "O2")


def _number(value: object) -> float:
    return float(value.item()) if hasattr(value, "item") else float(value)  # type: ignore[arg-type]
