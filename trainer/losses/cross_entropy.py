"""Cross entropy of logits with class labels, smoothed where `epsilon` says so."""

from __future__ import annotations

from collections.abc import Callable

import paddle
from paddle.nn import functional

from trainer.config.losses import CELoss


def make_cross_entropy(spec: CELoss) -> Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]:
    """Make the mean over a batch of −Σ t·log softmax(x) with t = (1 − ε)·onehot + ε/K.

    Formula: PaddleClas d178931, ppcls/loss/celoss.py. An epsilon outside (0, 1) is none.
    Labels float32 [B, K], as mixing images makes them, are the targets; without epsilon PaddleClas puts a
    softmax over them first, and `soft_label: exact` does not.
    """
    epsilon = spec.epsilon if spec.epsilon is not None and 0.0 < spec.epsilon < 1.0 else None

    def cross_entropy(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        soft = labels.shape[-1] == logits.shape[-1] and labels.is_floating_point()
        if epsilon is None and soft:
            targets = labels if spec.soft_label == "exact" else functional.softmax(labels, axis=-1)
            return functional.cross_entropy(logits, targets, soft_label=True)
        if epsilon is None:
            return functional.cross_entropy(logits, labels)
        targets = labels if soft else functional.one_hot(labels.squeeze(-1), logits.shape[-1])
        smooth = functional.label_smooth(targets, epsilon=epsilon)
        return (-functional.log_softmax(logits, axis=-1) * smooth).sum(axis=-1).mean()

    return cross_entropy
