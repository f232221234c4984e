"""What `Loss.Train` and `Loss.Eval` may name (PaddleClas d178931, ppcls/loss).

Here are the losses of one network; those between several are in `losses_distillation`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema, field_validator

from trainer.config.problems import show
from trainer.config.registry import Lazy, Registry, Section, Spec, keyed, lazy
from trainer.config.scalars import Split


def _class_weight(value: object) -> object:
    """Read `auto` or a number for each class; pydantic would tell of the types one by one."""
    if value is None or value == "auto":
        return value
    if isinstance(value, list | tuple):
        numbers = [item for item in value if isinstance(item, int | float) and not isinstance(item, bool)]
        if len(numbers) == len(value) and all(math.isfinite(n) and n >= 0 for n in numbers) and any(numbers):
            return tuple(map(float, numbers))
    raise ValueError(
        f"expected auto, or a number of 0 or more for each class and not 0 for all, got {show(value)}"
    )


ClassWeight = Annotated[
    tuple[float, ...] | Literal["auto"] | None,
    PlainValidator(_class_weight),
    PlainSerializer(lambda value: value),  # pydantic would look for a tuple in what it made a list
    WithJsonSchema(
        {"anyOf": [
            {"const": "auto"}, {"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 1},
            {"type": "null"},
        ]}
    ),
]  # fmt: skip
"""A factor for each class, `auto` for those that the training list's counts give, or none."""


class BaseLoss(Spec):
    """What all have."""

    of_one_class: ClassVar[bool] = False
    """It takes labels of one class an image, int64 [B, 1], without ratios."""
    of_several_classes: ClassVar[bool] = False
    """It takes labels of MultiLabelDataset only."""

    weight: float = 1.0
    """As that of CELoss."""

    @property
    def needs_ratios(self) -> bool:
        """Whether the dataset must give `label_ratio` beside the labels."""
        return False

    def without_class_weight(self) -> BaseLoss:
        """Return it as an evaluation takes it where `Loss.Eval` is not written."""
        return self


class ClassWeightedLoss(BaseLoss):
    """A loss of one class an image, in which classes may count more or less."""

    of_one_class = True

    class_weight: ClassWeight = None
    """Ours: factor of each class's part; `auto`: images ÷ (classes × images of the class), of the training
    list, so that its mean over the images is 1. An evaluation without a `Loss.Eval` leaves it out."""

    def without_class_weight(self) -> ClassWeightedLoss:
        """As it says."""
        return self.model_copy(update={"class_weight": None})


class CELoss(ClassWeightedLoss):
    """Cross entropy of the logits [B, K] with int64 labels [B, 1]."""

    weight: float = 1.0
    """Factor in the sum. As in PaddleClas it is ignored where the list has one loss only."""
    epsilon: float | None = None
    """Label smoothing; outside (0, 1) it is off."""
    reduction: Literal["mean"] = "mean"
    soft_label: Literal["paddleclas", "exact"] = "paddleclas"
    """Ours: of mixed labels without epsilon, whether a softmax is put over them first, as PaddleClas does."""


class FocalLoss(ClassWeightedLoss):
    """Ours: cross entropy that images answered rightly hardly enter (Lin et al., 2017, arXiv:1708.02002).

    With `class_weight` as the paper's α.
    """

    gamma: float = Field(default=2.0, ge=0)
    """Power of 1 − p, p being the probability of the image's class; 0 is cross entropy."""


class SoftTargetCrossEntropy(BaseLoss):
    """Cross entropy of the logits [B, K] with labels float32 [B, K]; int64 labels are taken as one class."""

    of_one_class = True


class GoogLeNetLoss(BaseLoss):
    """Cross entropy of GoogLeNet's answer, and 0.3 times that of each of its two helpers."""

    of_one_class = True

    epsilon: float | None = None
    """Has no effect, and is refused within (0, 1), as there."""

    @field_validator("epsilon")
    @classmethod
    def _unsmoothed(cls, epsilon: float | None) -> float | None:
        if epsilon is not None and 0 < epsilon < 1:
            raise ValueError(
                f"expected none, because GoogLeNetLoss smoothes no labels, got {epsilon}; remove it"
            )
        return epsilon


class MultiLabelLoss(BaseLoss):
    """Binary cross entropy of each class by itself; labels float32 [B, K], or [B, 2, K] with ratios."""

    of_several_classes = True

    epsilon: float | None = None
    """Label smoothing; outside (0, 1) it is off."""
    size_sum: bool = False
    """Add classes up instead of averaging them."""
    weight_ratio: bool = False
    """Weigh rare answers of a class more; the dataset must give `label_ratio`."""

    @property
    def needs_ratios(self) -> bool:
        """As it says."""
        return self.weight_ratio


class MultiLabelAsymmetricLoss(BaseLoss):
    """Binary cross entropy that easy zeros hardly enter (Ben-Baruch et al., 2020)."""

    of_several_classes = True

    gamma_pos: float = Field(default=1.0, ge=0)
    """Power of 1 − p of the classes that are there."""
    gamma_neg: float = Field(default=4.0, ge=0)
    """The same of those that are not."""
    clip: float | None = Field(default=0.05, ge=0, le=1)
    """Probability below which a class that is not there counts nothing."""
    epsilon: float = Field(default=1e-8, gt=0)
    """Least probability of which a logarithm is taken."""
    disable_focal_loss_grad: bool = True
    """Take the powers as constants."""
    reduction: Literal["sum", "mean"] = "sum"


class DistillationLoss(BaseLoss):
    """What the losses between the networks of a DistillationModel share."""

    learns: ClassVar[bool] = False
    """It has parameters of its own."""

    name: str | None = None
    """Begins the names of values, where PaddleClas reads it."""

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the networks that it takes."""
        return ()

    @property
    def value_count(self) -> int:
        """Values that it has of a batch."""
        return 1

    @property
    def needs_classes(self) -> bool:
        """Whether it takes the label as a class, which mixed labels are not."""
        return False

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Features that it takes: network and key."""
        return ()


LOSSES = Registry(
    CELoss, FocalLoss, SoftTargetCrossEntropy, GoogLeNetLoss, MultiLabelLoss, MultiLabelAsymmetricLoss,
    *lazy(
        "trainer.config.losses_distillation",
        "DistillationGTCELoss DistillationMultiLabelLoss DistillationCELoss DistillationDMLLoss "
        "DistillationDistanceLoss DistillationKLDivLoss DistillationDKDLoss DistillationWSLLoss "
        "DistillationSKDLoss DistillationDISTLoss DistillationRKDLoss DistillationPairLoss",
    ),
)  # fmt: skip
if TYPE_CHECKING:
    Loss: TypeAlias = BaseLoss
else:  # the union that chooses by name exists at run time only
    Loss = keyed(LOSSES, extra=Lazy("trainer.config.extras", "ExtraLoss"))


def _once(losses: tuple[Loss, ...]) -> tuple[Loss, ...]:
    names = [loss.label for loss in losses]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"expected each loss once, got {twice[0]} again; PaddleClas would count the last one"
        )
    return losses


LossList = Annotated[tuple[Loss, ...], Field(strict=False, min_length=1), AfterValidator(_once)]


class LossSection(Section):
    """Losses for training and for evaluation."""

    Train: LossList
    Eval: LossList | None = None

    def of(self, split: Split) -> tuple[Loss, ...]:
        """Return the losses of a list; none where it is not written."""
        return self.Train if split == "Train" else self.Eval or ()

    @property
    def in_evaluation(self) -> tuple[Loss, ...]:
        """What an evaluation measures: `Eval`, or else `Train` without what weighs the training's classes."""
        return self.Eval or tuple(loss.without_class_weight() for loss in self.Train)
