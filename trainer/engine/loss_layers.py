"""Networks that losses have of their own: trained, averaged and saved with the model that they judge.

They are one more layer of the model, `loss_func`, as PaddleClas's keys have it, which its forward pass leaves
alone. Paddle's data parallelism knows a parameter by the forward pass of what it wraps only; gradients and
first values of these are therefore handed round by us.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import paddle

from trainer.losses.build import Losses

_NAME = "loss_func"


def attach(model: paddle.nn.Layer, loss: Losses) -> None:
    """Make the losses' networks a layer of the model, if there are any."""
    if loss.layers:
        holder = paddle.nn.Layer()
        for name, layer in loss.layers.items():
            holder.add_sublayer(name, layer)
        model.add_sublayer(_NAME, holder)


def own_parameters(model: paddle.nn.Layer) -> list[paddle.Tensor]:
    """Return the parameters of the losses' networks."""
    holder = dict(model.named_children()).get(_NAME)
    return list(holder.parameters()) if holder is not None else []


@contextlib.contextmanager
def detached(model: paddle.nn.Layer) -> Iterator[None]:
    """Take the losses' networks out of the model for a while."""
    holder = dict(model.named_children()).get(_NAME)
    if holder is not None:
        delattr(model, _NAME)
    try:
        yield
    finally:
        if holder is not None:
            model.add_sublayer(_NAME, holder)
