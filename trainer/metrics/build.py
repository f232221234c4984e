"""From a list of declared metrics to what measures them: each batch, or the whole list at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import paddle

from trainer.config import metrics as specs
from trainer.config.extras import ExtraMetric, make_extra, refuse
from trainer.config.outputs import Outputs, logits_of
from trainer.config.problems import show
from trainer.config.registry import Spec
from trainer.metrics.batch import (
    BatchMetric,
    Sum,
    hamming,
    make_accuracy,
    make_topk,
    make_topk_of_model,
)
from trainer.metrics.dataset_level import LIST_METRICS, ListMetric


def _make_extra(spec: ExtraMetric) -> BatchMetric:
    metric = make_extra(spec)

    def sums(outputs: Outputs, labels: paddle.Tensor) -> dict[str, Sum]:
        logits = logits_of(outputs)
        found = metric(logits, labels)  # numbers of the host, or tensors, which spare their author the wait
        if not isinstance(found, Mapping):
            said = f"expected a mapping from names to numbers to be returned, got {show(found)}"
            raise refuse(spec.kind, spec.name, said)
        return {name: Sum(value, times=logits.shape[0]) for name, value in found.items()}

    return sums


BATCH_METRICS: Mapping[type[Spec], Callable[[Any], BatchMetric]] = {  # each takes its own spec
    specs.TopkAcc: make_topk,
    specs.GoogLeNetTopkAcc: make_topk,
    specs.DistillationTopkAcc: make_topk_of_model,
    specs.HammingDistance: lambda _: hamming,
    specs.AccuracyScore: make_accuracy,
}
_OF_BATCH: Mapping[type[Spec], Callable[[Any], BatchMetric]] = {
    **BATCH_METRICS,
    ExtraMetric: _make_extra,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One metric in an evaluation, by exactly one of the two.

    Attributes:
        of_batch: Sums over samples that add up.
        of_list: Needs all logits and labels.
    """

    of_batch: BatchMetric | None = None
    of_list: ListMetric | None = None


def build_batch_metrics(metrics: Sequence[Spec]) -> BatchMetric:
    """Make one function of all metrics of a list that have a value of a batch, for training."""
    parts = [_OF_BATCH[type(spec)](spec) for spec in metrics]

    def measure(outputs: Outputs, labels: paddle.Tensor) -> dict[str, Sum]:
        with paddle.no_grad():
            return {name: value for part in parts for name, value in part(outputs, labels).items()}

    return measure


def build_measures(metrics: Sequence[Spec] | None) -> tuple[Measure, ...]:
    """Make what an evaluation measures, in the order of the list; None and an empty list measure nothing."""
    return tuple(
        Measure(of_list=LIST_METRICS[type(spec)](spec))
        if type(spec) in LIST_METRICS
        else Measure(of_batch=_OF_BATCH[type(spec)](spec))
        for spec in metrics or ()
    )
