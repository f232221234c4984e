"""What `Metric.Train` and `Metric.Eval` may name (PaddleClas d178931, ppcls/metric)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import Field

from trainer.config.declaration import Declaration, Section, keyed
from trainer.config.extras import Extra
from trainer.config.scalars import TopK


class TopkAcc(Declaration):
    """Share of the samples whose label is among the k largest logits."""

    topk: TopK = (1, 5)


class ExtraMetric(Extra):
    """A metric of the user's own."""

    kind = "metric"


METRICS: tuple[type[Declaration], ...] = (TopkAcc,)
if TYPE_CHECKING:
    Metric: TypeAlias = TopkAcc
else:  # the union that chooses by name exists at run time only
    Metric = keyed(METRICS, extra=ExtraMetric)
MetricList = Annotated[tuple[Metric, ...], Field(strict=False)]


class MetricSection(Section):
    """Metrics while training and in an evaluation; the first value of Eval chooses the best checkpoint."""

    Train: MetricList | None = None
    Eval: MetricList | None = None
