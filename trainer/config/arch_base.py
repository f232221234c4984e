"""What all declarations of architectures share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from trainer.config.declaration import Declaration
from trainer.config.ops_base import Pixels
from trainer.config.scalars import Stride

Factor = Annotated[float, Field(ge=0)]
Stage = Annotated[int, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Strides = Annotated[tuple[Stride, ...], Field(strict=False, min_length=5, max_length=5)]
FiveFactors = Annotated[tuple[Factor, ...], Field(strict=False, min_length=5, max_length=5)]
SixFactors = Annotated[tuple[Factor, ...], Field(strict=False, min_length=6, max_length=6)]


class BaseArch(Declaration):
    """Keys of `Arch` that every architecture takes."""

    exports_one_size: ClassVar[bool] = False
    """Exported, it takes images of one size only: what the transforms make."""
    stages_handed_on: ClassVar[bool] = True
    """`return_stages` is this trainer's to read, not the network's own."""

    name: str
    class_num: Annotated[int, Field(gt=0, le=1_000_000)] = 1000
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
    return_stages: bool | Stage | Annotated[tuple[Stage, ...], Field(strict=False)] | None = None
    """The same by stages: all of them (True), or their numbers from 0; `return_patterns` win."""

    @model_validator(mode="after")
    def _known_stages(self) -> BaseArch:
        known, wanted = self.stage_layers, self.return_stages
        if not self.stages_handed_on or self.return_patterns or wanted in (None, False, ()):
            return self
        if not known:
            raise ValueError(
                f"expected return_patterns, which name layers, got return_stages: {wanted}; {self.name} has "
                "no stages that it knows by number"
            )
        numbers = wanted if isinstance(wanted, tuple) else (wanted,)
        if wanted is not True and any(number >= len(known) for number in numbers):
            raise ValueError(
                f"expected return_stages below {len(known)}, the number of stages of {self.name} "
                f"({', '.join(known)}), got {list(numbers)}"
            )
        return self

    @property
    def published_name(self) -> str:
        """The name under which PaddleClas publishes weights that fit."""
        return self.name

    @property
    def stage_layers(self) -> tuple[str, ...]:
        """The layers that end its stages, as `return_patterns` would name them; empty where it has none.

        PaddleClas d178931, `MODEL_STAGES_PATTERN` of ppcls/arch/backbone.
        """
        return ()

    @property
    def features(self) -> tuple[str, ...]:
        """The layers whose outputs are handed on, by `return_patterns` or else by `return_stages`."""
        wanted, known = self.return_stages, self.stage_layers
        if self.return_patterns or not known or wanted is None or wanted is False:
            return self.return_patterns or ()
        if wanted is True:
            return known
        return tuple(known[number] for number in (wanted if isinstance(wanted, tuple) else (wanted,)))

    def without_features(self) -> BaseArch:
        """Return it as it is where only the logits are of interest."""
        return self.model_copy(update={"return_patterns": None, "return_stages": None})

    def refuse_size(self, size: Pixels) -> str:  # noqa: ARG002 - most take any
        """Return what is expected instead of images of this size; empty where they can be taken."""
        return ""


class ChannelsFirstArch(BaseArch):
    """An architecture whose reference takes its convolutions' data format."""

    data_format: Literal["NCHW", "NHWC"] = "NCHW"
    """Layout in memory; ours computes in NCHW, with the same result."""
