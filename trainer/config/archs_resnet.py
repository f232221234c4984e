"""ResNet and its kin (PaddleClas d178931, ppcls/arch/backbone)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from trainer.config.archs import (
    BaseArch,
    ChannelsFirstArch,
    FiveFactors,
    Strides,
)
from trainer.config.scalars import Positive

_BOTTLENECKS = 50
"""The depth from which on blocks are bottlenecks."""
_LAST_BLOCKS = {
    18: (1, 3, 5, 7), 34: (2, 6, 12, 15), 50: (2, 6, 12, 15), 101: (2, 6, 29, 32), 152: (2, 10, 46, 49),
    200: (2, 14, 62, 65),
}  # fmt: skip


class ResNetArch(ChannelsFirstArch):
    """ResNet as in the paper (`ResNet50`) and with the improvements B, C and D (`ResNet50_vd`)."""

    lr_mult_list: FiveFactors = (1.0, 1.0, 1.0, 1.0, 1.0)
    """Learning-rate factors of the stem and the four stages."""
    stride_list: Strides = Field(default=(2, 2, 2, 2, 2), validate_default=True)
    """Strides of the stem, the max pooling and stages 2 to 4."""
    input_image_channel: Positive = 3
    layer_type: Literal["ConvBNLayer", "DiverseBranchBlock"] = "ConvBNLayer"
    """What the blocks' convolutions are: one with its batch norm, or four branches side by side (dbb)."""
    use_first_short_conv: bool = True
    """False adds the input of the first block as it is, as the paper does; ResNet18 and 34 only."""

    @model_validator(mode="after")
    def _as_wide(self) -> ResNetArch:
        if not self.use_first_short_conv and self.depth >= _BOTTLENECKS:
            raise ValueError(
                f"expected use_first_short_conv: True of {self.name}, whose first block makes four times as "
                "many channels as it gets; remove it"
            )
        return self

    @property
    def depth(self) -> int:
        """Its layers: 18 to 200."""
        return int(self.name.removeprefix("ResNet").partition("_")[0])

    @property
    def published_name(self) -> str:
        """Those of diverse branches are other ones."""
        return f"{self.name}_dbb" if self.layer_type == "DiverseBranchBlock" else self.name

    @property
    def stage_layers(self) -> tuple[str, ...]:
        """The last block of each stage."""
        return tuple(f"blocks[{index}]" for index in _LAST_BLOCKS[self.depth])


class ResNeXtArch(ChannelsFirstArch):
    """ResNeXt and ResNeXt_vd: a bottleneck in 32 or 64 groups."""

    input_image_channel: Literal[3] = 3


class SEResNetArch(BaseArch):
    """ResNet_vd whose blocks weigh their channels."""


class Res2NetArch(BaseArch):
    """Res2Net and Res2Net_vd: a bottleneck whose channels are filtered one after the other."""
