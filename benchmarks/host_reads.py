"""Counts what makes the host wait for the device, and what ranks exchange, while a block of code runs.

Paddle's eager tensors have one type, so that every way of a Python program to a number of theirs goes through
a method of it. Those and the exchanges of `paddle.distributed` are replaced for a while by ones that count
and then do the same; nothing is counted twice where one calls another. Gradients that `paddle.DataParallel`
sums go through none of these functions, and operations whose result's shape depends on values, for which a
kernel has to tell the host a number, are counted by name.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import paddle

_READS = (
    "numpy", "item", "tolist", "cpu", "pin_memory", "__array__", "__dlpack__", "__bool__", "__float__",
    "__int__", "__index__", "__complex__", "__repr__", "__str__", "__format__", "__contains__", "__iter__",
)  # fmt: skip
_SHAPED_BY_VALUES = (
    "nonzero",
    "masked_select",
    "unique",
    "unique_consecutive",
    "is_empty",
    "equal_all",
    "allclose",
)
_EXCHANGES = (
    "all_reduce", "broadcast", "all_gather", "all_gather_object", "reduce", "scatter", "barrier", "send",
    "recv", "broadcast_object_list", "alltoall", "reduce_scatter", "gather",
)  # fmt: skip


@contextlib.contextmanager
def counting() -> Iterator[Counter[str]]:
    """Yield a counter of calls by name, which grows while the block runs."""
    found: Counter[str] = Counter()
    inside = False

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal inside
            if inside:
                return real(*given, **named)
            inside = True
            found[name] += 1
            try:
                return real(*given, **named)
            finally:
                inside = False

        return call

    places = [
        *((paddle.Tensor, name, f"Tensor.{name}") for name in _READS),
        *((paddle, name, f"paddle.{name}") for name in _SHAPED_BY_VALUES),
        *((paddle.Tensor, name, f"Tensor.{name}") for name in _SHAPED_BY_VALUES),
        *((paddle.distributed, name, f"distributed.{name}") for name in _EXCHANGES),
    ]
    with contextlib.ExitStack() as stack:
        for owner, attribute, name in places:
            real = getattr(owner, attribute, None)
            if real is not None:
                own = attribute in vars(owner)
                setattr(owner, attribute, counted(name, real))
                stack.callback(setattr, owner, attribute, real) if own else stack.callback(
                    delattr, owner, attribute
                )
        yield found
