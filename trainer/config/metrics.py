"""What `Metric.Train` and `Metric.Eval` may name (PaddleClas d178931, ppcls/metric)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias

from pydantic import Field

from trainer.config.declaration import Catalogue, Declaration, Later, Section, keyed, later
from trainer.config.scalars import TopK


class BaseMetric(Declaration):
    """What they share."""

    needs_list: ClassVar[bool] = False
    """It is one of the whole list, and has no value of a batch."""
    less_is_better: ClassVar[bool] = False
    of_several_classes: ClassVar[bool] = False
    """It takes labels of MultiLabelDataset."""


class TopkAcc(BaseMetric):
    """Share of the samples whose label is among the k largest logits."""

    topk: TopK = (1, 5)


class GoogLeNetTopkAcc(TopkAcc):
    """TopkAcc of GoogLeNet's answer, the first of its three."""


class DistillationTopkAcc(TopkAcc):
    """TopkAcc of one of the networks of a DistillationModel."""

    model_key: str
    """Its name."""
    feature_key: str | None = None
    """A feature of `return_patterns` instead of the logits."""


class TprAtFpr(BaseMetric):
    """Of two classes, the largest share of class 1 found while at most `max_fpr` of class 0 is found, too."""

    needs_list = True
    max_fpr: float = Field(default=0.001, ge=0, le=1)


METRICS = Catalogue(
    TopkAcc, GoogLeNetTopkAcc, DistillationTopkAcc,
    *later(
        "trainer.config.metrics_several",
        "HammingDistance AccuracyScore ATTRMetric MultilabelMeanAccuracy MultiLabelMAP",
    ),
    TprAtFpr,
)  # fmt: skip
if TYPE_CHECKING:
    Metric: TypeAlias = BaseMetric
else:  # the union that chooses by name exists at run time only
    Metric = keyed(METRICS, extra=Later("trainer.config.extra_declarations", "ExtraMetric"))
MetricList = Annotated[tuple[Metric, ...], Field(strict=False)]


class MetricSection(Section):
    """Metrics while training and in an evaluation; the first value of Eval chooses the best checkpoint."""

    Train: MetricList | None = None
    Eval: MetricList | None = None
