"""A loss between features with a network of its own (PaddleClas d178931, ppcls/loss/distillationloss.py)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from trainer.config.losses_distillation import Keys, OfPairs


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
        plural, other = ("s", "") if self.base_loss_name == "MGDLoss" else ("", "s")
        problems = [
            f"expected {side}_channel{plural} beside {self.base_loss_name}, got none; add it"
            for side in ("student", "teacher")
            if getattr(self, f"{side}_channel{plural}") is None
        ]
        problems += [
            f"expected no {side}_channel{other} beside {self.base_loss_name}; remove it"
            for side in ("student", "teacher")
            if getattr(self, f"{side}_channel{other}") is not None
        ]
        for letter in "st":
            one, listed = getattr(self, f"{letter}_key"), getattr(self, f"{letter}_keys")
            if (one is not None) + len(listed) != 1:
                problems.append(f"expected one {letter}_key, got {[key for key in (one, *listed) if key]}")
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
