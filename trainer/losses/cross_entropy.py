"""Cross entropy of logits with class labels, smoothed where `epsilon` says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import paddle
from paddle.nn import functional

from trainer.config.losses import CELoss, FocalLoss, GoogLeNetLoss, SoftTargetCrossEntropy
from trainer.config.outputs import Outputs, logits_of

LogitsLoss: TypeAlias = Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]
"""Logits float32 [B, K] and labels -> float32 [], the mean over the batch, 0 or above.

Labels are int64 [B, 1], from 0 to K − 1, or float32 [B, K], shares from 0 to 1 that add up to 1.
"""


def make_cross_entropy(spec: CELoss) -> LogitsLoss:
    """Make the mean over a batch of −Σ t·log softmax(x) with t = (1 − ε)·onehot + ε/K.

    Formula: PaddleClas d178931, ppcls/loss/celoss.py. An epsilon outside (0, 1) is none.
    Labels float32 [B, K], as mixing images makes them, are the targets; without epsilon PaddleClas puts a
    softmax over them first, and `soft_label: exact` does not. With weights w of the classes it is
    −Σ w·t·log softmax(x).
    """
    return cross_entropy(
        spec.epsilon, exact=spec.soft_label == "exact", class_weight=_numbers_of(spec.class_weight)
    )


def cross_entropy(
    epsilon: float | None, *, exact: bool = False, class_weight: Sequence[float] | None = None
) -> LogitsLoss:
    """Make CELoss.

    Args:
        epsilon: Share of a label that is spread over all classes, above 0 and below 1; anything else is none.
        exact: Take soft labels as they are; else a softmax goes over them first where there is no epsilon.
        class_weight: Factor of each class's part, [K]; None for none.
    """
    smoothing = epsilon if epsilon is not None and 0.0 < epsilon < 1.0 else None
    weights = _as_tensor(class_weight)

    def loss(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        soft = labels.shape[-1] == logits.shape[-1] and labels.is_floating_point()
        if smoothing is None and soft:
            # PaddleClas fails on the float64 labels that CutmixOperator makes with NumPy 2.
            labels = labels.astype(logits.dtype) if labels.dtype == paddle.float64 else labels
            targets = labels if exact else functional.softmax(labels, axis=-1)
            if weights is None:
                return functional.cross_entropy(logits, targets, soft_label=True)
        elif smoothing is None:
            if weights is None:
                return functional.cross_entropy(logits, labels)
            # The mean over images. Paddle's own weighted mean divides by the weights of the batch, so that
            # two ranks with half of it would not train as one does.
            costs = functional.cross_entropy(logits, labels, reduction="none").squeeze(-1)
            return (costs * paddle.gather(weights, labels.squeeze(-1))).mean()
        else:
            targets = labels if soft else functional.one_hot(labels.squeeze(-1), logits.shape[-1])
            targets = functional.label_smooth(targets, epsilon=smoothing)
        return _weighted(-functional.log_softmax(logits, axis=-1) * targets, weights)

    return loss


def make_focal(spec: FocalLoss) -> LogitsLoss:
    """Make the mean over a batch of −Σ w·t·(1 − p)^γ·log p, with p = softmax(x).

    Formula: Lin et al., 2017 (arXiv:1708.02002, equation 5), of the K classes of a softmax; α is w. t is the
    label's one-hot vector, or the label itself where images are mixed.
    """
    weights = _as_tensor(_numbers_of(spec.class_weight))

    def loss(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        if not labels.is_floating_point():
            labels = functional.one_hot(labels.squeeze(-1), logits.shape[-1])
        log = functional.log_softmax(logits, axis=-1)
        # Not of 0, where a power below 1 has no derivative.
        focus = paddle.clip(-paddle.expm1(log), min=_NEARLY_0).pow(spec.gamma)
        return _weighted(-log * focus * labels.astype(log.dtype), weights)

    return loss


_NEARLY_0 = 1e-12


def _weighted(costs: paddle.Tensor, weights: paddle.Tensor | None) -> paddle.Tensor:
    """Return the mean over images of costs float32 [B, K], each class's times its weight."""
    return (costs if weights is None else costs * weights).sum(axis=-1).mean()


def _as_tensor(class_weight: Sequence[float] | None) -> paddle.Tensor | None:
    return None if class_weight is None else paddle.to_tensor(list(class_weight), dtype="float32")


def _numbers_of(class_weight: Sequence[float] | str | None) -> Sequence[float] | None:
    assert class_weight != "auto", "resolve_class_weights puts numbers in its place"
    return None if class_weight is None or isinstance(class_weight, str) else class_weight


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
