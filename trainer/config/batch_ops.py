"""Batch operations: what `DataLoader.Train.dataset.batch_transform_ops` may name.

Parameters, defaults and semantics: PaddleClas d178931, ppcls/data/preprocess/batch_ops/batch_operators.py.
Each works on a rank's whole batch once its images are read, and makes labels float32 [B, class_num].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import AfterValidator, Field

from trainer.config.declaration import Catalogue, Declaration, keyed, later

BATCH_OPS = Catalogue(
    *later("trainer.config.batch_ops_pairs", "MixupOperator CutmixOperator"),
    *later("trainer.config.batch_ops_mixed", "OpSampler FmixOperator MixupCutmixHybrid"),
)  # fmt: skip
if TYPE_CHECKING:
    BatchOp: TypeAlias = Declaration
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
