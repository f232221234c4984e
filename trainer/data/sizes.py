"""The transform of a list of operations, and the same for images of other sizes and for stages."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from trainer.config.data import SIZED_OPS
from trainer.config.ops import ImageOp
from trainer.config.pipeline import of_stage
from trainer.data.ops.build import Transform, build_transform


class Transforms:
    """Transforms by side and stage, each made once; several threads may ask."""

    def __init__(self, ops: Sequence[ImageOp]) -> None:
        self._ops = ops
        self._made: dict[tuple[int | None, int | None], Transform] = {(None, None): build_transform(ops)}
        self._lock = threading.Lock()

    def choose(self, *, side: int | None = None, stage: int | None = None) -> Transform:
        """Return a transform.

        Args:
            side: Of the square images that it makes, in pixels; None keeps what the list says.
            stage: Of a training whose images grow; None in every other.
        """
        with self._lock:
            if (side, stage) not in self._made:
                ops = self._ops if stage is None else of_stage(self._ops, stage)
                ops = ops if side is None else [_resized(op, side) for op in ops]
                self._made[side, stage] = build_transform(ops)
            return self._made[side, stage]


def _resized(op: ImageOp, side: int) -> ImageOp:
    # The size alone is handed on: PaddleClas d178931, ppcls/data/dataloader/multi_scale_dataset.py.
    return type(op).model_validate({"size": side}) if isinstance(op, SIZED_OPS) else op
