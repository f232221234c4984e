"""What `Arch.name` may be, a declaration a family (PaddleClas d178931, ppcls/arch/backbone)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field

from trainer.config.declaration import Declaration, named
from trainer.config.scalars import Positive, Stride

PPLCNET_SCALES = ("0_25", "0_35", "0_5", "0_75", "1_0", "1_5", "2_0", "2_5")
MOBILENET_V3_SCALES = ("0_35", "0_5", "0_75", "1_0", "1_25")

Factor = Annotated[float, Field(ge=0)]
Strides = Annotated[tuple[Stride, ...], Field(strict=False, min_length=5, max_length=5)]
FiveFactors = Annotated[tuple[Factor, ...], Field(strict=False, min_length=5, max_length=5)]
SixFactors = Annotated[tuple[Factor, ...], Field(strict=False, min_length=6, max_length=6)]


class _Arch(Declaration):
    name: str
    class_num: Positive = 1000
    """Number of classes; labels run from 0 to class_num − 1."""
    pretrained: bool | str = False
    """True for PaddleClas's ImageNet weights, or a path to a `.pdparams` file (the ending may be missing)."""
    use_ssld: bool = False
    """With `pretrained: True`, take the weights that were distilled with SSLD."""
    use_sync_bn: bool = False
    """Batch-norm statistics over all ranks (GPU only)."""
    freeze_norm_stats: bool = False
    """Ours: batch norm uses and keeps its stored statistics in training too."""


class ResNetArch(_Arch):
    """ResNet as in the paper (`ResNet50`) and with the improvements B, C and D (`ResNet50_vd`)."""

    names = tuple(f"ResNet{depth}{kind}" for kind in ("", "_vd") for depth in (18, 34, 50, 101, 152, 200))

    lr_mult_list: FiveFactors = (1.0, 1.0, 1.0, 1.0, 1.0)
    """Learning-rate factors of the stem and the four stages."""
    stride_list: Strides = Field(default=(2, 2, 2, 2, 2), validate_default=True)
    """Strides of the stem, the max pooling and stages 2 to 4."""
    data_format: Literal["NCHW"] = "NCHW"
    input_image_channel: Positive = 3


class PPLCNetArch(_Arch):
    """PP-LCNet, small and made for CPUs."""

    names = tuple(f"PPLCNet_x{scale}" for scale in PPLCNET_SCALES)

    dropout_prob: float = Field(default=0.2, ge=0, lt=1)
    class_expand: Positive = 1280
    lr_mult_list: SixFactors = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    """Learning-rate factors of conv1 and of blocks2 to blocks6."""
    stride_list: Strides = Field(default=(2, 2, 2, 2, 2), validate_default=True)
    """Strides of conv1 and of the first blocks of blocks3 to blocks6."""
    use_last_conv: bool = True


class MobileNetV3Arch(_Arch):
    """MobileNetV3, small and large."""

    names = tuple(
        f"MobileNetV3_{size}_x{scale}" for size in ("small", "large") for scale in MOBILENET_V3_SCALES
    )

    dropout_prob: float = Field(default=0.2, ge=0, lt=1)
    class_expand: Positive = 1280


class PPHGNetV2Arch(_Arch):
    """PP-HGNetV2, made for GPUs."""

    names = tuple(f"PPHGNetV2_B{size}" for size in range(7))

    dropout_prob: float = Field(default=0.0, ge=0, lt=1)
    class_expand: Positive = 2048
    lr_mult_list: FiveFactors = (1.0, 1.0, 1.0, 1.0, 1.0)
    """Learning-rate factors of the stem and the four stages."""
    use_last_conv: bool = True


ARCHS: tuple[type[Declaration], ...] = (ResNetArch, PPLCNetArch, MobileNetV3Arch, PPHGNetV2Arch)
if TYPE_CHECKING:
    Arch: TypeAlias = ResNetArch | PPLCNetArch | MobileNetV3Arch | PPHGNetV2Arch
else:  # the union that chooses by name exists at run time only
    Arch = named(ARCHS)
