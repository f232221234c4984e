"""Other architectures made of convolutions (PaddleClas d178931, ppcls/arch/backbone)."""

from __future__ import annotations

from trainer.config.archs import (
    BaseArch,
    ChannelsFirstArch,
    DropRate,
)
from trainer.config.scalars import Pixels, Positive


class MobileNetV1Arch(BaseArch):
    """MobileNetV1."""

    @property
    def stage_layers(self) -> tuple[str, ...]:
        """The layers before each halving but the last."""
        return tuple(f"blocks[{index}]" for index in (0, 2, 4, 10))


class MobileNetV2Arch(ChannelsFirstArch):
    """MobileNetV2."""


class MobileNetV3Arch(BaseArch):
    """MobileNetV3, small and large."""

    dropout_prob: DropRate | None = 0.2
    """None is no dropout."""
    class_expand: Positive = 1280

    @property
    def stage_layers(self) -> tuple[str, ...]:
        """Four of the small one, five of the large one."""
        ends = (0, 2, 7, 10) if "small" in self.name else (0, 2, 5, 11, 14)
        return tuple(f"blocks[{index}]" for index in ends)


class ShuffleNetV2Arch(BaseArch):
    """ShuffleNetV2; `swish` is scale 1 with that activation."""


class VGGArch(BaseArch):
    """VGG without batch norm; needs images of 224 pixels."""

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

    dropout: DropRate = 0.0
    bn_size: Positive = 4
    """Width of a layer's bottleneck, as a multiple of the growth rate."""


class RepVGGArch(BaseArch):
    """RepVGG with the branches of training; in groups of 2 or 4, and `se` with weighed channels."""


class HRNetArch(BaseArch):
    """HRNet with a head for classification, and its variant that weighs channels.

    Sides of images must be multiples of 32.
    """

    @property
    def stage_layers(self) -> tuple[str, ...]:
        """The last of them."""
        return ("st4",)

    def refuse_size(self, size: Pixels) -> str:
        """Where a branch would not have half the size of the one before."""
        step = 32
        fits = not any(side % step for side in size)
        return "" if fits else f"sides that are multiples of {step}, which {self.name} takes"
