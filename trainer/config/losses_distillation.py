"""Losses between the networks of a DistillationModel (PaddleClas d178931, ppcls/loss/distillationloss.py).

`key` names a feature of `return_patterns`; without it, the logits are compared.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainer.config.losses_between import DistillationLoss

Pair = Annotated[tuple[str, str], Field(strict=False)]
Pairs = Annotated[tuple[Pair, ...], Field(strict=False, min_length=1)]
Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
Keys = Annotated[tuple[str, ...], Field(strict=False)]
Act = Literal["softmax", "sigmoid"] | None


class _OfModels(DistillationLoss):
    model_names: Names
    key: str | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the networks that it takes."""
        return self.model_names

    @property
    def value_count(self) -> int:
        """Values that it has of a batch."""
        return len(self.model_names)


class OfPairs(DistillationLoss):
    """A loss between two networks, pair by pair."""

    model_name_pairs: Pairs
    """The learning network and its teacher, each."""

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the networks that it takes."""
        return tuple(model for pair in self.model_name_pairs for model in pair)

    @property
    def value_count(self) -> int:
        """Values that it has of a batch."""
        return len(self.model_name_pairs)


class _OfKeyedPairs(OfPairs):
    key: str | None = None


class DistillationGTCELoss(_OfModels):
    """CELoss of each of the networks with the labels."""

    of_one_class = True
    epsilon: float | None = None


class DistillationMultiLabelLoss(_OfModels):
    """MultiLabelLoss of each of the networks with the labels."""

    of_several_classes = True
    epsilon: float | None = None
    size_sum: bool = False
    weight_ratio: bool = False


class DistillationCELoss(_OfKeyedPairs):
    """CELoss of the first of a pair with the second's probabilities as labels."""

    epsilon: float | None = None


class DistillationDMLLoss(_OfKeyedPairs):
    """Mean of both Kullback-Leibler divergences of a pair (deep mutual learning)."""

    act: Act = "softmax"
    weight_ratio: bool = False
    """Weigh classes as MultiLabelLoss does."""
    sum_across_class_dim: bool = False


class DistillationDistanceLoss(_OfKeyedPairs):
    """Distance of a pair's outputs, mean over all of their numbers."""

    mode: Literal["l1", "l2", "smooth_l1"] = "l2"
    act: Act = None
    reduction: Literal["mean", "sum"] = "mean"


class DistillationKLDivLoss(_OfKeyedPairs):
    """Kullback-Leibler divergence of softened probabilities (Hinton et al., 2015)."""

    temperature: float = Field(default=4.0, gt=0)


class DistillationDKDLoss(_OfKeyedPairs):
    """The label's class and all others apart (Zhao et al., 2022)."""

    of_one_class = True
    takes_classes = True
    temperature: float = Field(default=1.0, gt=0)
    alpha: float = 1.0
    """Of the label's class against the rest."""
    beta: float = 1.0
    """Among the others."""
    use_target_as_gt: bool = False
    """Take the teacher's answer for the label."""


class DistillationWSLLoss(_OfKeyedPairs):
    """Soft labels, weighted by who errs more (Zhou et al., 2021)."""

    of_one_class = True
    takes_classes = True
    temperature: float = Field(default=2.0, gt=0)
    use_target_as_gt: bool = False
    """Take the teacher's answer for the label."""


class DistillationSKDLoss(_OfKeyedPairs):
    """Soft labels of normalised logits (Guo et al., 2020)."""

    of_one_class = True
    takes_classes = True
    temperature: float = Field(gt=0)
    multiplier: float = 2.0
    """Of the normalised logits."""
    alpha: float = Field(default=0.9, ge=0, le=1)
    """Share of the teacher; the rest is the label's."""
    use_target_as_gt: bool = False
    """Take the teacher's answer for the label."""


class DistillationDISTLoss(_OfKeyedPairs):
    """Correlation of probabilities, of images and of classes (Huang et al., 2022)."""

    beta: float = 1.0
    """Of images."""
    gamma: float = 1.0
    """Of classes."""


class DistillationRKDLoss(OfPairs):
    """Distances and angles between the images of a batch (Park et al., 2019)."""

    target_size: int | None = Field(default=None, ge=1)
    """Side that features are averaged to."""
    student_keepkeys: Keys = ()
    """Features of the first of a pair."""
    teacher_keepkeys: Keys = ()
    """As many of the second."""

    @model_validator(mode="after")
    def _as_many(self) -> DistillationRKDLoss:
        counts = len(self.student_keepkeys), len(self.teacher_keepkeys)
        if counts[0] != counts[1] or not counts[0]:
            raise ValueError(
                f"expected as many teacher_keepkeys as student_keepkeys, at least one, got {counts[1]} and "
                f"{counts[0]}"
            )
        return self

    @property
    def value_count(self) -> int:
        """Values that it has of a batch."""
        return 2 * len(self.student_keepkeys) * len(self.model_name_pairs)

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Features that it takes: network and key."""
        sides = (self.student_keepkeys, self.teacher_keepkeys)
        return tuple(
            (model, key)
            for pair in self.model_name_pairs
            for model, keys in zip(pair, sides, strict=True)
            for key in keys
            if key != "logits"
        )
