"""Cross entropy of logits with class labels, smoothed where `epsilon` says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import paddle
from paddle.nn import functional

from trainer.config.losses import CELoss, GoogLeNetLoss, SoftTargetCrossEntropy
from trainer.config.outputs import Outputs, logits_of

LogitsLoss: TypeAlias = Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]
"""Logits float32 [B, K] and labels -> float32 [], the mean over the batch, 0 or above.

Labels are int64 [B, 1], from 0 to K − 1, or float32 [B, K], shares from 0 to 1 that add up to 1.
"""


def make_cross_entropy(spec: CELoss) -> LogitsLoss:
    """Make the mean over a batch of −Σ t·log softmax(x) with t = (1 − ε)·onehot + ε/K.

    Formula: PaddleClas d178931, ppcls/loss/celoss.py. An epsilon outside (0, 1) is none.
    Labels float32 [B, K], as mixing images makes them, are the targets; without epsilon PaddleClas puts a
    softmax over them first, and `soft_label: exact` does not.
    """
    return cross_entropy(spec.epsilon, exact=spec.soft_label == "exact")


def cross_entropy(epsilon: float | None, *, exact: bool = False) -> LogitsLoss:
    """Make CELoss.

    Args:
        epsilon: Share of a label that is spread over all classes, above 0 and below 1; anything else is none.
        exact: Take soft labels as they are; else a softmax goes over them first where there is no epsilon.
    """
    smoothing = epsilon if epsilon is not None and 0.0 < epsilon < 1.0 else None

    def loss(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        soft = labels.shape[-1] == logits.shape[-1] and labels.is_floating_point()
        if smoothing is None and soft:
            # PaddleClas fails on the float64 labels that CutmixOperator makes with NumPy 2.
            labels = labels.astype(logits.dtype) if labels.dtype == paddle.float64 else labels
            targets = labels if exact else functional.softmax(labels, axis=-1)
            return functional.cross_entropy(logits, targets, soft_label=True)
        if smoothing is None:
            return functional.cross_entropy(logits, labels)
        targets = labels if soft else functional.one_hot(labels.squeeze(-1), logits.shape[-1])
        smooth = functional.label_smooth(targets, epsilon=smoothing)
        return (-functional.log_softmax(logits, axis=-1) * smooth).sum(axis=-1).mean()

    return loss


def make_soft_target(spec: SoftTargetCrossEntropy) -> LogitsLoss:
    """Make the mean over a batch of −Σ t·log softmax(x), with labels float32 [B, K] as t.

    Formula: PaddleClas d178931, ppcls/loss/softtargetceloss.py. Labels int64 [B, 1] are made one-hot; there
    they multiply the logarithms of all classes.
    """
    del spec

    def loss(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        if not labels.is_floating_point():
            labels = functional.one_hot(labels.squeeze(-1), logits.shape[-1])
        return (-functional.log_softmax(logits, axis=-1) * labels).sum(axis=-1).mean()

    return loss


def make_googlenet(spec: GoogLeNetLoss) -> Callable[[Outputs, paddle.Tensor], paddle.Tensor]:
    """Make the loss of three logits float32 [B, K], of which the second and the third count 0.3 times.

    Formula: PaddleClas d178931, ppcls/loss/googlenetloss.py.
    """
    del spec

    def loss(outputs: Outputs, labels: paddle.Tensor) -> paddle.Tensor:
        parts = [functional.cross_entropy(logits_of(part), labels) for part in outputs]
        return parts[0] + 0.3 * parts[1] + 0.3 * parts[2]

    return loss
