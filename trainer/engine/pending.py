"""Numbers of steps that are still on the device, until all of them are fetched at once.

Reading one number of a step makes the host wait until the device has done all that it was told so far, and
the device then wait for the host to tell it more: on a GPU that costs more than the number. So a step leaves
its losses and sums where they were computed, as the tensors that they are, and no operation is run to collect
them. `fetch` then stacks those of all steps since the last time, scales them, adds them up over all ranks and
copies them: one exchange and one copy, however many steps there were.

How they are scaled: a sum over a batch is value × times ÷ over, in float64 and on each rank before ranks are
added up. That is the arithmetic of Python's own numbers, so that the numbers do not depend on how many steps
are fetched together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import paddle

from trainer.engine.collective import Collective
from trainer.metrics.batch import Sum

Key = TypeVar("Key")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched(Generic[Key]):
    """What was kept of one batch, added up over all ranks.

    Attributes:
        sums: By name.
        counts: In the order in which they were kept.
    """

    sums: Mapping[Key, float]
    counts: Sequence[float]


class PendingSums(Generic[Key]):
    """Keeps what batches measured until it is fetched."""

    def __init__(self) -> None:
        self._kept: list[tuple[dict[Key, Sum], tuple[Sum | float, ...]]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, sums: Mapping[Key, Sum], *counts: Sum | float) -> None:
        """Keep a batch's sums by name, and numbers that have none; all ranks keep as many of either."""
        self._kept.append((dict(sums), counts))

    def fetch(self, collective: Collective, *beside: float) -> tuple[list[Fetched[Key]], list[float]]:
        """Add all that is kept up over all ranks, in one exchange, and keep nothing any more.

        Args:
            collective: All ranks fetch the same batches.
            beside: Numbers of this rank that are added up with them.

        Returns:
            One for each batch, in order; and the sums of `beside`.
        """
        kept, self._kept = self._kept, []
        numbers = [one for of_batch, counts in kept for one in (*of_batch.values(), *counts)]
        scaled = _scale([one if isinstance(one, Sum) else Sum(one) for one in (*numbers, *beside)])
        found = iter(collective.sum_tensor(scaled).tolist())
        fetched = [
            Fetched(sums={name: next(found) for name in of_batch}, counts=[next(found) for _ in counts])
            for of_batch, counts in kept
        ]
        return fetched, list(found)


def _scale(sums: Sequence[Sum]) -> paddle.Tensor:
    """Return the sums, float64 [N], on the device."""
    # One operation for all tensors of a type, and one more for each type; numbers of the host are one type.
    by_type: dict[object, list[int]] = {}
    for at, one in enumerate(sums):
        kind = one.value.dtype if isinstance(one.value, paddle.Tensor) else None
        by_type.setdefault(kind, []).append(at)
    order = [at for places in by_type.values() for at in places]
    parts = [_stack(kind, [sums[at].value for at in places]) for kind, places in by_type.items()]
    if not parts:
        return _float64([])
    stacked = paddle.concat(parts) if len(parts) > 1 else parts[0]
    places = sorted(range(len(order)), key=order.__getitem__)
    if places != list(range(len(order))):
        stacked = paddle.gather(stacked, paddle.to_tensor(places, dtype="int64"))
    return stacked * _float64([one.times for one in sums]) / _float64([one.over for one in sums])


def _stack(kind: object, values: Sequence[paddle.Tensor | float]) -> paddle.Tensor:
    if kind is None:
        return _float64(values)
    tensors = [value for value in values if isinstance(value, paddle.Tensor)]
    flat = [tensor if tensor.ndim == 0 else tensor.reshape([]) for tensor in tensors]
    return paddle.stack(flat).astype("float64")


def _float64(values: Sequence[float]) -> paddle.Tensor:
    return paddle.to_tensor(np.asarray(values, dtype=np.float64))
