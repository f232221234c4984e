"""Batch operations: what `DataLoader.Train.dataset.batch_transform_ops` may name.

Parameters, defaults and semantics: PaddleClas d178931, ppcls/data/preprocess/batch_ops/batch_operators.py.
Each works on a rank's whole batch once its images are read, and makes labels float32 [B, class_num].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import AfterValidator, Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from trainer.config.declaration import Declaration, keyed

_ROUNDING = 1e-9  # 0.1 + 0.2 + 0.7 may come out above 1


class MixupOperator(Declaration):
    """Add each image to another one of the batch (https://arxiv.org/abs/1710.09412)."""

    alpha: float = Field(default=1.0, gt=0.0)
    """Of the Beta distribution that the batch's share is drawn from."""


class CutmixOperator(Declaration):
    """Put a box of another image of the batch into each image (https://arxiv.org/abs/1905.04899)."""

    alpha: float = Field(default=0.2, gt=0.0)
    """Of the Beta distribution that the box's area is drawn from."""


class SampledMixup(MixupOperator):
    """MixupOperator in an OpSampler."""

    prob: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the batches."""


class SampledCutmix(CutmixOperator):
    """CutmixOperator in an OpSampler."""

    prob: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the batches."""


class OpSampler(Declaration):
    """Draw one of several operations for each batch; the probability that is left is for none."""

    MixupOperator: SampledMixup | None = None
    CutmixOperator: SampledCutmix | None = None
    _order: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="wrap")
    @classmethod
    def _remember_order(cls, values: Any, handler: ModelWrapValidatorHandler[OpSampler]) -> OpSampler:
        # The order in the file decides which operation a draw stands for.
        sampler = handler(values)
        written = tuple(values) if isinstance(values, dict) else tuple(cls.model_fields)
        sampler._order = tuple(name for name in written if getattr(sampler, name, None) is not None)
        return sampler

    @model_validator(mode="after")
    def _one_at_most(self) -> OpSampler:
        chosen = [getattr(self, name) for name in type(self).model_fields]
        total = sum(op.prob for op in chosen if op is not None)
        if total > 1.0 + _ROUNDING:
            raise ValueError(f"expected prob of all operations to add up to at most 1, got {total:g}")
        return self

    def choices(self) -> tuple[tuple[SampledMixup | SampledCutmix, float], ...]:
        """Return the operations with their probabilities, in the order of the file."""
        ops = [getattr(self, name) for name in self._order]
        return tuple((op, op.prob) for op in ops)


BATCH_OPS: tuple[type[Declaration], ...] = (MixupOperator, CutmixOperator, OpSampler)
if TYPE_CHECKING:
    BatchOp: TypeAlias = MixupOperator | CutmixOperator | OpSampler
else:  # the union that chooses by name exists at run time only
    BatchOp = keyed(BATCH_OPS)


def _one(ops: Sequence[Declaration]) -> Sequence[Declaration]:
    if len(ops) > 1:
        raise ValueError(
            f"expected one operation, because it leaves no class labels for another, got {len(ops)}; "
            "write them into an OpSampler, each with its prob"
        )
    return ops


BatchOpList = Annotated[tuple[BatchOp, ...], Field(strict=False), AfterValidator(_one)]
