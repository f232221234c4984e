"""What all ranks do together: sums, and handing out what rank 0 has read.

Every rank must call the same functions in the same order.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Mapping, Sequence

import numpy as np
import paddle

from trainer.checkpoints.pdfiles import Array
from trainer.engine.barrier import Barrier, send_at_once
from trainer.engine.loopback import guard
from trainer.errors import PeersLostError
from trainer.ranks import Ranks, choose_backend, joining_a_store

_COME = "init/"  # where each store that connects counts itself (TCPStore::waitWorkers in tcp_store.cc)
_COME_WITHIN_S = 900.0  # as Paddle's own store waits
_LOOK_EVERY_S = 0.05


def join_ranks(device: str, ranks: Ranks) -> Collective:
    """Choose the device and, where there are peers, wait for them."""
    choose_backend(device)
    paddle.set_device(device)
    if ranks.world_size > 1 and not paddle.distributed.is_initialized():
        if ranks.store_is_served:
            join_store(ranks)
        elif ranks.is_first:
            guard(ranks.master)
        with contextlib.redirect_stderr(io.StringIO()):  # a table of flags that nobody has changed
            paddle.distributed.init_parallel_env()
    barrier = None
    if ranks.world_size > 1 and device == "cpu":
        send_at_once()
        barrier = Barrier(paddle.base.core.create_or_get_global_tcp_store(), world_size=ranks.world_size)
    return Collective(world_size=ranks.world_size, barrier=barrier)


def join_store(ranks: Ranks) -> None:
    """Connect to the store that a node process serves; rank 0 returns once all have.

    Raises:
        PeersLostError: They did not come.
    """
    with joining_a_store(ranks):
        store = paddle.base.core.create_or_get_global_tcp_store()
    until_s = time.monotonic() + _COME_WITHIN_S
    while ranks.is_first and (come := store.add(_COME, 0)) < ranks.world_size:
        if time.monotonic() >= until_s:
            late = f"{come} of {ranks.world_size} ranks came within {_COME_WITHIN_S:.0f} s"
            raise PeersLostError(f"{late}, so that they cannot train together")
        time.sleep(_LOOK_EVERY_S)


class Collective:
    """The process group, or a single process to which nothing needs to be sent."""

    def __init__(self, *, world_size: int, barrier: Barrier | None = None) -> None:
        """`paddle.distributed.init_parallel_env` must have been called where there is more than one rank.

        `barrier` is where ranks wait before each exchange; None where exchanges have patience enough.
        """
        self.world_size = world_size
        self._barrier = barrier

    def wait(self) -> None:
        """Wait until all ranks are here, before an exchange that is not one of these methods."""
        if self._barrier is not None:
            self._barrier.wait()

    def sum(self, values: Sequence[float]) -> list[float]:
        """Add up values over all ranks, in float64."""
        if self.world_size == 1:
            return [float(value) for value in values]
        found = self.sum_tensor(paddle.to_tensor(np.asarray(values, dtype=np.float64)))
        return [float(value) for value in found]

    def sum_tensor(self, values: paddle.Tensor) -> Array:
        """Add up float64 [N] over all ranks, where it is, and copy the sums to the host."""
        if self.world_size > 1:
            self.wait()
            paddle.distributed.all_reduce(values)
        return np.asarray(values.numpy())

    def broadcast_text(self, text: str | None) -> str | None:
        """Hand rank 0's text to all ranks; what others pass is ignored."""
        if self.world_size == 1:
            return text
        self.wait()
        data = np.frombuffer(json.dumps(text).encode(), dtype=np.uint8)
        size = int(self._broadcast(np.asarray([data.size], dtype=np.int64))[0])
        first = data if data.size == size else np.zeros(size, dtype=np.uint8)
        received = json.loads(self._broadcast(np.array(first)).tobytes())
        assert received is None or isinstance(received, str)
        return received

    def broadcast_arrays(self, arrays: Mapping[str, Array] | None) -> dict[str, Array]:
        """Hand rank 0's named arrays to all ranks; the others pass None."""
        if self.world_size == 1:
            return dict(arrays or {})
        own = {key: np.asarray(value) for key, value in (arrays or {}).items()}
        shapes = {key: [list(value.shape), value.dtype.str] for key, value in own.items()}
        table = json.loads(self.broadcast_text(json.dumps(shapes)) or "{}")
        return {key: self._hand_out(own.get(key), shape, dtype) for key, (shape, dtype) in table.items()}

    def broadcast_buffers(self, model: paddle.nn.Layer) -> None:
        """Give all ranks rank 0's buffers, such as the running statistics of batch norm.

        Paddle keeps those as parameters that have no gradient, so `model.buffers()` does not name them.
        """
        if self.world_size > 1:
            self.wait()
            for tensor in model.state_dict().values():
                if tensor.stop_gradient:
                    paddle.distributed.broadcast(tensor, src=0)

    def broadcast(self, tensors: Sequence[paddle.Tensor]) -> None:
        """Give all ranks rank 0's values."""
        if self.world_size > 1:
            for tensor in tensors:
                received = tensor.detach().clone()
                paddle.distributed.broadcast(received, src=0)
                tensor.set_value(received)

    def average_gradients(self, parameters: Sequence[paddle.Tensor]) -> None:
        """Replace each parameter's gradient by its mean over all ranks, in one exchange for each type."""
        if self.world_size == 1 or not parameters:
            return
        by_type: dict[object, list[paddle.Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is None:  # on all ranks: what the network does not use
                continue
            by_type.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in by_type.values():
            flat = paddle.concat([gradient.detach().flatten() for gradient in gradients]) / self.world_size
            paddle.distributed.all_reduce(flat)
            sizes = [int(gradient.size) for gradient in gradients]
            for gradient, part in zip(gradients, paddle.split(flat, sizes), strict=True):
                gradient.set_value(part.reshape(gradient.shape))

    def gather_rows(self, columns: Sequence[Array] | None) -> list[Array]:
        """Give all ranks the rows of all ranks, rank after rank.

        Args:
            columns: Arrays of as many rows each; None from a rank other than 0 that has no rows.
        """
        if self.world_size == 1:
            return list(columns or ())
        self.wait()
        own = [np.ascontiguousarray(column) for column in columns or ()]
        rows = len(own[0]) if own else 0
        counts = self._gather(np.asarray([rows], dtype=np.int64))[:, 0]
        told = json.dumps([[list(column.shape[1:]), column.dtype.str] for column in own])
        gathered = []
        for index, (shape, dtype) in enumerate(json.loads(self.broadcast_text(told) or "[]")):
            padded = np.zeros((int(counts.max()), *shape), dtype=np.dtype(dtype))
            if own:
                padded[:rows] = own[index]
            flat = np.frombuffer(padded.tobytes(), dtype=np.uint8)
            parts = self._gather(flat.copy())
            whole = [
                np.frombuffer(part.tobytes(), dtype=np.dtype(dtype)).reshape(padded.shape)[:count]
                for part, count in zip(parts, counts, strict=True)
            ]
            gathered.append(np.concatenate(whole))
        return gathered

    def _gather(self, values: Array) -> Array:
        """Stack all ranks' arrays of one shape."""
        tensors: list[paddle.Tensor] = []
        paddle.distributed.all_gather(tensors, paddle.to_tensor(values))
        return np.stack([tensor.numpy() for tensor in tensors])

    def _hand_out(self, own: Array | None, shape: Sequence[int], dtype: str) -> Array:
        # As bytes: neither gloo nor NCCL knows every type that an optimizer may keep.
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        flat: Array = np.zeros(size, dtype=np.uint8)
        if own is not None:
            flat = np.frombuffer(np.ascontiguousarray(own).tobytes(), dtype=np.uint8).copy()
        return np.frombuffer(self._broadcast(flat).tobytes(), dtype=np.dtype(dtype)).reshape(shape)

    def _broadcast(self, values: Array) -> Array:
        if values.size == 0:
            return values
        tensor = paddle.to_tensor(values)
        paddle.distributed.broadcast(tensor, src=0)
        return np.asarray(tensor.numpy())
