"""What all declarations of architectures share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trainer.config.declaration import Declaration
from trainer.config.ops_base import Pixels
from trainer.config.scalars import Positive, Stride

Factor = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Strides = Annotated[tuple[Stride, ...], Field(strict=False, min_length=5, max_length=5)]
FiveFactors = Annotated[tuple[Factor, ...], Field(strict=False, min_length=5, max_length=5)]
SixFactors = Annotated[tuple[Factor, ...], Field(strict=False, min_length=6, max_length=6)]


class BaseArch(Declaration):
    """Keys of `Arch` that every architecture takes."""

    exports_one_size: ClassVar[bool] = False
    """Exported, it takes images of one size only: what the transforms make."""

    name: str
    class_num: Positive = 1000
    """Number of classes; labels run from 0 to class_num − 1."""
    pretrained: bool | str = False
    """True for PaddleClas's ImageNet weights, a `.pdparams` file (the ending may be missing) or its URL."""
    use_ssld: bool = False
    """With `pretrained: True`, take the weights that were distilled with SSLD."""
    use_sync_bn: bool = False
    """Batch-norm statistics over all ranks (GPU only)."""
    freeze_norm_stats: bool = False
    """Ours: batch norm uses and keeps its stored statistics in training too."""
    infer_add_softmax: bool = True
    """Read by export and prediction only."""
    return_patterns: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    """Layers such as `blocks3` or `blocks[2]`, whose outputs are handed on beside `logits`, for losses."""

    def refuse_size(self, size: Pixels) -> str:  # noqa: ARG002 - most take any
        """Return what is expected instead of images of this size; empty where they can be taken."""
        return ""


class ChannelsFirstArch(BaseArch):
    """An architecture whose reference takes its convolutions' data format."""

    data_format: Literal["NCHW", "NHWC"] = "NCHW"
    """Layout in memory; ours computes in NCHW, with the same result."""
