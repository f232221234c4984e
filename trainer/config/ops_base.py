"""What a list of operations must know of each operation to be checked before there is an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, TypeAlias

from trainer.config.declaration import Declaration
from trainer.config.scalars import Size

Pixels: TypeAlias = tuple[int, int]
"""Width and height."""
STAGES = 4
"""Of a training whose images grow, see `progressive`."""


class ImageOp(Declaration):
    """An operation on an image: what it takes and what it makes of it."""

    channels_last: ClassVar[bool] = True
    """It takes [H, W, C] only."""
    whole_numbers: ClassVar[bool] = True
    """It takes uint8 only, so it stands before whatever makes floating-point numbers."""
    makes_floats: ClassVar[bool] = False
    """It makes float32 of uint8."""
    normalizes: ClassVar[bool] = False
    """It makes the numbers that a network takes."""
    by_container: ClassVar[bool] = False
    """Paddle chooses between OpenCV and Pillow by what the image is, an array or a picture."""
    label_key: ClassVar[str] = ""
    """Name of the label that it draws, which CustomLabelDataset may take; empty where it draws none."""
    labels: ClassVar[int] = 0
    """Labels that it draws from, 0 and up."""

    def takes_floats(self) -> bool:
        """Tell whether it works on floating-point pixels with these parameters."""
        return not self.whole_numbers

    def wanted_order(self) -> Literal["chw", "hwc", ""]:
        """Return the layout that it is told to take; empty where it is told none."""
        return ""

    def order_said(self, channels_first: bool) -> str:
        """Return how a config says the layout that it is told to take."""
        return "order: 'chw'" if channels_first else "order: ''"

    def lacks(self, picture: bool) -> str:  # noqa: ARG002 - most do not care
        """Return what is wrong with its parameters for a picture or an array; empty where nothing is."""
        return ""

    def size_after(self, given: Pixels | None) -> Pixels | None:
        """Return the size of its result for an image of this size; None where the image decides."""
        return given

    def moves_channels_first(self) -> bool:
        """Tell whether its result is [C, H, W] whatever it gets."""
        return False

    def makes_picture(self, given: bool) -> bool:  # noqa: ARG002 - most make arrays
        """Tell whether PaddleClas hands a picture of Pillow on, where it is given one or not.

        Here all images are arrays; this only tells which library Paddle's own transforms would use.
        """
        return False


class SizedOp(ImageOp):
    """An operation whose result has a size that the config says."""

    size: Size

    def size_after(self, given: Pixels | None) -> Pixels | None:
        """Its own."""
        del given
        return self.size


def given_pictures(ops: Sequence[Declaration]) -> list[bool]:
    """Tell for each operation of a list whether PaddleClas would give it a picture of Pillow."""
    found, picture = [], False
    for op in ops:
        found.append(picture)
        picture = isinstance(op, ImageOp) and op.makes_picture(picture)
    return found


def refuse_ranges(scale: tuple[float, float], ratio: tuple[float, float]) -> None:
    """Check the share of an area and an aspect ratio.

    Raises:
        ValueError: One of them is no range.
    """
    if not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(f"expected scale: [low, high] with 0 < low <= high <= 1, got {list(scale)}")
    if not 0 < ratio[0] <= ratio[1]:
        raise ValueError(f"expected ratio: [low, high] with 0 < low <= high, got {list(ratio)}")
