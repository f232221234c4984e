"""Architectures made of convolutions, apart from those that most fine-tuning starts with."""

from __future__ import annotations

from typing import Literal

from trainer.config import arch_names
from trainer.config.arch_base import BaseArch, ChannelsFirstArch, Probability
from trainer.config.ops_base import Pixels
from trainer.config.scalars import Positive


class PPLCNetV2Arch(BaseArch):
    """PP-LCNetV2: several depthwise convolutions side by side, which become one after training."""

    names = arch_names.PPLCNET_V2

    class_expand: Positive = 1280
    use_last_conv: bool = True


class PPHGNetArch(BaseArch):
    """PP-HGNet, made for GPUs. Its base size takes no `dropout_prob` in PaddleClas; here it does."""

    names = arch_names.PPHGNET

    class_expand: Positive = 2048
    use_last_conv: bool = True
    dropout_prob: Probability | None = None
    """None is 0, and 0.2 for the base size."""


class ResNeXtArch(ChannelsFirstArch):
    """ResNeXt and ResNeXt_vd: a bottleneck in 32 or 64 groups."""

    names = arch_names.RESNEXT

    input_image_channel: Literal[3] = 3


class SEResNetArch(BaseArch):
    """ResNet_vd whose blocks weigh their channels."""

    names = arch_names.SE_RESNET


class Res2NetArch(BaseArch):
    """Res2Net and Res2Net_vd: a bottleneck whose channels are filtered one after the other."""

    names = arch_names.RES2NET


class MobileNetV1Arch(BaseArch):
    """MobileNetV1."""

    names = arch_names.MOBILENET_V1

    @property
    def stage_layers(self) -> tuple[str, ...]:
        """The layers before each halving but the last."""
        return tuple(f"blocks[{index}]" for index in (0, 2, 4, 10))


class MobileNetV2Arch(ChannelsFirstArch):
    """MobileNetV2."""

    names = arch_names.MOBILENET_V2


class ShuffleNetV2Arch(BaseArch):
    """ShuffleNetV2; `swish` is scale 1 with that activation."""

    names = arch_names.SHUFFLENET_V2


class VGGArch(BaseArch):
    """VGG without batch norm; needs images of 224 pixels."""

    names = arch_names.VGG

    stop_grad_layers: int = 0
    """Number of the first convolution blocks whose parameters do not learn."""

    @property
    def stage_layers(self) -> tuple[str, ...]:
        """Its five."""
        return tuple(f"conv_block_{number}" for number in range(1, 6))

    def refuse_size(self, size: Pixels) -> str:
        """Where five halvings, rounded down, do not leave the 7 pixels that its first linear layer takes."""
        return "" if all(side // 32 == 7 for side in size) else f"224 × 224, which {self.name} is for"


class DenseNetArch(BaseArch):
    """DenseNet."""

    names = arch_names.DENSENET

    dropout: Probability = 0.0
    bn_size: Positive = 4
    """Width of a layer's bottleneck, as a multiple of the growth rate."""


class RepVGGArch(BaseArch):
    """RepVGG with the branches of training; in groups of 2 or 4, and `se` with weighed channels."""

    names = arch_names.REPVGG


class HRNetArch(BaseArch):
    """HRNet with a head for classification, and its variant that weighs channels.

    Sides of images must be multiples of 32.
    """

    names = arch_names.HRNET

    @property
    def stage_layers(self) -> tuple[str, ...]:
        """The last of them."""
        return ("st4",)

    def refuse_size(self, size: Pixels) -> str:
        """Where a branch would not have half the size of the one before."""
        step = 32
        fits = not any(side % step for side in size)
        return "" if fits else f"sides that are multiples of {step}, which {self.name} takes"
