"""What `Metric.Train` and `Metric.Eval` may name (PaddleClas d178931, ppcls/metric)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from trainer.config.registry import Lazy, Registry, Section, Spec, keyed
from trainer.config.scalars import Positive, Split, TopK


class BaseMetric(Spec):
    """What they share."""

    needs_list: ClassVar[bool] = False
    """It is one of the whole list, and has no value of a batch."""
    less_is_better: ClassVar[bool] = False
    of_several_classes: ClassVar[bool] = False
    """It takes labels of MultiLabelDataset."""

    @property
    def values(self) -> tuple[str, ...]:
        """What an evaluation calls its values, the first one first; of a user's own metric none is known."""
        return () if self.is_extra else (self.label,)


class TopkAcc(BaseMetric):
    """Share of the samples whose label is among the k largest logits."""

    topk: TopK = (1, 5)

    @property
    def values(self) -> tuple[str, ...]:  # noqa: D102
        return tuple(f"top{k}" for k in self.topk)


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

    @property
    def values(self) -> tuple[str, ...]:  # noqa: D102
        return ("tpr",)  # the other two say at which threshold that is


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

    @property
    def values(self) -> tuple[str, ...]:  # noqa: D102
        return (
            "ma", "label_f1", "label_pos_recall", "label_neg_recall", "instance_f1", "instance_acc",
            "instance_prec", "instance_recall",
        )  # fmt: skip


class MultilabelMeanAccuracy(BaseMetric):
    """Share of right answers at the best of several thresholds of the probability."""

    needs_list = True
    of_several_classes = True
    start_threshold: float = Field(default=0.4, ge=0, le=1)
    num_iterations: Positive = 10
    """Thresholds that are tried."""
    end_threshold: float = Field(default=0.9, ge=0, le=1)
    """It is not tried itself."""

    @property
    def values(self) -> tuple[str, ...]:  # noqa: D102
        return ("mean_acc",)


class MultiLabelMAP(BaseMetric):
    """Average precision of each class, and the mean of those."""

    needs_list = True
    of_several_classes = True
    map_type: Literal["integral", "11point"] = "integral"


METRICS = Registry(
    TopkAcc, GoogLeNetTopkAcc, DistillationTopkAcc, HammingDistance, AccuracyScore, ATTRMetric,
    MultilabelMeanAccuracy, MultiLabelMAP, TprAtFpr,
)  # fmt: skip
if TYPE_CHECKING:
    Metric: TypeAlias = BaseMetric
else:  # the union that chooses by name exists at run time only
    Metric = keyed(METRICS, extra=Lazy("trainer.config.extras", "ExtraMetric"))


MetricList = Annotated[tuple[Metric, ...], Field(strict=False)]


class MetricSection(Section):
    """Metrics while training and in an evaluation; the first value of Eval chooses the best checkpoint."""

    Train: MetricList | None = None
    Eval: MetricList | None = None

    def of(self, split: Split) -> tuple[Metric, ...]:
        """Return the metrics of a list; none where it is not written."""
        return (self.Train if split == "Train" else self.Eval) or ()
