"""Operations that PaddleClas takes from paddle.vision, and two that it builds on them.

Parameters and defaults: paddle 3.3.1, python/paddle/vision/transforms/transforms.py, and PaddleClas d178931,
ppcls/data/preprocess/ops/operators.py. Paddle uses OpenCV for arrays, and Pillow for the pictures that
`DecodeImage: {to_np: False}` makes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from trainer.config.ops import ImageOp, refuse_ranges
from trainer.config.scalars import LOWERED, Fill, Pair, Pixels, Positive, Probability

_ONLY_ARRAYS, _ONLY_PICTURES = frozenset({"area"}), frozenset({"box", "hamming"})
_NUMBER_OR_PAIR = {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]}
Layout = Literal["CHW", "HWC"]
HeightWidth = Annotated[
    tuple[Positive, Positive],
    BeforeValidator(lambda value: (value, value) if type(value) is int else value),
    Field(strict=False),
    WithJsonSchema(_NUMBER_OR_PAIR),
]
"""A side in pixels, or `[height, width]`: the other way round than PaddleClas's own operations."""


def _both_ways(value: object) -> object:
    return (-value, value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class _Vision(ImageOp):
    """What all of them have."""

    whole_numbers: ClassVar[bool] = False

    def makes_picture(self, given: bool) -> bool:
        """They give back what they get."""
        return given


class _Interpolating(_Vision):
    by_container: ClassVar[bool] = True

    interpolation: Annotated[
        Literal["nearest", "bilinear", "area", "bicubic", "lanczos", "box", "hamming"], LOWERED
    ] = "bilinear"
    """area of arrays only, box and hamming of pictures only."""

    def lacks(self, picture: bool) -> str:
        """Return what is wrong with the interpolation for an array or a picture; empty where it is fine."""
        if self.interpolation not in (_ONLY_ARRAYS if picture else _ONLY_PICTURES):
            return ""
        what = "pictures (to_np: False)" if picture else "arrays"
        return f"with an interpolation that Paddle has for {what}, got {self.interpolation!r}"


class Resize(_Interpolating):
    """Resize to a size, or so that the shorter side has a length, rounded down."""

    size: Annotated[
        tuple[Positive, ...],
        BeforeValidator(lambda value: (value,) if type(value) is int else value),
        Field(strict=False, min_length=1, max_length=2),
        WithJsonSchema(_NUMBER_OR_PAIR),
    ]
    """Length of the shorter side in pixels, or `[height, width]`."""

    def is_fixed(self) -> bool:
        """It draws nothing."""
        return True

    def is_resizing(self) -> bool:
        """It makes a part of a size."""
        return True

    @property
    def size_key(self) -> str:
        """Its own."""
        return "size"

    def size_after(self, given: Pixels | None) -> Pixels | None:
        """Its own, where it has both sides."""
        del given
        return (self.size[1], self.size[0]) if len(self.size) > 1 else None


class _Sized(_Vision):
    size: HeightWidth

    @property
    def size_key(self) -> str:
        """Its own."""
        return "size"

    def size_after(self, given: Pixels | None) -> Pixels | None:
        """Its own."""
        del given
        return self.size[1], self.size[0]


class RandomResizedCrop(_Interpolating, _Sized):
    """Cut a random area of a random aspect ratio out, of ten tries or else the centre, and resize it."""

    scale: Pair = (0.08, 1.0)
    """Share of the image's area."""
    ratio: Pair = (3.0 / 4.0, 4.0 / 3.0)
    """Aspect ratio, width by height; its logarithm is drawn evenly."""

    def is_resizing(self) -> bool:
        """It makes a part of a size."""
        return True

    @model_validator(mode="after")
    def _ranges(self) -> RandomResizedCrop:
        refuse_ranges(self.scale, self.ratio)
        return self


class CenterCrop(_Sized):
    """Cut the centre out. There is no padding: a smaller image is refused."""

    def is_fixed(self) -> bool:
        """It draws nothing."""
        return True


class RandomHorizontalFlip(_Vision):
    """Flip left to right."""

    prob: Probability = 0.5


class RandomRotation(_Vision):
    """Turn counter-clockwise by a random angle."""

    by_container: ClassVar[bool] = True

    prob: Probability = 0.5
    degrees: Annotated[Pair, BeforeValidator(_both_ways), WithJsonSchema(_NUMBER_OR_PAIR)]
    """The angle is drawn between − this and this, or between two angles."""
    interpolation: Annotated[Literal["nearest", "bilinear", "bicubic"], LOWERED] = "nearest"
    expand: bool = False
    """Enlarge the image to hold all of the turned one."""
    center: Pair | None = None
    """[x, y] in pixels from the top left; the image's centre where it is not given."""
    fill: Fill = (0, 0, 0)
    """Of what the turned image does not cover."""

    @model_validator(mode="after")
    def _sensible(self) -> RandomRotation:
        if self.degrees[0] > self.degrees[1]:
            raise ValueError(
                f"expected degrees of at least 0 or [low, high] with low <= high, got {list(self.degrees)}"
            )
        if any(level != int(level) for level in self.fill):
            raise ValueError(f"expected whole levels as fill, got {list(self.fill)}")
        return self

    def size_after(self, given: Pixels | None) -> Pixels | None:
        """The angle decides where the image is enlarged."""
        return None if self.expand else given


class RandomGrayscale(_Vision):
    """Take the colour out, in three equal channels, as Pillow does."""

    whole_numbers: ClassVar[bool] = True

    p: Probability = 0.1
    """Probability that an image is touched."""


class ToTensor(_Vision):
    """Divide uint8 by 255; leave floating-point numbers as they are."""

    makes_floats: ClassVar[bool] = True
    normalizes: ClassVar[bool] = True

    data_format: Layout = "CHW"
    """CHW moves the channels to the front."""

    def is_pointwise(self) -> bool:
        """The division."""
        return True

    def moves_channels_first(self) -> bool:
        """Where it is asked to."""
        return self.data_format == "CHW"

    def makes_picture(self, given: bool) -> bool:
        """Numbers are no picture."""
        del given
        return False


class Normalize(_Vision):
    """Compute (image − mean) / std in float32."""

    channels_last: ClassVar[bool] = False
    makes_floats: ClassVar[bool] = True
    normalizes: ClassVar[bool] = True

    mean: Fill = (0, 0, 0)
    std: Fill = (1, 1, 1)
    data_format: Layout = "CHW"
    """Layout of the image."""
    to_rgb: bool = False
    """Turn the order of the channels round, with `data_format: HWC`."""

    def is_pointwise(self) -> bool:
        """The formula, where it does not turn the channels round."""
        return not self.to_rgb

    def wanted_order(self) -> Literal["chw", "hwc", ""]:
        """As data_format says."""
        return "chw" if self.data_format == "CHW" else "hwc"

    def order_said(self, channels_first: bool) -> str:
        """In its own words."""
        return "data_format: CHW" if channels_first else "data_format: HWC"

    def makes_picture(self, given: bool) -> bool:
        """Numbers are no picture."""
        del given
        return False

    @model_validator(mode="after")
    def _possible(self) -> Normalize:
        if 0 in self.std:
            raise ValueError("expected no 0 in std")
        if self.to_rgb and self.data_format == "CHW":
            raise ValueError("expected data_format: HWC with to_rgb: True")
        return self
