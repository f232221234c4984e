"""Image operations: what all share, those that most configs name, and the table of all.

What `transform_ops` and `Infer.transforms` may name. Parameters, defaults and semantics: PaddleClas d178931,
ppcls/data/preprocess/ops/operators.py. Images are uint8 [H, W, 3] until NormalizeImage, float32 [H, W, 3]
after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field, model_validator

from trainer.config.registry import Lazy, Registry, Spec, keyed, lazy
from trainer.config.scalars import LOWERED, Floats, Fraction, Pair, Pixels, Side, Size

STAGES = 4
"""Of a training whose images grow, see `pipeline`."""


class ImageOp(Spec):
    """An operation on an image: what it takes and what it makes of it."""

    channels_last: ClassVar[bool] = True
    """It takes [H, W, C] only."""
    whole_numbers: ClassVar[bool] = True
    """It takes uint8 only, so it stands before whatever makes floating-point numbers."""
    makes_floats: ClassVar[bool] = False
    """It makes float32 of uint8."""
    normalizes: ClassVar[bool] = False
    """It makes the numbers that a network takes."""
    has_backend: ClassVar[bool] = False
    """It is told which library computes."""
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

    @property
    def size_key(self) -> str:
        """Name of the parameter that is the size of its result; empty where none is."""
        return ""

    @property
    def staged_keys(self) -> tuple[str, ...]:
        """Its parameters that have a value for each stage of a training whose images grow."""
        return ()

    def in_stage(self, stage: int) -> ImageOp:  # noqa: ARG002 - most are the same in all
        """Return it as it is in a stage, from 0 and below STAGES."""
        return self

    def moves_channels_first(self) -> bool:
        """Tell whether its result is [C, H, W] whatever it gets."""
        return False

    def is_fixed(self) -> bool:
        """Tell whether it makes the same uint8 of an image each time: it draws nothing."""
        return False

    def is_resizing(self) -> bool:
        """Tell whether it makes a size of all or a part of an image, which a decoder may help with."""
        return False

    def is_pointwise(self) -> bool:
        """Tell whether each number of its result comes from one number and its channel alone."""
        return False

    def makes_picture(self, given: bool) -> bool:  # noqa: ARG002 - most make arrays
        """Tell whether PaddleClas hands a picture of Pillow on, where it is given one or not.

        Here all images are arrays; this only tells which library Paddle's own transforms would use.
        """
        return False


class SizedOp(ImageOp):
    """An operation whose result has a size that the config says."""

    size: Size

    @property
    def size_key(self) -> str:
        """Its own."""
        return "size"

    def size_after(self, given: Pixels | None) -> Pixels | None:
        """Its own."""
        del given
        return self.size


def given_pictures(ops: Sequence[ImageOp]) -> list[bool]:
    """Tell for each operation of a list whether PaddleClas would give it a picture of Pillow."""
    found, picture = [], False
    for op in ops:
        found.append(picture)
        picture = op.makes_picture(picture)
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


Interpolation = Annotated[
    Literal["nearest", "bilinear", "area", "bicubic", "lanczos", "box", "hamming", "random"], LOWERED
]
Backend = Annotated[Literal["cv2", "pil"], LOWERED]
_ONLY_CV2, _ONLY_PIL = frozenset({"area"}), frozenset({"box", "hamming"})


class DecodeImage(ImageOp):
    """Decode the file's bytes."""

    has_backend: ClassVar[bool] = True
    channels_last: ClassVar[bool] = False
    whole_numbers: ClassVar[bool] = False

    to_np: bool = True
    """False hands a PIL image to the next operation; with backend cv2, OpenCV's array: BGR, channels last."""
    to_rgb: bool = True
    """Channel order of the result: RGB, or BGR where false."""
    channel_first: bool = False
    """[3, H, W] instead of [H, W, 3]."""
    backend: Backend = "cv2"

    def is_fixed(self) -> bool:
        """It draws nothing."""
        return True

    def size_after(self, given: Pixels | None) -> Pixels | None:
        """The file decides."""
        del given
        return None

    def makes_picture(self, given: bool) -> bool:
        """Where it is told to."""
        del given
        return not self.to_np and self.backend == "pil"

    @property
    def makes_rgb(self) -> bool:
        """The order of its channels: of what is no array made to order, it is the backend's."""
        return self.to_rgb if self.to_np else self.backend == "pil"

    def moves_channels_first(self) -> bool:
        """Of arrays only."""
        return self.channel_first and self.to_np


class _Resizing(ImageOp):
    has_backend: ClassVar[bool] = True

    interpolation: Interpolation | None = None
    """bilinear where it is not given; random draws bilinear or bicubic for each image."""
    backend: Backend = "cv2"
    """cv2 does not smooth when it makes an image smaller, except with area; pil does."""

    @model_validator(mode="after")
    def _known_there(self) -> _Resizing:
        if self.interpolation in (_ONLY_PIL if self.backend == "cv2" else _ONLY_CV2):
            raise ValueError(
                f"expected an interpolation that backend {self.backend} has, got {self.interpolation!r}; "
                f"set backend: {'pil' if self.backend == 'cv2' else 'cv2'}"
            )
        return self

    def is_resizing(self) -> bool:
        """It makes a part of a size."""
        return True

    def takes_floats(self) -> bool:
        """Pillow resizes whole numbers only."""
        return self.backend == "cv2"


class ResizeImage(_Resizing):
    """Resize to a size, or so that the shorter side has a length."""

    size: Size | None = None
    resize_short: Side | None = None
    """Length of the shorter side in pixels; the aspect ratio stays."""
    return_numpy: bool = True
    """False hands a PIL image on, with backend pil."""

    def is_fixed(self) -> bool:
        """Where its interpolation is."""
        return self.interpolation != "random"

    def makes_picture(self, given: bool) -> bool:
        """Pillow makes one where it is told to."""
        del given
        return self.backend == "pil" and not self.return_numpy

    @model_validator(mode="after")
    def _one_way(self) -> ResizeImage:
        if (self.size is None) == (self.resize_short is None):
            raise ValueError("expected exactly one of size and resize_short")
        return self

    def size_after(self, given: Pixels | None) -> Pixels | None:
        """Its own; where only the shorter side has one, a square stays a square."""
        if self.resize_short is not None and given is not None and given[0] == given[1]:
            return (self.resize_short, self.resize_short)
        return self.size

    @property
    def size_key(self) -> str:
        """Where not only the shorter side has one."""
        return "size" if self.size is not None else ""


class CropImage(SizedOp):
    """Cut the centre out. There is no padding: a smaller image is refused."""

    whole_numbers: ClassVar[bool] = False

    def is_fixed(self) -> bool:
        """It draws nothing."""
        return True


class RandCropImage(_Resizing, SizedOp):
    """Cut a random area of a random aspect ratio out and resize it."""

    progress_size: (
        Annotated[tuple[Size, ...], Field(strict=False, min_length=STAGES, max_length=STAGES)] | None
    ) = None
    """The size in each quarter of the epochs, instead, with `Global.train_mode: progressive`."""
    scale: Pair = (0.08, 1.0)
    """Share of the image's area."""
    ratio: Pair = (3.0 / 4.0, 4.0 / 3.0)
    """Aspect ratio, width by height."""
    use_log_aspect: bool = False
    """Draw the logarithm of the aspect ratio evenly, instead of the ratio."""

    @model_validator(mode="after")
    def _ranges(self) -> RandCropImage:
        refuse_ranges(self.scale, self.ratio)
        return self

    @property
    def staged_keys(self) -> tuple[str, ...]:
        """The sizes."""
        return ("progress_size",) if self.progress_size is not None else ()

    def in_stage(self, stage: int) -> RandCropImage:
        """With the stage's size."""
        if self.progress_size is None:
            return self
        return self.model_copy(update={"size": self.progress_size[stage]})


class RandFlipImage(ImageOp):
    """Flip every second image."""

    whole_numbers: ClassVar[bool] = False

    flip_code: Literal[1, 0, -1] = 1
    """1 left to right, 0 top to bottom, -1 both."""

    def makes_picture(self, given: bool) -> bool:
        """It flips what it gets."""
        return given


class NormalizeImage(ImageOp):
    """Compute (image × scale − mean) / std in float32."""

    channels_last: ClassVar[bool] = False
    whole_numbers: ClassVar[bool] = False
    makes_floats: ClassVar[bool] = True
    normalizes: ClassVar[bool] = True

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
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (1, 3):
                raise ValueError(f"expected 3 numbers in {name}, one a channel, got {len(numbers)}")
        if 0.0 in self.std:
            raise ValueError("expected no 0 in std")
        return self

    def is_pointwise(self) -> bool:
        """The formula."""
        return True

    def wanted_order(self) -> Literal["chw", "hwc", ""]:
        """As order says."""
        return "chw" if self.order == "chw" else "hwc"


class ToCHWImage(ImageOp):
    """Move the channels to the front. Only `Infer.transforms` needs it; a dataset does it by itself."""

    whole_numbers: ClassVar[bool] = False

    def is_pointwise(self) -> bool:
        """It changes no number."""
        return True

    def moves_channels_first(self) -> bool:
        """All that it does."""
        return True


class RandomErasing(ImageOp):
    """Overwrite a random rectangle. Stands after NormalizeImage."""

    whole_numbers: ClassVar[bool] = False

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
    attempt: Annotated[int, Field(gt=0, le=100_000)] = 100
    use_log_aspect: bool = False
    mode: Literal["const", "rand", "pixel"] = "const"

    @model_validator(mode="after")
    def _ranges(self) -> RandomErasing:
        if not 0 < self.sl <= self.sh <= 1:
            raise ValueError(f"expected 0 < sl <= sh <= 1, got sl {self.sl} and sh {self.sh}")
        if not 0 < self.r1 <= 1:
            raise ValueError(f"expected 0 < r1 <= 1, got {self.r1}")
        if len(self.mean) not in (1, 3):
            raise ValueError(f"expected 3 numbers in mean, one a channel, got {len(self.mean)}")
        return self


OPS = Registry(
    DecodeImage, ResizeImage, CropImage, RandCropImage, RandFlipImage, NormalizeImage, ToCHWImage,
    RandomErasing,
    *lazy(
        "trainer.config.ops_augment",
        "TimmAutoAugment AutoAugment RandAugment RandAugmentV2 RandAugmentV3 RandAugmentV4 AugMix "
        "ColorJitter PCALighting BlurImage",
    ),
    *lazy(
        "trainer.config.ops_crop_pad",
        "RandomCropImage RandCropImageV2 CropImageAtRatio CropWithPadding Padv2 Pad RandomRot90 "
        "RandomInterpolationAugment",
    ),
    *lazy("trainer.config.ops_crop_pad", "Cutout HideAndSeek GridMask"),
    *lazy(
        "trainer.config.ops_vision",
        "Resize RandomResizedCrop CenterCrop RandomHorizontalFlip RandomRotation RandomGrayscale ToTensor "
        "Normalize",
    ),
    *lazy("trainer.config.ops_augment", "RandomApply"),
)  # fmt: skip
if TYPE_CHECKING:
    Op: TypeAlias = ImageOp
else:  # the union that chooses by name exists at run time only
    Op = keyed(OPS, extra=Lazy("trainer.config.extras", "ExtraOp"))
