"""Image operations: what `transform_ops` and `Infer.transforms` may name.

Parameters, defaults and semantics: PaddleClas d178931, ppcls/data/preprocess/ops/operators.py.
Images are uint8 [H, W, 3] until NormalizeImage, float32 [H, W, 3] after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import Field, model_validator

from trainer.config.declaration import Declaration, keyed
from trainer.config.scalars import Floats, Fraction, Pair, Positive, Size

Interpolation = Literal["nearest", "bilinear", "area", "bicubic", "lanczos", "box", "hamming", "random"]
Backend = Literal["cv2", "pil"]


class DecodeImage(Declaration):
    """Decode the file's bytes."""

    to_np: bool = True
    """False hands a PIL image to the next operation."""
    to_rgb: bool = True
    """Channel order of the result: RGB, or BGR where false."""
    channel_first: bool = False
    """[3, H, W] instead of [H, W, 3]."""
    backend: Backend = "cv2"


class ResizeImage(Declaration):
    """Resize to a size, or so that the shorter side has a length."""

    size: Size | None = None
    resize_short: Positive | None = None
    """Length of the shorter side in pixels; the aspect ratio stays."""
    interpolation: Interpolation | None = None
    backend: Backend = "cv2"
    return_numpy: bool = True

    @model_validator(mode="after")
    def _one_way(self) -> ResizeImage:
        if (self.size is None) == (self.resize_short is None):
            raise ValueError("expected exactly one of size and resize_short")
        return self


class CropImage(Declaration):
    """Cut the centre out. There is no padding: a smaller image is refused."""

    size: Size


class RandCropImage(Declaration):
    """Cut a random area of a random aspect ratio out and resize it."""

    size: Size
    progress_size: Size | None = None
    scale: Pair = (0.08, 1.0)
    """Share of the image's area."""
    ratio: Pair = (3.0 / 4.0, 4.0 / 3.0)
    """Aspect ratio."""
    interpolation: Interpolation | None = None
    use_log_aspect: bool = False
    """Draw the logarithm of the aspect ratio evenly, instead of the ratio."""
    backend: Backend = "cv2"


class RandFlipImage(Declaration):
    """Flip every second image."""

    flip_code: Literal[1, 0, -1] = 1
    """1 left to right, 0 top to bottom, -1 both."""


class NormalizeImage(Declaration):
    """Compute (image × scale − mean) / std in float32."""

    scale: Fraction | None = None
    """1/255 where it is not given."""
    mean: Floats = (0.485, 0.456, 0.406)
    std: Floats = (0.229, 0.224, 0.225)
    order: Literal["chw", "hwc", ""] = "chw"
    """Layout of the image; PaddleClas takes anything but `chw` for [H, W, C]."""
    output_fp16: bool = False
    channel_num: Literal[3, 4] = 3
    """4 appends a channel of zeros."""

    @model_validator(mode="after")
    def _three_channels(self) -> NormalizeImage:
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, 3):
                raise ValueError(f"expected 3 numbers in {name}, one a channel")
        if 0.0 in self.std:
            raise ValueError("expected no 0 in std")
        return self


class ToCHWImage(Declaration):
    """Move the channels to the front. Only `Infer.transforms` needs it; a dataset does it by itself."""


class RandomErasing(Declaration):
    """Overwrite a random rectangle. Stands after NormalizeImage."""

    EPSILON: Fraction = Field(default=0.5, ge=0, le=1)
    """Probability that an image is touched."""
    sl: Fraction = 0.02
    """Smallest share of the area."""
    sh: Fraction = 0.4
    """Largest share of the area."""
    r1: Fraction = 0.3
    """Smallest aspect ratio; the largest is its inverse."""
    mean: Floats = (0.0, 0.0, 0.0)
    """Fill of mode `const`."""
    attempt: Positive = 100
    use_log_aspect: bool = False
    mode: Literal["const", "rand", "pixel"] = "const"


OPS: tuple[type[Declaration], ...] = (
    DecodeImage,
    ResizeImage,
    CropImage,
    RandCropImage,
    RandFlipImage,
    NormalizeImage,
    ToCHWImage,
    RandomErasing,
)
if TYPE_CHECKING:
    Op: TypeAlias = Declaration
else:  # the union that chooses by name exists at run time only
    Op = keyed(OPS)
