"""Cross entropy of logits with class labels, smoothed where `epsilon` says so."""

from __future__ import annotations

from collections.abc import Callable

import paddle
from paddle.nn import functional

from trainer.config.losses import CELoss


def make_cross_entropy(spec: CELoss) -> Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]:
    """Make the mean over a batch of −Σ t·log softmax(x) with t = (1 − ε)·onehot + ε/K.

    Formula: PaddleClas d178931, ppcls/loss/celoss.py. An epsilon outside (0, 1) is none.
    """
    epsilon = spec.epsilon if spec.epsilon is not None and 0.0 < spec.epsilon < 1.0 else None

    def cross_entropy(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        if epsilon is None:
            return functional.cross_entropy(logits, labels)
        targets = functional.one_hot(labels.squeeze(-1), logits.shape[-1])
        smooth = functional.label_smooth(targets, epsilon=epsilon)
        return (-functional.log_softmax(logits, axis=-1) * smooth).sum(axis=-1).mean()

    return cross_entropy
