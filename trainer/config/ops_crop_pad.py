"""Operations that cut, pad and turn an image, and those that hide a part of it.

Those that hide stand after NormalizeImage, where 0 is the mean. Parameters and defaults: PaddleClas d178931,
ppcls/data/preprocess/ops/{operators,cutout,hide_and_seek,grid}.py.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from trainer.config.ops import ImageOp, SizedOp, refuse_ranges
from trainer.config.scalars import LOWERED, Fill, Pair, Pixels, Positive, Probability, Size

Offset = Annotated[int, Field(ge=0)]


class RandomCropImage(SizedOp):
    """Cut a random part of a size out. There is no padding: a smaller image is refused."""

    whole_numbers: ClassVar[bool] = False


class RandCropImageV2(SizedOp):
    """Cut a random part of a size out; an image that has the size is left alone."""

    whole_numbers: ClassVar[bool] = False

    def makes_picture(self, given: bool) -> bool:
        """It cuts what it gets."""
        return given


class CropImageAtRatio(ImageOp):
    """Cut a square out of the centre, size / (size + pad) of the shorter side long, and resize it."""

    whole_numbers: ClassVar[bool] = False

    size: Positive
    """Side of the result in pixels."""
    pad: Annotated[int, Field(ge=0)]
    """Of an image of size + pad, this much would be cut off."""
    interpolation: Annotated[Literal["nearest", "bilinear", "area", "bicubic", "lanczos"], LOWERED] = (
        "bilinear"
    )
    """OpenCV's."""

    def is_fixed(self) -> bool:
        """It draws nothing."""
        return True

    @property
    def size_key(self) -> str:
        """Its own."""
        return "size"

    def size_after(self, given: Pixels | None) -> Pixels | None:
        """Its own."""
        del given
        return self.size, self.size


class CropWithPadding(ImageOp):
    """Keep a random area of a random aspect ratio where it is, and overwrite all around it."""

    whole_numbers: ClassVar[bool] = False

    prob: Probability = 1
    """Probability that an image is touched."""
    padding_num: Annotated[int, Field(ge=0, le=255)] = 0
    """Level of what is overwritten."""
    size: Size = (224, 224)
    """Changes nothing: the image keeps its size."""
    scale: Pair = (0.08, 1.0)
    """Share of the image's area."""
    ratio: Pair = (3.0 / 4.0, 4.0 / 3.0)
    """Aspect ratio, width by height."""
    interpolation: str = "bilinear"
    """Changes nothing, as size."""

    @model_validator(mode="after")
    def _ranges(self) -> CropWithPadding:
        refuse_ranges(self.scale, self.ratio)
        return self


class Padv2(ImageOp):
    """Pad to a size, or to the next multiple of one, and make float32."""

    whole_numbers: ClassVar[bool] = False
    makes_floats: ClassVar[bool] = True

    size: Size | None = None
    """An image that is larger is refused. Where it is not given, `size_divisor` counts."""
    size_divisor: Positive = 32
    """Width and height become multiples of it."""
    pad_mode: Literal[0, 1, 2, -1] = 0
    """Where the image lies: 0 top left, 1 in the centre, 2 bottom right, -1 at `offsets`."""
    offsets: Annotated[tuple[Offset, Offset], Field(strict=False)] | None = None
    """[x, y] in pixels of the image in the padded one, for `pad_mode: -1`."""
    fill_value: Fill = (127.5, 127.5, 127.5)

    @model_validator(mode="after")
    def _offsets(self) -> Padv2:
        if (self.pad_mode == -1) != (self.offsets is not None):
            raise ValueError(
                f"expected offsets with pad_mode: -1 and with no other, got pad_mode {self.pad_mode} and "
                f"offsets {self.offsets if self.offsets is None else list(self.offsets)}"
            )
        return self

    @property
    def size_key(self) -> str:
        """Where it has one."""
        return "size" if self.size is not None else ""

    def size_after(self, given: Pixels | None) -> Pixels | None:
        """Its own, where it has one."""
        del given
        return self.size


class Pad(ImageOp):
    """Pad all sides by as many pixels."""

    has_backend: ClassVar[bool] = True
    whole_numbers: ClassVar[bool] = False

    padding: Annotated[int, Field(ge=0)]
    fill: Fill = (0, 0, 0)
    """A level, or three of them with backend pil."""
    padding_mode: Literal["constant"] = "constant"
    backend: Annotated[Literal["pil", "cv2"], LOWERED] = "pil"

    def takes_floats(self) -> bool:
        """Pillow pads whole numbers only."""
        return self.backend == "cv2"

    def makes_picture(self, given: bool) -> bool:
        """It pads what it gets."""
        return given

    @model_validator(mode="after")
    def _levels(self) -> Pad:
        if self.backend == "cv2" and len(set(self.fill)) > 1:
            raise ValueError(f"expected one level as fill with backend cv2, got {list(self.fill)}")
        if self.backend == "pil" and any(level != int(level) for level in self.fill):
            raise ValueError(f"expected whole levels as fill with backend pil, got {list(self.fill)}")
        return self

    def size_after(self, given: Pixels | None) -> Pixels | None:
        """Larger on all sides."""
        return None if given is None else (given[0] + 2 * self.padding, given[1] + 2 * self.padding)


class RandomRot90(ImageOp):
    """Turn by 0, 90, 180 or 270 degrees, each as often as the others."""

    whole_numbers: ClassVar[bool] = False
    label_key: ClassVar[str] = "random_rot90_orientation"
    labels: ClassVar[int] = 4

    def size_after(self, given: Pixels | None) -> Pixels | None:
        """Sides change places, which a square does not show."""
        return given if given is not None and given[0] == given[1] else None


class RandomInterpolationAugment(ImageOp):
    """Shrink to a random square and enlarge again, each with a random interpolation of five."""

    whole_numbers: ClassVar[bool] = False

    prob: Probability
    """Probability that an image is touched."""

    def makes_picture(self, given: bool) -> bool:
        """It gives back what it gets."""
        return given


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
