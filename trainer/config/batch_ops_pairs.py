"""Batch operations that put two images of the batch together; see `trainer.config.batch_ops`."""

from __future__ import annotations

from pydantic import Field

from trainer.config.declaration import Declaration


class MixupOperator(Declaration):
    """Add each image to another one of the batch (https://arxiv.org/abs/1710.09412)."""

    alpha: float = Field(default=1.0, gt=0.0)
    """Of the Beta distribution that the batch's share is drawn from."""


class CutmixOperator(Declaration):
    """Put a box of another image of the batch into each image (https://arxiv.org/abs/1905.04899)."""

    alpha: float = Field(default=0.2, gt=0.0)
    """Of the Beta distribution that the box's area is drawn from."""
