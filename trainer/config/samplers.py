"""Samplers: what `DataLoader.*.sampler` may name (PaddleClas d178931, ppcls/data/dataloader)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from trainer.config.declaration import Catalogue, Declaration, later, named
from trainer.config.scalars import Positive


class DistributedBatchSampler(Declaration):
    """Deals an epoch's samples out to the ranks in batches."""

    batch_size: Positive
    """Samples a rank and step, not of all ranks together."""
    drop_last: bool = False
    shuffle: bool = False


SAMPLERS = Catalogue(
    DistributedBatchSampler, *later("trainer.config.samplers_special", "RASampler MultiScaleSampler"),
)  # fmt: skip

if TYPE_CHECKING:
    from trainer.config.samplers_special import MultiScaleSampler, RASampler

    Sampler: TypeAlias = DistributedBatchSampler | RASampler | MultiScaleSampler
else:  # the union that chooses by name exists at run time only
    Sampler = named(SAMPLERS, default="DistributedBatchSampler")
