"""Where an image is cut. Parameters: PaddleClas d178931, ppcls/data/preprocess/ops/operators.py."""

from __future__ import annotations

from typing import ClassVar

from trainer.config.ops_base import ImageOp
from trainer.config.scalars import Size


class RandomCropImage(ImageOp):
    """Cut a random part of a size out. There is no padding: a smaller image is refused."""

    whole_numbers: ClassVar[bool] = False

    size: Size


PLACE_OPS = (RandomCropImage,)
