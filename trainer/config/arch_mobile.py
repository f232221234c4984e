"""Architectures for phones and CPUs (PaddleClas d178931, ppcls/arch/backbone)."""

from __future__ import annotations

from pydantic import Field, field_validator

from trainer.config import arch_names
from trainer.config.arch_base import BaseArch, Probability, SixFactors, Strides
from trainer.config.scalars import Positive

PPLCNET_BLOCKS = {2: 1, 3: 2, 4: 2, 5: 6, 6: 2}
"""Number of blocks of each stage of PP-LCNet."""


class PPLCNetArch(BaseArch):
    """PP-LCNet, small and made for CPUs."""

    names = arch_names.PPLCNET

    dropout_prob: Probability = 0.2
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


class MobileNetV3Arch(BaseArch):
    """MobileNetV3, small and large."""

    names = arch_names.MOBILENET_V3

    dropout_prob: Probability | None = 0.2
    """None is no dropout."""
    class_expand: Positive = 1280

    @property
    def stage_layers(self) -> tuple[str, ...]:
        """Four of the small one, five of the large one."""
        ends = (0, 2, 7, 10) if "small" in self.name else (0, 2, 5, 11, 14)
        return tuple(f"blocks[{index}]" for index in ends)
