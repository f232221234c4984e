"""ResNet as an `Arch` (PaddleClas d178931, ppcls/arch/backbone/legendary_models/resnet.py)."""

from __future__ import annotations

from pydantic import Field

from trainer.config import arch_names
from trainer.config.arch_base import ChannelsFirstArch, FiveFactors, Strides
from trainer.config.scalars import Positive


class ResNetArch(ChannelsFirstArch):
    """ResNet as in the paper (`ResNet50`) and with the improvements B, C and D (`ResNet50_vd`)."""

    names = arch_names.RESNET

    lr_mult_list: FiveFactors = (1.0, 1.0, 1.0, 1.0, 1.0)
    """Learning-rate factors of the stem and the four stages."""
    stride_list: Strides = Field(default=(2, 2, 2, 2, 2), validate_default=True)
    """Strides of the stem, the max pooling and stages 2 to 4."""
    input_image_channel: Positive = 3
