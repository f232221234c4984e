"""Metrics that have a value of every batch: sums over its samples, which add up to those of a list.

The sums are whole numbers where they count, so that they are the same in whatever order ranks add them up.
They stay on the device, and nothing here may read a number of it (`trainer.engine.pending` says why).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import paddle

from trainer.config.metrics import AccuracyScore, DistillationTopkAcc, TopkAcc
from trainer.config.outputs import Outputs, logits_of, output_of


class Sum(NamedTuple):
    """A sum over a batch, value × times ÷ over, that has not been computed yet.

    Attributes:
        value: One number of any type, on the device; or one that the host knows.
        times: Such as the number of samples, where the value is a mean over them.
        over: Such as the number of classes.
    """

    value: paddle.Tensor | float
    times: float = 1.0
    over: float = 1.0


BatchMetric: TypeAlias = Callable[[Outputs, paddle.Tensor], dict[str, Sum]]
"""Outputs (logits float32 [B, K] among them) and labels -> sums over the batch by name, such as `top1`.

Labels are int64 [B, 1] for top-k, and float32 [B, K] or [B, 2, K] of 0 and 1 where an image has several
classes. A sum divided by the number of samples is the metric, from 0 to 1.
"""


def make_topk(spec: TopkAcc) -> BatchMetric:
    """Make the numbers of samples whose label is among the k largest logits, for each k."""
    return topk_of(spec.topk, logits_of)


def make_topk_of_model(spec: DistillationTopkAcc) -> BatchMetric:
    """Make TopkAcc of the network that `model_key` names."""
    return topk_of(spec.topk, lambda outputs: output_of(outputs, spec.model_key, spec.feature_key))


def topk_of(ks: tuple[int, ...], choose: Callable[[Outputs], paddle.Tensor]) -> BatchMetric:
    """Make TopkAcc of the logits float32 [B, K] that `choose` takes from the outputs."""

    def topk(outputs: Outputs, labels: paddle.Tensor) -> dict[str, Sum]:
        logits = choose(outputs)
        count, classes = logits.shape[0], logits.shape[-1]
        # What paddle.metric.accuracy counts, in a sixth of its time: that makes two tensors for nothing.
        return {
            f"top{k}": Sum(count if k >= classes else (paddle.topk(logits, k)[1] == labels).sum()) for k in ks
        }

    return topk


def right_answers(outputs: Outputs, labels: paddle.Tensor) -> paddle.Tensor:
    """Tell where σ(x) > 0.5 is what the label says; bool [B, K]."""
    targets = labels[:, 0, :] if labels.ndim == 3 else labels
    return (paddle.nn.functional.sigmoid(logits_of(outputs)) > 0.5) == (targets > 0.5)


def hamming(outputs: Outputs, labels: paddle.Tensor) -> dict[str, Sum]:
    """Return the sum over samples of the share of wrong answers."""
    right = right_answers(outputs, labels)
    return {"HammingDistance": Sum((~right).sum(), over=right.shape[-1])}


def make_accuracy(spec: AccuracyScore) -> BatchMetric:
    """Make the sum over samples of the share of right answers, or of 1 where all are right."""

    def accuracy(outputs: Outputs, labels: paddle.Tensor) -> dict[str, Sum]:
        right = right_answers(outputs, labels)
        if spec.base == "sample":
            return {"AccuracyScore": Sum(right.all(axis=-1).sum())}
        return {"AccuracyScore": Sum(right.sum(), over=right.shape[-1])}

    return accuracy
