"""What `Arch.name` may be, a declaration a family (PaddleClas d178931, ppcls/arch/backbone)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import Field

from trainer.config.arch_attention import ConvNeXtArch, EfficientNetArch, SwinArch, ViTArch
from trainer.config.arch_base import BaseArch, FiveFactors, Probability, SixFactors, Strides
from trainer.config.arch_convolutions import (
    DenseNetArch,
    MobileNetV1Arch,
    MobileNetV2Arch,
    PPHGNetArch,
    PPLCNetV2Arch,
    Res2NetArch,
    ResNeXtArch,
    SEResNetArch,
    ShuffleNetV2Arch,
    VGGArch,
)  # fmt: skip
from trainer.config.arch_foreign import PaddleClasArch
from trainer.config.declaration import Declaration, named
from trainer.config.extras import Extra
from trainer.config.scalars import Positive

PPLCNET_SCALES = ("0_25", "0_35", "0_5", "0_75", "1_0", "1_5", "2_0", "2_5")
MOBILENET_V3_SCALES = ("0_35", "0_5", "0_75", "1_0", "1_25")


class ResNetArch(BaseArch):
    """ResNet as in the paper (`ResNet50`) and with the improvements B, C and D (`ResNet50_vd`)."""

    names = tuple(f"ResNet{depth}{kind}" for kind in ("", "_vd") for depth in (18, 34, 50, 101, 152, 200))

    lr_mult_list: FiveFactors = (1.0, 1.0, 1.0, 1.0, 1.0)
    """Learning-rate factors of the stem and the four stages."""
    stride_list: Strides = Field(default=(2, 2, 2, 2, 2), validate_default=True)
    """Strides of the stem, the max pooling and stages 2 to 4."""
    data_format: Literal["NCHW"] = "NCHW"
    input_image_channel: Positive = 3


class PPLCNetArch(BaseArch):
    """PP-LCNet, small and made for CPUs."""

    names = tuple(f"PPLCNet_x{scale}" for scale in PPLCNET_SCALES)

    dropout_prob: Probability = 0.2
    class_expand: Positive = 1280
    lr_mult_list: SixFactors = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    """Learning-rate factors of conv1 and of blocks2 to blocks6."""
    stride_list: Strides = Field(default=(2, 2, 2, 2, 2), validate_default=True)
    """Strides of conv1 and of the first blocks of blocks3 to blocks6."""
    use_last_conv: bool = True


class MobileNetV3Arch(BaseArch):
    """MobileNetV3, small and large."""

    names = tuple(
        f"MobileNetV3_{size}_x{scale}" for size in ("small", "large") for scale in MOBILENET_V3_SCALES
    )

    dropout_prob: Probability = 0.2
    class_expand: Positive = 1280


class PPHGNetV2Arch(BaseArch):
    """PP-HGNetV2, made for GPUs."""

    names = tuple(f"PPHGNetV2_B{size}" for size in range(7))

    dropout_prob: Probability = 0.0
    class_expand: Positive = 2048
    lr_mult_list: FiveFactors = (1.0, 1.0, 1.0, 1.0, 1.0)
    """Learning-rate factors of the stem and the four stages."""
    use_last_conv: bool = True


class ExtraArch(Extra, BaseArch):
    """An architecture of the user's own."""

    kind = "model"


ARCHS: tuple[type[Declaration], ...] = (
    ResNetArch, PPLCNetArch, PPLCNetV2Arch, PPHGNetArch, PPHGNetV2Arch, MobileNetV3Arch, ResNeXtArch,
    SEResNetArch, Res2NetArch, MobileNetV1Arch, MobileNetV2Arch, ShuffleNetV2Arch, VGGArch, DenseNetArch,
    EfficientNetArch, SwinArch, ViTArch, ConvNeXtArch, PaddleClasArch,
)  # fmt: skip
if TYPE_CHECKING:
    Arch: TypeAlias = BaseArch
else:  # the union that chooses by name exists at run time only
    Arch = named(ARCHS, extra=ExtraArch)
