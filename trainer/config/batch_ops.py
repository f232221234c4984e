"""Batch operations: what `DataLoader.Train.dataset.batch_transform_ops` may name, by the table in `data`.

Parameters, defaults and semantics: PaddleClas d178931, ppcls/data/preprocess/batch_ops/batch_operators.py.
Each works on a rank's whole batch once its images are read, and makes labels float32 [B, class_num].
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from trainer.config.registry import Spec
from trainer.config.scalars import Pair, Positive


class BaseBatchOp(Spec):
    """What all have."""

    @property
    def told_classes(self) -> int | None:
        """Number of classes that it is told, which must be the network's; None where it is told none."""
        return None


class MixupOperator(BaseBatchOp):
    """Add each image to another one of the batch (https://arxiv.org/abs/1710.09412)."""

    alpha: float = Field(default=1.0, gt=0.0)
    """Of the Beta distribution that the batch's share is drawn from."""


class CutmixOperator(BaseBatchOp):
    """Put a box of another image of the batch into each image (https://arxiv.org/abs/1905.04899)."""

    alpha: float = Field(default=0.2, gt=0.0)
    """Of the Beta distribution that the box's area is drawn from."""


_ROUNDING = 1e-9  # 0.1 + 0.2 + 0.7 may come out above 1


class FmixOperator(BaseBatchOp):
    """Put a random shape of another image of the batch into each image (https://arxiv.org/abs/2002.12047)."""

    alpha: float = Field(default=1.0, gt=0.0)
    """Of the Beta distribution that the shape's area is drawn from."""
    decay_power: float = Field(default=3.0, ge=0.0)
    """How coarse the shape is: the strength of a frequency falls with this power."""
    max_soft: float = Field(default=0.0, ge=0.0, le=0.5)
    """Half the share of the pixels at the shape's edge where both images are seen."""
    reformulate: bool = False
    """Draw from Beta(alpha + 1, alpha)."""


class SampledFmix(FmixOperator):
    """FmixOperator in an OpSampler."""

    prob: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the batches."""


class SampledMixup(MixupOperator):
    """MixupOperator in an OpSampler."""

    prob: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the batches."""


class SampledCutmix(CutmixOperator):
    """CutmixOperator in an OpSampler."""

    prob: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the batches."""


class OpSampler(BaseBatchOp):
    """Draw one of several operations for each batch; the probability that is left is for none."""

    MixupOperator: SampledMixup | None = None
    CutmixOperator: SampledCutmix | None = None
    FmixOperator: SampledFmix | None = None
    _order: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="wrap")
    @classmethod
    def _remember_order(cls, values: Any, handler: ModelWrapValidatorHandler[OpSampler]) -> OpSampler:
        # The order in the file decides which operation a draw stands for.
        sampler = handler(values)
        written = tuple(values) if isinstance(values, dict) else tuple(cls.model_fields)
        chosen = {name for name, op in sampler if op is not None}
        sampler._order = tuple(name for name in written if name in chosen)
        return sampler

    @model_validator(mode="after")
    def _one_at_most(self) -> OpSampler:
        total = sum(op.prob for _, op in self if op is not None)
        if total > 1.0 + _ROUNDING:
            raise ValueError(f"expected prob of all operations to add up to at most 1, got {total:g}")
        return self

    def choices(self) -> tuple[tuple[SampledMixup | SampledCutmix | SampledFmix, float], ...]:
        """Return the operations with their probabilities, in the order of the file."""
        ops = dict(self)
        return tuple((ops[name], ops[name].prob) for name in self._order)


class MixupCutmixHybrid(BaseBatchOp):
    """Mix each image with its mirror place in the batch, the first with the last, in one of two ways."""

    mixup_alpha: float = Field(default=1.0, ge=0.0)
    """Of the Beta distribution that the share of MixupOperator's way is drawn from; 0 is without that way."""
    cutmix_alpha: float = Field(default=0.0, ge=0.0)
    """Of CutmixOperator's way; 0 is without it."""
    cutmix_minmax: Pair | None = None
    """Draw the box's sides between these shares of the image's, instead of by an area."""
    prob: float = Field(default=1.0, ge=0.0, le=1.0)
    """Share of the batches, pairs or images that are mixed."""
    switch_prob: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of CutmixOperator's way, where there are both."""
    mode: Literal["batch", "pair", "elem"] = "batch"
    """What is mixed in one way: the batch, an image and its mirror, each image by itself."""
    correct_lam: bool = True
    """Count what of a box lies in the image, not what was drawn."""
    label_smoothing: float = Field(default=0.1, ge=0.0, le=1.0)
    num_classes: Positive = 4
    """Must be Arch.class_num."""

    @property
    def told_classes(self) -> int:
        """It makes the labels by it."""
        return self.num_classes

    @property
    def mixes(self) -> bool:
        """Whether MixupOperator's way is one."""
        return self.mixup_alpha > 0

    @property
    def cuts(self) -> bool:
        """Whether CutmixOperator's way is one."""
        return self.strength_of_cutmix > 0

    @property
    def strength_of_cutmix(self) -> float:
        """The alpha of the box, which is 1 with cutmix_minmax."""
        return self.cutmix_alpha if self.cutmix_minmax is None else 1.0

    @model_validator(mode="after")
    def _possible(self) -> MixupCutmixHybrid:
        if not self.mixes and not self.cuts:
            raise ValueError(
                "expected mixup_alpha or cutmix_alpha above 0, or cutmix_minmax, got none of them"
            )
        if self.cutmix_minmax is not None and not 0 <= self.cutmix_minmax[0] < self.cutmix_minmax[1] <= 1:
            raise ValueError(
                "expected cutmix_minmax: [low, high] with 0 <= low < high <= 1, "
                f"got {list(self.cutmix_minmax)}"
            )
        return self
