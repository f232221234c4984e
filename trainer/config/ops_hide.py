"""What hides a part of an image. These stand after NormalizeImage, where 0 is the mean.

Parameters and defaults: PaddleClas d178931, ppcls/data/preprocess/ops/{cutout,hide_and_seek,grid}.py.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from trainer.config.ops_base import ImageOp
from trainer.config.ops_place import Fill, Probability
from trainer.config.scalars import Positive


def _nothing(value: object) -> object:
    return None if value in ("none", "None") else value


class _Hiding(ImageOp):
    whole_numbers: ClassVar[bool] = False


class Cutout(_Hiding):
    """Overwrite squares about random points."""

    n_holes: Positive = 1
    length: Positive = 112
    """Side of a square in pixels; what lies outside the image is cut off."""
    fill_value: Annotated[Fill | None, BeforeValidator(_nothing)] = (0, 0, 0)
    """None (or `none`) draws three levels from 0 to 255 for each square."""


class HideAndSeek(_Hiding):
    """Set each cell of a grid to 0 or leave it; the cells' side is drawn from 16, 32, 44, 56 and none."""


class GridMask(_Hiding):
    """Set the bars of a grid to 0, whose place and distance are drawn (https://arxiv.org/abs/2001.04086)."""

    d1: Positive = 96
    """Least distance of two bars in pixels."""
    d2: Positive = 224
    """The distance is below this."""
    rotate: Positive = 1
    """The grid is turned by a whole number of degrees below this."""
    ratio: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Width of a bar, as a share of the distance."""
    mode: Literal[0, 1] = 0
    """1 keeps the bars and hides the rest."""
    prob: Probability = 1
    """Probability that an image is touched."""

    @model_validator(mode="after")
    def _range(self) -> GridMask:
        if self.d1 >= self.d2:
            raise ValueError(f"expected d1 below d2, got {self.d1} and {self.d2}")
        return self
