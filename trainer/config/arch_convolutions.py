"""Architectures made of convolutions, apart from those that most fine-tuning starts with."""

from __future__ import annotations

from typing import Literal

from trainer.config.arch_base import BaseArch, ChannelsFirstArch, Probability
from trainer.config.scalars import Positive

_WIDE = ("32x4d", "64x4d")
MOBILENET_SCALES = ("_x0_25", "_x0_5", "_x0_75", "")


class PPLCNetV2Arch(BaseArch):
    """PP-LCNetV2: several depthwise convolutions side by side, which become one after training."""

    names = tuple(f"PPLCNetV2_{size}" for size in ("small", "base", "large"))

    class_expand: Positive = 1280
    use_last_conv: bool = True


class PPHGNetArch(BaseArch):
    """PP-HGNet, made for GPUs. Its base size takes no `dropout_prob` in PaddleClas; here it does."""

    names = tuple(f"PPHGNet_{size}" for size in ("tiny", "small", "base"))

    class_expand: Positive = 2048
    use_last_conv: bool = True
    dropout_prob: Probability | None = None
    """None is 0, and 0.2 for the base size."""


class ResNeXtArch(ChannelsFirstArch):
    """ResNeXt and ResNeXt_vd: a bottleneck in 32 or 64 groups."""

    names = tuple(
        f"ResNeXt{depth}{kind}_{wide}" for kind in ("", "_vd") for depth in (50, 101, 152) for wide in _WIDE
    )

    input_image_channel: Literal[3] = 3


class SEResNetArch(BaseArch):
    """ResNet_vd whose blocks weigh their channels."""

    names = tuple(f"SE_ResNet{depth}_vd" for depth in (18, 34, 50))


class Res2NetArch(BaseArch):
    """Res2Net and Res2Net_vd: a bottleneck whose channels are filtered one after the other."""

    names = (
        "Res2Net50_26w_4s", "Res2Net50_14w_8s", "Res2Net50_vd_26w_4s", "Res2Net101_vd_26w_4s",
        "Res2Net200_vd_26w_4s",
    )  # fmt: skip


class MobileNetV1Arch(BaseArch):
    """MobileNetV1."""

    names = tuple(f"MobileNetV1{scale}" for scale in MOBILENET_SCALES)


class MobileNetV2Arch(ChannelsFirstArch):
    """MobileNetV2."""

    names = tuple(f"MobileNetV2{scale}" for scale in (*MOBILENET_SCALES, "_x1_5", "_x2_0"))


class ShuffleNetV2Arch(BaseArch):
    """ShuffleNetV2; `swish` is scale 1 with that activation."""

    names = tuple(
        f"ShuffleNetV2_{kind}" for kind in ("x0_25", "x0_33", "x0_5", "x1_0", "x1_5", "x2_0", "swish")
    )


class VGGArch(BaseArch):
    """VGG without batch norm; needs images of 224 pixels."""

    names = tuple(f"VGG{depth}" for depth in (11, 13, 16, 19))

    stop_grad_layers: int = 0
    """Number of the first convolution blocks whose parameters do not learn."""


class DenseNetArch(BaseArch):
    """DenseNet."""

    names = tuple(f"DenseNet{depth}" for depth in (121, 161, 169, 201, 264))

    dropout: Probability = 0.0
    bn_size: Positive = 4
    """Width of a layer's bottleneck, as a multiple of the growth rate."""
