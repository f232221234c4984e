"""What the losses between the networks of a DistillationModel share."""

from __future__ import annotations

from typing import ClassVar

from trainer.config.declaration import Declaration


class DistillationLoss(Declaration):
    """What they share."""

    of_several_classes: ClassVar[bool] = False
    of_one_class: ClassVar[bool] = False
    learns: ClassVar[bool] = False
    """It has parameters of its own."""
    takes_classes: ClassVar[bool] = False
    """It takes the label as a class, which mixed labels are not."""

    weight: float = 1.0
    """As that of CELoss."""
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
        """Whether mixed labels are none for it."""
        return self.takes_classes and not getattr(self, "use_target_as_gt", False)

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Features that it takes: network and key."""
        key = getattr(self, "key", None)
        return tuple((model, key) for model in self.models) if key not in (None, "logits") else ()
