"""From a list of declared metrics to one function of logits and labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import paddle

from trainer.config.declaration import Declaration
from trainer.config.extras import make_extra
from trainer.config.metrics import ExtraMetric, TopkAcc

MetricFunction: TypeAlias = Callable[[paddle.Tensor, paddle.Tensor], dict[str, float]]
"""Logits float32 [B, K] and labels int64 [B, 1] -> means over the batch by name, such as `top1`."""


def make_topk(spec: TopkAcc) -> MetricFunction:
    """Make the shares of samples whose label is among the k largest logits, for each k."""

    def topk(logits: paddle.Tensor, labels: paddle.Tensor) -> dict[str, float]:
        classes = logits.shape[-1]
        return {
            f"top{k}": 1.0 if k >= classes else float(paddle.metric.accuracy(logits, labels, k=k))
            for k in spec.topk
        }

    return topk


METRIC_BUILDERS: Mapping[type[Declaration], Callable[[Any], MetricFunction]] = {TopkAcc: make_topk}
_ALL: Mapping[type[Declaration], Callable[[Any], MetricFunction]] = {
    **METRIC_BUILDERS,
    ExtraMetric: make_extra,
}


def build_metrics(metrics: Sequence[Declaration] | None) -> MetricFunction:
    """Make one function of all metrics of a list; None and an empty list measure nothing."""
    parts = [_ALL[type(spec)](spec) for spec in metrics or ()]

    def measure(logits: paddle.Tensor, labels: paddle.Tensor) -> dict[str, float]:
        with paddle.no_grad():
            return {name: value for part in parts for name, value in part(logits, labels).items()}

    return measure
