"""A moving average of everything in a model's state dict (`EMA`), kept beside the weights that are trained.

PaddleClas d178931, ppcls/utils/ema.py: e = decay × e + (1 − decay) × m after every optimizer step, running
statistics of batch norm included, without a warm-up.

The average is a second copy of the state dict, in the type of each tensor, and is never in the model while it
trains: `in_place` puts it in for an evaluation and puts the weights back, so that the optimizer, which knows
tensors and not names, notices nothing. On several ranks each keeps its own, and they stay equal because the
weights do; buffers, which differ between ranks, come from rank 0 before each evaluation and save. A resumed
run begins from the saved average, not from the weights: the average of a run is one sequence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import paddle

from trainer.checkpoints.pdfiles import Array
from trainer.models.weights import own_tensors, view_on_host


class ExponentialMovingAverage:
    """The average, which begins as what the model holds, or as what a checkpoint held."""

    def __init__(self, model: paddle.nn.Layer, *, decay: float, saved: Mapping[str, Array]) -> None:
        """`saved` is by structured name; empty where there is no checkpoint with an average."""
        self._model = model
        self._decay = decay
        self._values = {
            key: paddle.to_tensor(saved[key], dtype=tensor.dtype) if key in saved else tensor.detach().clone()
            for key, tensor in model.state_dict().items()
        }

    def update(self) -> None:
        """Take the model's weights after an optimizer step in."""
        with paddle.no_grad():
            for key, tensor in self._model.state_dict().items():
                if tensor.is_floating_point():
                    mixed = self._decay * self._values[key] + (1 - self._decay) * tensor.detach()
                    self._values[key] = mixed
                else:  # tables of indices, which have no mean
                    self._values[key] = tensor.detach().clone()

    def values(self) -> dict[str, paddle.Tensor]:
        """Return the average as it is, by structured name; later updates make other tensors."""
        return dict(self._values)

    def choose(self, whole: paddle.Tensor, before: Mapping[str, paddle.Tensor]) -> None:
        """Go back to what `values` returned before where `whole`, bool [], is false, without reading it."""
        self._values = {key: paddle.where(whole, now, before[key]) for key, now in self._values.items()}

    def arrays(self) -> dict[str, Array]:
        """Return the average by structured name, on the CPU; copied, or as it is until the next update."""
        return {key: view_on_host(value) for key, value in self._values.items()}

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average into the model for a while."""
        kept = {key: tensor.detach().clone() for key, tensor in own_tensors(self._model).items()}
        self._put(self._values)
        try:
            yield
        finally:
            self._put(kept)

    def _put(self, values: Mapping[str, paddle.Tensor]) -> None:
        for key, tensor in own_tensors(self._model).items():
            tensor.set_value(values[key].astype(tensor.dtype))
