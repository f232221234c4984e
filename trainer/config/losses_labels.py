"""Losses of labels of other kinds than CELoss takes, or of networks with several answers."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from trainer.config.declaration import Declaration


class SoftTargetCrossEntropy(Declaration):
    """Cross entropy of the logits [B, K] with labels float32 [B, K]; int64 labels are taken as one class."""

    weight: float = 1.0
    """As that of CELoss."""


class GoogLeNetLoss(Declaration):
    """Cross entropy of GoogLeNet's answer, and 0.3 times that of each of its two helpers."""

    weight: float = 1.0
    """As that of CELoss."""
    epsilon: float | None = None
    """Has no effect, and is refused within (0, 1), as there."""

    @field_validator("epsilon")
    @classmethod
    def _unsmoothed(cls, epsilon: float | None) -> float | None:
        if epsilon is not None and 0 < epsilon < 1:
            raise ValueError(
                f"expected none, because GoogLeNetLoss smoothes no labels, got {epsilon}; remove it"
            )
        return epsilon


class MultiLabelLoss(Declaration):
    """Binary cross entropy of each class by itself; labels float32 [B, K], or [B, 2, K] with ratios."""

    of_several_classes: ClassVar[bool] = True

    weight: float = 1.0
    """As that of CELoss."""
    epsilon: float | None = None
    """Label smoothing; outside (0, 1) it is off."""
    size_sum: bool = False
    """Add classes up instead of averaging them."""
    weight_ratio: bool = False
    """Weigh rare answers of a class more; the dataset must give `label_ratio`."""


class MultiLabelAsymmetricLoss(Declaration):
    """Binary cross entropy that easy zeros hardly enter (Ben-Baruch et al., 2020)."""

    of_several_classes: ClassVar[bool] = True

    weight: float = 1.0
    """As that of CELoss."""
    gamma_pos: float = Field(default=1.0, ge=0)
    """Power of 1 − p of the classes that are there."""
    gamma_neg: float = Field(default=4.0, ge=0)
    """The same of those that are not."""
    clip: float | None = Field(default=0.05, ge=0, le=1)
    """Probability below which a class that is not there counts nothing."""
    epsilon: float = Field(default=1e-8, gt=0)
    """Least probability of which a logarithm is taken."""
    disable_focal_loss_grad: bool = True
    """Take the powers as constants."""
    reduction: Literal["sum", "mean"] = "sum"
