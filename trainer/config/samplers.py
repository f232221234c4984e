"""Samplers: what `DataLoader.*.sampler` may name (PaddleClas d178931, ppcls/data/dataloader)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import Field, field_validator, model_validator

from trainer.config.registry import Registry, Spec, named
from trainer.config.scalars import Positive


class DistributedBatchSampler(Spec):
    """Deals an epoch's samples out to the ranks in batches."""

    batch_size: Positive
    """Samples a rank and step, not of all ranks together."""
    drop_last: bool = False
    shuffle: bool = False


class RASampler(DistributedBatchSampler):
    """Repeated augmentation: each sample several times, next to each other and on different ranks.

    An epoch is as long as without it, so it sees a part of the samples.
    """

    num_repeats: Positive = 3
    """How often a sample stands in the order."""
    selected_round: Positive = 256
    """The epoch's length is rounded down to a multiple of it."""


class ClassBalancedSampler(Spec):
    """Ours: each class as often in an epoch, which is as long as without it.

    Images of small classes come several times, each time with draws of their own, and of large ones a part,
    another one in each epoch: after some epochs each image of a class was seen as often as any other of it.
    """

    batch_size: Positive
    """Samples a rank and step, not of all ranks together."""
    drop_last: bool = False
    shuffle: bool = True
    """Must be True: an order by classes would train on one of them after the other."""

    @field_validator("shuffle")
    @classmethod
    def _shuffled(cls, shuffle: bool) -> bool:
        if not shuffle:
            raise ValueError("expected True, because ClassBalancedSampler mixes the classes; remove it")
        return shuffle


class MultiScaleSampler(Spec):
    """Batches of several image sizes, the smaller the more images, for a MultiScaleDataset."""

    scales: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)]
    """Sides of the square images in pixels."""
    first_bs: Positive
    """Samples a rank and step at the first of the scales; the others have about as many pixels."""
    divided_factor: Positive = 32
    """Sides are rounded down to a multiple of it."""
    is_training: bool = True
    """False takes the first scale only and keeps the list's order."""

    @model_validator(mode="after")
    def _large_enough(self) -> MultiScaleSampler:
        small = [scale for scale in self.scales if scale < self.divided_factor]
        if small:
            raise ValueError(
                f"expected scales of at least divided_factor, {self.divided_factor}, got {small}"
            )
        return self

    @property
    def batch_size(self) -> int:
        """Samples a rank and step at the first scale."""
        return self.first_bs


SAMPLERS = Registry(DistributedBatchSampler, RASampler, ClassBalancedSampler, MultiScaleSampler)
if TYPE_CHECKING:
    Sampler: TypeAlias = DistributedBatchSampler | RASampler | ClassBalancedSampler | MultiScaleSampler
else:  # the union that chooses by name exists at run time only
    Sampler = named(SAMPLERS, default="DistributedBatchSampler")
