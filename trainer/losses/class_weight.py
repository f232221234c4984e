"""Factors of classes that have few or many images in the training list.

`class_weight: auto` is w_k = N ÷ (K · n_k), with N images of K classes, n_k of them of class k: what
scikit-learn calls balanced (`compute_class_weight`, after King and Zeng, 2001). Each class so has the same
part in the loss, and the mean over the images of the list is 1, so that loss and learning rate keep their
size. Every rank counts the same list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.config.losses import BaseLoss, ClassWeightedLoss

Counts = NDArray[np.int64]
"""Images of each class, [K]."""
_SHOWN = 10


def balanced_weights(counts: Counts) -> tuple[float, ...]:
    """Return a factor for each class, above 0; that of a class without images, which labels may be
    smoothed to all the same, is 1.

    Args:
        counts: At least one image in all.
    """
    present = counts > 0
    weights = np.ones(len(counts))
    weights[present] = counts.sum() / (np.count_nonzero(present) * counts[present])
    return tuple(weights.tolist())


def resolve_class_weights(losses: Sequence[BaseLoss], counts: Counts | None) -> tuple[BaseLoss, ...]:
    """Put numbers in the place of `auto`; `counts` may be None where no loss asks for it."""
    return tuple(
        loss.model_copy(update={"class_weight": balanced_weights(counts)})
        if _is_auto(loss) and counts is not None
        else loss
        for loss in losses
    )


def describe_class_weights(losses: Sequence[BaseLoss], counts: Counts | None) -> Iterator[str]:
    """Yield a sentence for each loss whose weights are counted: all of a few classes, else the ends."""
    if counts is None:
        return
    weights = balanced_weights(counts)
    said = [f"class {k} {weights[k]:.3g} ({counts[k]} images)" for k in range(len(weights))]
    if len(said) > _SHOWN:
        order = [int(k) for k in np.argsort(weights, kind="stable") if counts[k]]
        said = [f"from {said[order[0]]}", f"to {said[order[-1]]}"]
    for loss in losses:
        if _is_auto(loss):
            yield f"{loss.label}.class_weight: auto: {', '.join(said)}"


def _is_auto(loss: BaseLoss) -> bool:
    return isinstance(loss, ClassWeightedLoss) and loss.class_weight == "auto"
