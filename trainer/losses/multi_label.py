"""Losses of several classes an image: each class is a question by itself.

Labels are float32 [B, K], or [B, 2, K] with each class's share of ones beside them.
"""

from __future__ import annotations

import paddle
from paddle.nn import functional

from trainer.config.losses import MultiLabelAsymmetricLoss, MultiLabelLoss
from trainer.losses.cross_entropy import LogitsLoss


def targets_of(labels: paddle.Tensor) -> paddle.Tensor:
    """Return labels float32 [B, K] without the ratios beside them."""
    return labels[:, 0, :] if labels.ndim == 3 else labels


def ratio_weights(labels: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
    """Return exp(1 − r) where a target is above a half, and exp(r) elsewhere, float32 [B, K].

    A class that few images have so weighs more where it is there than where it is not. Labels are float32
    [B, 2, K]: targets, and each class's share r of ones in the list, from 0 to 1.

    Formula: PaddleClas d178931, ppcls/loss/multilabelloss.py (ratio2weight).
    """
    ones, ratios = (targets > 0.5).astype("float32"), labels[:, 1, :]
    return paddle.exp(ones * (1 - ratios) + (1 - ones) * ratios)


def make_multi_label(spec: MultiLabelLoss) -> LogitsLoss:
    """Make MultiLabelLoss as its parameters say: logits float32 [B, K] and labels -> float32 []."""
    return multi_label(spec.epsilon, size_sum=spec.size_sum, weight_ratio=spec.weight_ratio)


def multi_label(epsilon: float | None, *, size_sum: bool, weight_ratio: bool) -> LogitsLoss:
    """Make the mean of −t·log σ(x) − (1 − t)·log(1 − σ(x)) with t = (1 − ε)·label + ε/K.

    Formula: PaddleClas d178931, ppcls/loss/multilabelloss.py.

    Args:
        epsilon: As for CELoss.
        size_sum: Add classes up before the mean over the batch; else the mean is over both.
        weight_ratio: Weigh each class by `ratio_weights`; labels are then float32 [B, 2, K].
    """
    smoothing = epsilon if epsilon is not None and 0.0 < epsilon < 1.0 else None

    def loss(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        targets = targets_of(labels)
        if smoothing is not None:
            targets = functional.label_smooth(targets, epsilon=smoothing)
        costs = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        if weight_ratio:
            costs = costs * ratio_weights(labels, targets)
        return costs.sum(axis=1).mean() if size_sum else costs.mean()

    return loss


def make_asymmetric(spec: MultiLabelAsymmetricLoss) -> LogitsLoss:
    """Make the sum of −(1 − p)^γ·log p, p the clipped probability of the right answer.

    Formula: PaddleClas d178931, ppcls/loss/multilabelloss.py: p = σ(x) where the label is 1, and
    min(1, 1 − σ(x) + clip) where it is 0.
    """

    def loss(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        targets = targets_of(labels)
        ones = functional.sigmoid(logits)
        zeros = paddle.clip(1 - ones + (spec.clip or 0.0), max=1.0)
        right = ones * targets + zeros * (1 - targets)
        base = right.detach() if spec.disable_focal_loss_grad else right
        focus = (1 - base).pow(spec.gamma_pos * targets + spec.gamma_neg * (1 - targets))
        costs = -paddle.log(paddle.clip(right, min=spec.epsilon)) * focus
        return costs.sum() if spec.reduction == "sum" else costs.mean()

    return loss
