"""Makes one function of a list of operations, and the same for images of other sizes and for stages."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import trainer.data.ops.augment
import trainer.data.ops.autoaugment
import trainer.data.ops.basic
import trainer.data.ops.crop_pad
import trainer.data.ops.erasing
import trainer.data.ops.timm
import trainer.data.ops.vision  # noqa: F401  # each registers its operations
from trainer.config.data import SIZED_OPS
from trainer.config.extras import ExtraOp
from trainer.config.ops import DecodeImage, ImageOp, given_pictures
from trainer.config.pipeline import of_stage
from trainer.data.normalization import AnyImage, Levels, find_normalization, split_ops
from trainer.data.ops.registry import Pixels, find_window, make_operation
from trainer.data.ops.scaled_decode import decode_window
from trainer.data.rng import Rng
from trainer.errors import ImageError


class Transform:
    """A list of operations as one function: an image file's bytes -> float32 [C, H, W], or uint8 [H, W, 3].

    It has two halves, between which an image may be kept: what the operations at the beginning make is the
    same each time, because they draw nothing.
    """

    def __init__(self, ops: Sequence[ImageOp], *, uint8: bool = False, fast: bool = False) -> None:
        """Make the operations.

        Args:
            ops: Checked by the config: DecodeImage first, NormalizeImage among them, layouts that fit.
            uint8: Leave out those of `find_normalization(ops)`, which is not None: the result is uint8
                [H, W, 3], contiguous or not. Else it is float32 [C, H, W] in order, whatever the list says.
            fast: Decode no more pixels than the next operation needs (`scaled_decode`), where it can tell.
        """
        # Also where the result is float32 the end is looked up, and not computed: see `finish`.
        head, tail = split_ops(ops)
        kept = head if tail else ops
        self._normalization = find_normalization(ops) if tail and not uint8 else None
        pictures = given_pictures(kept)
        made = [make_operation(op, picture=picture) for op, picture in zip(kept, pictures, strict=True)]
        window = find_window(kept[1], picture=pictures[1]) if fast and len(kept) > 1 else None
        if window is not None and isinstance(kept[0], DecodeImage):
            made[:2] = [decode_window(kept[0], *window)]
        fixed = next((at for at, op in enumerate(kept) if not op.is_fixed()), len(kept))
        self.fixed_ops: Sequence[ImageOp] = kept[:fixed] if window is None else ()
        """Whose result is the same each time; at least one, except where decoding depends on a draw."""
        self._begin, self._finish = made[: len(self.fixed_ops)], made[len(self.fixed_ops) :]
        self._uint8 = uint8
        self._is_copied = any(isinstance(op, ExtraOp) for op in kept)  # which may write to what it gets
        self._channels_first = any(op.moves_channels_first() for op in kept)

    def __call__(self, data: bytes, rng: Rng) -> NDArray[Any]:
        """Do all of it.

        Raises:
            ImageError: They are no image, or one that does not fit.
        """
        image = self.finish(self.begin(data, rng), rng)
        return image.array() if isinstance(image, Levels) else image

    def begin(self, data: bytes, rng: Rng) -> Pixels:
        """Do what is the same each time.

        Raises:
            ImageError: They are no image, or one that does not fit.
        """
        if not data:
            raise ImageError(expected="an image", got="an empty file")
        image: Pixels = np.frombuffer(data, dtype=np.uint8)
        for operation in self._begin:
            image = operation(image, rng)
        return image

    def finish(self, image: Pixels, rng: Rng) -> AnyImage:
        """Do the rest with what `begin` made; the image may be read-only and stays as it is.

        `write_image` puts the result where it is wanted: float32 that is looked up need not be made before.

        Raises:
            ImageError: The image does not fit.
        """
        if self._is_copied and not image.flags.writeable:
            image = image.copy()
        for operation in self._finish:
            image = operation(image, rng)
        if self._normalization is not None or self._uint8:
            levels = image.transpose(1, 2, 0) if self._channels_first else image
            if self._normalization is None:
                return levels
            return Levels(image=levels, normalization=self._normalization)
        if not self._channels_first:
            image = image.transpose(2, 0, 1)
        return np.ascontiguousarray(image, dtype=np.float32)


def build_transform(ops: Sequence[ImageOp], *, uint8: bool = False) -> Transform:
    """Make the transform of `transform_ops`; arguments as of `Transform`."""
    return Transform(ops, uint8=uint8)


class Transforms:
    """Transforms by side and stage, each made once; several threads may ask."""

    def __init__(self, ops: Sequence[ImageOp], *, uint8: bool = False, fast: bool = False) -> None:
        """Arguments as of `Transform`."""
        self._ops = ops
        self._uint8, self._fast = uint8, fast
        self._made: dict[tuple[int | None, int | None], Transform] = {(None, None): self._make(ops)}
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
                self._made[side, stage] = self._make(ops)
            return self._made[side, stage]

    def _make(self, ops: Sequence[ImageOp]) -> Transform:
        return Transform(ops, uint8=self._uint8, fast=self._fast)


def _resized(op: ImageOp, side: int) -> ImageOp:
    # The size alone is handed on: PaddleClas d178931, ppcls/data/dataloader/multi_scale_dataset.py.
    return type(op).model_validate({"size": side}) if isinstance(op, SIZED_OPS) else op
