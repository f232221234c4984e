"""Metrics of a whole list: functions of all its logits and labels, in the order of the list.

Logits are float32 [N, K]; labels int64 [N, 1], or float32 [N, K] where an image has several classes.
Formulas: PaddleClas d178931, ppcls/metric/metrics.py and ppcls/utils/misc.py (AttrMeter).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainer.config import metrics as specs
from trainer.config.registry import Spec

Floats: TypeAlias = NDArray[np.float32]
ListMetric: TypeAlias = Callable[[Floats, NDArray[Any]], dict[str, float]]
"""All logits and labels -> values by name, the one that chooses the best checkpoint first."""

_TINY = 1e-20
_TPR_STEPS = 10_000


def sigmoid(logits: Floats) -> Floats:
    """Logits float32 [N, K] -> probabilities of the same shape, without overflow."""
    found: Floats = np.exp(-np.logaddexp(np.float32(0), -logits))
    return found


def _make_hamming(spec: specs.HammingDistance) -> ListMetric:
    del spec
    return lambda logits, labels: {
        "HammingDistance": float(np.mean((sigmoid(logits) > 0.5) != (labels > 0.5)))
    }


def _make_accuracy(spec: specs.AccuracyScore) -> ListMetric:
    def accuracy(logits: Floats, labels: NDArray[Any]) -> dict[str, float]:
        right = (sigmoid(logits) > 0.5) == (labels > 0.5)
        return {"AccuracyScore": float(np.mean(right.all(axis=1) if spec.base == "sample" else right))}

    return accuracy


def _make_attributes(spec: specs.ATTRMetric) -> ListMetric:
    """`label_f1` mixes each class's precision with the mean recall, as there; of instances, means are."""

    def attributes(logits: Floats, labels: NDArray[Any]) -> dict[str, float]:
        said, there = logits > spec.threshold, labels > 0.5
        both, neither = (said & there).sum(axis=0), (~said & ~there).sum(axis=0)
        recalls = both / (there.sum(axis=0) + _TINY)
        others = neither / ((~there).sum(axis=0) + _TINY)
        precisions = both / (said.sum(axis=0) + _TINY)
        recall, shared = recalls.mean(), (said & there).sum(axis=1)
        of_instances = {
            "instance_acc": np.mean(shared / ((said | there).sum(axis=1) + _TINY)),
            "instance_prec": np.mean(shared / (said.sum(axis=1) + _TINY)),
            "instance_recall": np.mean(shared / (there.sum(axis=1) + _TINY)),
        }
        found = {
            "ma": np.mean((recalls + others) / 2),
            "label_f1": np.mean(_harmonic(precisions, recall)),
            "label_pos_recall": recall,
            "label_neg_recall": others.mean(),
            "instance_f1": _harmonic(of_instances["instance_prec"], of_instances["instance_recall"]),
            **of_instances,
        }
        return {name: float(value) for name, value in found.items()}

    return attributes


def _harmonic(precision: Any, recall: Any) -> Any:  # arrays or numbers
    return 2 * precision * recall / (precision + recall + _TINY)


def _make_mean_accuracy(spec: specs.MultilabelMeanAccuracy) -> ListMetric:
    """Of equal thresholds the last one counts, as there."""

    def mean_accuracy(logits: Floats, labels: NDArray[Any]) -> dict[str, float]:
        found, there, best, at = sigmoid(logits), labels > 0.5, 0, spec.start_threshold
        for index in range(spec.num_iterations):
            threshold = (
                spec.start_threshold
                + index * (spec.end_threshold - spec.start_threshold) / spec.num_iterations
            )
            right = int(np.count_nonzero((found > threshold) == there))
            if right >= best:
                best, at = right, threshold
        return {"mean_acc": best / labels.size, "mean_acc_threshold": float(at)}

    return mean_accuracy


def _make_mean_precision(spec: specs.MultiLabelMAP) -> ListMetric:
    """Classes that no image has are left out, and of equal scores the first image of the list goes first."""
    average = _integral if spec.map_type == "integral" else _eleven_points

    def mean_precision(logits: Floats, labels: NDArray[Any]) -> dict[str, float]:
        found = []
        for column, there in zip(logits.T, (labels > 0.5).T, strict=True):
            if there.any():
                ranked = there[np.argsort(-column, kind="stable")]
                hits = np.cumsum(ranked)
                found.append(average(hits / np.arange(1, len(hits) + 1), hits, ranked))
        return {"MultiLabelMAP": float(np.mean(found)) if found else 0.0}

    return mean_precision


def _integral(precision: NDArray[np.float64], hits: NDArray[np.int64], ranked: NDArray[np.bool_]) -> float:
    return float(precision[ranked].sum() / hits[-1])


def _eleven_points(
    precision: NDArray[np.float64], hits: NDArray[np.int64], ranked: NDArray[np.bool_]
) -> float:
    del ranked
    recall = hits / hits[-1]
    return float(np.mean([precision[recall >= point / 10].max() for point in range(11)]))


def _make_rate(spec: specs.TprAtFpr) -> ListMetric:
    """Thresholds are 0, 0.0001 … 0.9999 of the probability of class 1; the first of the best counts."""

    def rate(logits: Floats, labels: NDArray[Any]) -> dict[str, float]:
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = exponents[:, 1] / exponents.sum(axis=1)
        ones = labels[:, 0] != 0
        thresholds = (np.arange(_TPR_STEPS) / _TPR_STEPS).astype(np.float32)
        above = [_share_above(scores[chosen], thresholds) for chosen in (ones, ~ones)]
        rates = np.where(above[1] <= spec.max_fpr, above[0], 0.0)
        best = int(np.argmax(rates))
        if rates[best] == 0.0:  # no threshold is strict enough
            return {"tpr": 0.0, "fpr": 0.0, "threshold": 1.0}
        return {
            "tpr": float(rates[best]), "fpr": float(above[1][best]), "threshold": best / _TPR_STEPS,
        }  # fmt: skip

    return rate


def _share_above(scores: Floats, thresholds: Floats) -> NDArray[np.float64]:
    if scores.size == 0:
        return np.zeros(len(thresholds))
    found: NDArray[np.float64] = (
        1.0 - np.searchsorted(np.sort(scores), thresholds, side="right") / scores.size
    )
    return found


LIST_METRICS: Mapping[type[Spec], Callable[[Any], ListMetric]] = {  # each takes its own spec
    specs.HammingDistance: _make_hamming,
    specs.AccuracyScore: _make_accuracy,
    specs.ATTRMetric: _make_attributes,
    specs.MultilabelMeanAccuracy: _make_mean_accuracy,
    specs.MultiLabelMAP: _make_mean_precision,
    specs.TprAtFpr: _make_rate,
}
