"""What a config says of the user's own operations, losses, metrics, architectures and optimizers."""

from __future__ import annotations

from typing import ClassVar

from trainer.config.arch_base import BaseArch
from trainer.config.extras import Extra
from trainer.config.ops_base import ImageOp, Pixels
from trainer.config.schedules import Schedule


class ExtraOp(Extra, ImageOp):
    """An operation of the user's own, which may stand wherever its author says."""

    kind = "op"
    channels_last: ClassVar[bool] = False
    whole_numbers: ClassVar[bool] = False

    def size_after(self, given: Pixels | None) -> Pixels | None:
        """Its author knows."""
        del given
        return None


class ExtraLoss(Extra):
    """A loss of the user's own."""

    kind = "loss"

    weight: float = 1.0
    """As that of the other losses."""


class ExtraMetric(Extra):
    """A metric of the user's own."""

    kind = "metric"


class ExtraArch(Extra, BaseArch):
    """An architecture of the user's own."""

    kind = "model"


class ExtraOptimizer(Extra):
    """An optimizer of the user's own."""

    kind = "optimizer"

    lr: Schedule
    scope: str = "all"
