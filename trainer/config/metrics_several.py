"""Metrics of images of several classes (PaddleClas d178931, ppcls/metric)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainer.config.metrics import BaseMetric
from trainer.config.scalars import Positive


class HammingDistance(BaseMetric):
    """Share of wrong answers among all answers, one a class and image; p > 0.5 says that a class is there."""

    less_is_better = True
    of_several_classes = True


class AccuracyScore(BaseMetric):
    """Share of right answers (`label`), or of images whose answers are all right (`sample`)."""

    of_several_classes = True
    base: Literal["label", "sample"] = "label"


class ATTRMetric(BaseMetric):
    """Eight numbers of pedestrian attributes, the mean accuracy `ma` first."""

    needs_list = True
    of_several_classes = True
    threshold: float = 0.5
    """Of the logits themselves, as in PaddleClas: 0.5 means a probability of 0.62."""


class MultilabelMeanAccuracy(BaseMetric):
    """Share of right answers at the best of several thresholds of the probability."""

    needs_list = True
    of_several_classes = True
    start_threshold: float = Field(default=0.4, ge=0, le=1)
    num_iterations: Positive = 10
    """Thresholds that are tried."""
    end_threshold: float = Field(default=0.9, ge=0, le=1)
    """It is not tried itself."""


class MultiLabelMAP(BaseMetric):
    """Average precision of each class, and the mean of those."""

    needs_list = True
    of_several_classes = True
    map_type: Literal["integral", "11point"] = "integral"
