"""Losses between the networks of a DistillationModel (PaddleClas d178931, ppcls/loss/distillationloss.py).

`key` names a feature of `return_patterns`; without it, the logits are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from trainer.config.losses import DistillationLoss

Pair = Annotated[tuple[str, str], Field(strict=False)]
Pairs = Annotated[tuple[Pair, ...], Field(strict=False, min_length=1)]
Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
Keys = Annotated[tuple[str, ...], Field(strict=False)]
Act = Literal["softmax", "sigmoid"] | None


def _features(models: Sequence[str], key: str | None) -> tuple[tuple[str, str], ...]:
    return tuple((model, key) for model in models) if key not in (None, "logits") else ()


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

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Features that it takes: network and key."""
        return _features(self.models, self.key)


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

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Features that it takes: network and key."""
        return _features(self.models, self.key)


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

    @property
    def needs_ratios(self) -> bool:
        """As it says."""
        return self.weight_ratio


class DistillationCELoss(_OfKeyedPairs):
    """CELoss of the first of a pair with the second's probabilities as labels."""

    epsilon: float | None = None


class DistillationDMLLoss(_OfKeyedPairs):
    """Mean of both Kullback-Leibler divergences of a pair (deep mutual learning)."""

    act: Act = "softmax"
    weight_ratio: bool = False
    """Weigh classes as MultiLabelLoss does."""
    sum_across_class_dim: bool = False

    @property
    def needs_ratios(self) -> bool:
        """As it says."""
        return self.weight_ratio


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
    temperature: float = Field(default=1.0, gt=0)
    alpha: float = 1.0
    """Of the label's class against the rest."""
    beta: float = 1.0
    """Among the others."""
    use_target_as_gt: bool = False
    """Take the teacher's answer for the label."""

    @property
    def needs_classes(self) -> bool:
        """Where the label is the image's own."""
        return not self.use_target_as_gt


class DistillationWSLLoss(_OfKeyedPairs):
    """Soft labels, weighted by who errs more (Zhou et al., 2021)."""

    of_one_class = True
    temperature: float = Field(default=2.0, gt=0)
    use_target_as_gt: bool = False
    """Take the teacher's answer for the label."""

    @property
    def needs_classes(self) -> bool:
        """Where the label is the image's own."""
        return not self.use_target_as_gt


class DistillationSKDLoss(_OfKeyedPairs):
    """Soft labels of normalised logits (Guo et al., 2020)."""

    of_one_class = True
    temperature: float = Field(gt=0)
    multiplier: float = 2.0
    """Of the normalised logits."""
    alpha: float = Field(default=0.9, ge=0, le=1)
    """Share of the teacher; the rest is the label's."""
    use_target_as_gt: bool = False
    """Take the teacher's answer for the label."""

    @property
    def needs_classes(self) -> bool:
        """Where the label is the image's own."""
        return not self.use_target_as_gt


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


class DistillationPairLoss(OfPairs):
    """Features of a pair, compared by a small network that is trained, too."""

    learns: ClassVar[bool] = True
    base_loss_name: Literal["MGDLoss", "PEFDLoss"]
    """Masked generation (Yang et al., 2022), or an ensemble of projectors (Chen et al., 2022)."""
    s_key: str | None = None
    """Feature of the first of a pair."""
    t_key: str | None = None
    """Feature of the second."""
    s_keys: Keys = ()
    """The same as `s_key`, as a list of one."""
    t_keys: Keys = ()
    """The same as `t_key`, as a list of one."""
    student_channels: int | None = Field(default=None, ge=1)
    """Of MGDLoss."""
    teacher_channels: int | None = Field(default=None, ge=1)
    """Of MGDLoss."""
    alpha_mgd: float = 1.756
    """Factor of MGDLoss."""
    lambda_mgd: float = Field(default=0.15, ge=0, lt=1)
    """Share of channels that MGDLoss hides."""
    student_channel: int | None = Field(default=None, ge=1)
    """Of PEFDLoss."""
    teacher_channel: int | None = Field(default=None, ge=1)
    """Of PEFDLoss."""
    num_projectors: int = Field(default=3, ge=1)
    """Of PEFDLoss."""

    @model_validator(mode="after")
    def _complete(self) -> DistillationPairLoss:
        plural = {"student_channels": self.student_channels, "teacher_channels": self.teacher_channels}
        singular = {"student_channel": self.student_channel, "teacher_channel": self.teacher_channel}
        needed, other = (plural, singular) if self.base_loss_name == "MGDLoss" else (singular, plural)
        problems = [
            f"expected {key} beside {self.base_loss_name}, got none; add it"
            for key, told in needed.items()
            if told is None
        ]
        problems += [
            f"expected no {key} beside {self.base_loss_name}; remove it"
            for key, told in other.items()
            if told is not None
        ]
        for name, one, listed in (("s_key", self.s_key, self.s_keys), ("t_key", self.t_key, self.t_keys)):
            if (one is not None) + len(listed) != 1:
                problems.append(f"expected one {name}, got {[key for key in (one, *listed) if key]}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def student_key(self) -> str:
        """Feature of the first of a pair."""
        return self.s_key or self.s_keys[0]

    @property
    def teacher_key(self) -> str:
        """Feature of the second."""
        return self.t_key or self.t_keys[0]

    @property
    def channels(self) -> tuple[int, int]:
        """Of the first's feature and of the second's."""
        return (
            self.student_channels or self.student_channel or 0,
            self.teacher_channels or self.teacher_channel or 0,
        )

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Features that it takes: network and key."""
        return tuple(
            found
            for one, other in self.model_name_pairs
            for found in ((one, self.student_key), (other, self.teacher_key))
        )
