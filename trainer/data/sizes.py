"""The transform of a list of operations, and the same for images of other sizes."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from trainer.config.data import SIZED_OPS
from trainer.config.declaration import Declaration
from trainer.data.ops.build import Transform, build_transform


class Transforms:
    """Transforms by side, each made once; several threads may ask."""

    def __init__(self, ops: Sequence[Declaration]) -> None:
        self._ops = ops
        self._made: dict[int | None, Transform] = {None: build_transform(ops)}
        self._lock = threading.Lock()

    def of_side(self, side: int | None) -> Transform:
        """Return the transform to square images of a side in pixels; None keeps what the list says."""
        with self._lock:
            if side not in self._made:
                self._made[side] = build_transform([_resized(op, side) for op in self._ops])
            return self._made[side]


def _resized(op: Declaration, side: int | None) -> Declaration:
    # The size alone is handed on: PaddleClas d178931, ppcls/data/dataloader/multi_scale_dataset.py.
    return type(op).model_validate({"size": side}) if isinstance(op, SIZED_OPS) else op
