"""What an evaluation found, beside what always answering the largest class would have found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from trainer.protocol.codec import Count, UnlessNone, Within

_Fraction: TypeAlias = Annotated[float, Within(0, 1)]
_SURE = 2.0
"""Standard errors of a share. One run in about twenty is that far off by chance alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """The last evaluation of images that have one label each.

    Attributes:
        top1: Share of the images whose class was named, 0 to 1.
        best_top1: The best of the run so far.
        largest_class: Share of the images that are of the most frequent class: the top1 of a model that
            names this class whatever it sees.
        images: How many were evaluated.
        best_epoch: Epochs completed when `best_top1` was measured; None where it is not known.
    """

    top1: _Fraction
    best_top1: _Fraction
    largest_class: _Fraction
    images: Annotated[int, Within(least=1)]
    best_epoch: Annotated[Count | None, UnlessNone()] = None


def describe_evaluated(found: Evaluated) -> str:
    """Write `top1 0.57 (best 0.6, epoch 4); always answering the largest class: 0.25`."""
    at = f", epoch {found.best_epoch}" if found.best_epoch else ""
    best = f" (best {found.best_top1:.3g}{at})" if found.best_top1 != found.top1 else ""
    return f"top1 {found.top1:.3g}{best}; always answering the largest class: {found.largest_class:.3g}"


def describe_failure(found: Evaluated) -> str | None:
    """Say that a finished run has learned nothing that shows; None where it has.

    The best of a run is compared. It counts as no better up to two standard errors of a share of so many
    images above the other: of 60 images and four classes up to 0.36 instead of 0.25.
    """
    floor = found.largest_class
    if found.best_top1 <= floor:
        return f"no better than always answering the largest class: top1 {found.best_top1:.3g} of {floor:.3g}"
    if found.best_top1 <= floor + _SURE * math.sqrt(floor * (1 - floor) / found.images):
        return (
            f"top1 {found.best_top1:.3g} of {found.images} images cannot be told from always answering the "
            f"largest class: {floor:.3g}"
        )
    return None
