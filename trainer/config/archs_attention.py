"""Architectures made of attention, or trained like them, and EfficientNet."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from trainer.config.archs import BaseArch, DropRate, Factor
from trainer.config.registry import Spec
from trainer.config.scalars import Pixels


class EfficientNetOverrides(Spec):
    """Parameters of EfficientNet that PaddleClas takes under `override_params` only."""

    drop_connect_rate: DropRate = 0.2
    """Chance that the last block's path is left out for an image; less before it."""
    dropout_rate: DropRate | None = None
    """Before the logits; None is the size's own, 0.2 to 0.5."""


class EfficientNetArch(BaseArch):
    """EfficientNet B0 to B7, and the small B0 without squeeze-and-excite."""

    padding_type: Literal["SAME", "DYNAMIC", "VALID"] | None = None
    """None is DYNAMIC for the small one, else SAME: TensorFlow's padding for the size's own images."""
    use_se: bool | None = None
    """None is False for the small one, else True."""
    override_params: EfficientNetOverrides = EfficientNetOverrides()


class TransformerArch(BaseArch):
    """What the transformers share."""

    drop_rate: DropRate = 0.0
    """Dropout of the tokens."""
    attn_drop_rate: DropRate = 0.0
    """Dropout of the attention's weights."""


class ViTArch(TransformerArch):
    """Vision transformers and DeiT; each takes images of the size in its name only."""

    drop_path_rate: DropRate = 0.0
    """Chance that the last block's paths are left out for an image; less before it."""

    @property
    def side(self) -> int:
        """Of its images, in pixels."""
        return int(self.name.rpartition("_")[2])

    def refuse_size(self, size: Pixels) -> str:
        """Any but its own."""
        return (
            "" if size == (self.side, self.side) else f"{self.side} × {self.side}, which {self.name} is for"
        )


class SwinArch(TransformerArch):
    """Swin transformers."""

    exports_one_size: ClassVar[bool] = True  # how often windows fit in is computed while it is written out

    drop_path_rate: DropRate | None = None
    """As above; None is the size's own: 0.2 tiny, 0.3 small, 0.5 base, 0.1 large."""
    use_fused_attn: bool = False
    """Ours computes the same in plain operations."""
    use_fused_linear: bool = False
    """As above."""

    @property
    def fused_keys(self) -> tuple[str, ...]:
        """Those of the two that are asked for."""
        asked = {"use_fused_attn": self.use_fused_attn, "use_fused_linear": self.use_fused_linear}
        return tuple(key for key, told in asked.items() if told)


class ConvNeXtArch(BaseArch):
    """ConvNeXt."""

    drop_path_rate: DropRate = 0.0
    """Chance that the last block's path is left out for an image; less before it."""
    layer_scale_init_value: Factor = Field(default=1e-6)
    """First weight of each block's path; 0 for no weights."""
    head_init_scale: Factor = 1.0
    """Factor on the initial weights of the last layer."""
