"""RandomApply, which holds operations of its own.

PaddleClas d178931, ppcls/data/preprocess/ops/randaugment.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import Field

from trainer.config.declaration import Catalogue, Declaration, keyed
from trainer.config.ops_augment import (
    AugMix,
    AutoAugment,
    BlurImage,
    ColorJitter,
    RandAugment,
    RandAugmentV2,
    RandAugmentV3,
    RandAugmentV4,
    RawColorJitter,
    TimmAutoAugment,
)
from trainer.config.ops_base import ImageOp
from trainer.config.ops_place import Probability
from trainer.config.ops_vision import RandomGrayscale

APPLIED_OPS = Catalogue(
    RawColorJitter, RandAugment, RandAugmentV2, RandAugmentV3, RandAugmentV4, ColorJitter, RandomGrayscale,
    AutoAugment, TimmAutoAugment, AugMix, BlurImage,
)  # fmt: skip
"""PaddleClas knows the first five in it; whatever changes the colours of uint8 [H, W, 3] may stand there."""
if TYPE_CHECKING:
    AppliedOp: TypeAlias = Declaration
else:  # the union that chooses by name exists at run time only
    AppliedOp = keyed(APPLIED_OPS)


class RandomApply(ImageOp):
    """Apply some operations, all or none."""

    p: Probability
    """Probability that an image is touched."""
    transforms: Annotated[tuple[AppliedOp, ...], Field(strict=False, min_length=1)]

    def makes_picture(self, given: bool) -> bool:
        """It gives back what it gets."""
        return given
