"""What `Loss.Train` and `Loss.Eval` may name (PaddleClas d178931, ppcls/loss)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from trainer.config.declaration import Catalogue, Declaration, Later, Section, keyed, later


class CELoss(Declaration):
    """Cross entropy of the logits [B, K] with int64 labels [B, 1]."""

    weight: float = 1.0
    """Factor in the sum. As in PaddleClas it is ignored where the list has one loss only."""
    epsilon: float | None = None
    """Label smoothing; outside (0, 1) it is off."""
    reduction: Literal["mean"] = "mean"
    soft_label: Literal["paddleclas", "exact"] = "paddleclas"
    """Ours: of mixed labels without epsilon, whether a softmax is put over them first, as PaddleClas does."""


LOSSES = Catalogue(
    CELoss,
    *later(
        "trainer.config.losses_labels",
        "SoftTargetCrossEntropy GoogLeNetLoss MultiLabelLoss MultiLabelAsymmetricLoss",
    ),
    *later(
        "trainer.config.losses_distillation",
        "DistillationGTCELoss DistillationMultiLabelLoss DistillationCELoss DistillationDMLLoss "
        "DistillationDistanceLoss DistillationKLDivLoss DistillationDKDLoss DistillationWSLLoss "
        "DistillationSKDLoss DistillationDISTLoss DistillationRKDLoss",
    ),
    *later("trainer.config.losses_pairs", "DistillationPairLoss"),
)  # fmt: skip
if TYPE_CHECKING:
    from trainer.config.losses_between import DistillationLoss
    from trainer.config.losses_labels import (
        GoogLeNetLoss,
        MultiLabelAsymmetricLoss,
        MultiLabelLoss,
        SoftTargetCrossEntropy,
    )

    Loss: TypeAlias = (
        CELoss | SoftTargetCrossEntropy | GoogLeNetLoss | MultiLabelLoss | MultiLabelAsymmetricLoss
        | DistillationLoss
    )  # fmt: skip
else:  # the union that chooses by name exists at run time only
    Loss = keyed(LOSSES, extra=Later("trainer.config.extra_declarations", "ExtraLoss"))


def _once(losses: tuple[Declaration, ...]) -> tuple[Declaration, ...]:
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
