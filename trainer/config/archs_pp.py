"""PP-LCNet and PP-HGNet, made for CPUs and for GPUs (PaddleClas d178931, ppcls/arch/backbone)."""

from __future__ import annotations

from pydantic import Field, field_validator

from trainer.config.archs import (
    BaseArch,
    DropRate,
    FiveFactors,
    SixFactors,
    Strides,
)
from trainer.config.scalars import Positive

PPLCNET_BLOCKS = {2: 1, 3: 2, 4: 2, 5: 6, 6: 2}
"""Number of blocks of each stage of PP-LCNet."""


class PPLCNetArch(BaseArch):
    """PP-LCNet, small and made for CPUs."""

    dropout_prob: DropRate = 0.2
    class_expand: Positive = 1280
    lr_mult_list: SixFactors = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    """Learning-rate factors of conv1 and of blocks2 to blocks6."""
    stride_list: Strides = Field(default=(2, 2, 2, 2, 2), validate_default=True)
    """Strides of conv1 and of the first blocks of blocks3 to blocks6."""
    use_last_conv: bool = True
    freeze_befor: str | None = None
    """The layer up to which nothing learns, itself included: `conv1`, `blocks4` or `blocks4[1]`."""

    @property
    def stage_layers(self) -> tuple[str, ...]:
        """Its five."""
        return tuple(f"blocks{number}" for number in PPLCNET_BLOCKS)

    @field_validator("freeze_befor")
    @classmethod
    def _known_layer(cls, name: str | None) -> str | None:
        known = ["conv1"]
        for number, count in PPLCNET_BLOCKS.items():
            known += [f"blocks{number}", *(f"blocks{number}[{index}]" for index in range(count))]
        if name is not None and name not in known:
            counts = ", ".join(f"blocks{number} with {count}" for number, count in PPLCNET_BLOCKS.items())
            raise ValueError(f"expected conv1, or one of {counts} such as blocks4[1], got {name!r}")
        return name


class PPLCNetV2Arch(BaseArch):
    """PP-LCNetV2: several depthwise convolutions side by side, which become one after training."""

    class_expand: Positive = 1280
    use_last_conv: bool = True


class PPHGNetArch(BaseArch):
    """PP-HGNet, made for GPUs. Its base size takes no `dropout_prob` in PaddleClas; here it does."""

    class_expand: Positive = 2048
    use_last_conv: bool = True
    dropout_prob: DropRate | None = None
    """None is 0, and 0.2 for the base size."""


class PPHGNetV2Arch(BaseArch):
    """PP-HGNetV2, made for GPUs."""

    dropout_prob: DropRate = 0.0
    class_expand: Positive = 2048
    lr_mult_list: FiveFactors = (1.0, 1.0, 1.0, 1.0, 1.0)
    """Learning-rate factors of the stem and the four stages."""
    use_last_conv: bool = True
