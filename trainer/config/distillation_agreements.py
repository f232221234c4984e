"""What losses and metrics of several networks must agree on with the networks that `Arch` names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.config.archs import DistillationArch
from trainer.config.declaration import Declaration
from trainer.config.losses_between import DistillationLoss
from trainer.config.metrics import DistillationTopkAcc
from trainer.config.problems import KeyPath
from trainer.config.root import TrainConfig

Found = Iterator[tuple[KeyPath, str]]


def find_distillation_disagreements(config: TrainConfig) -> Found:
    """Yield the place and the sentence of each."""
    for split in ("Train", "Eval"):
        losses: Sequence[Declaration] = getattr(config.loss, split) or ()
        metrics: Sequence[Declaration] = getattr(config.metric, split) or ()
        for index, loss in enumerate(losses):
            if isinstance(loss, DistillationLoss):
                path = ("Loss", split, index, loss.label)
                yield from _networks(config, path, loss.models, loss.keys)
                if loss.learns and (split == "Eval" or config.loss.Eval is None):
                    yield (
                        path,
                        "expected it in Loss.Train beside a Loss.Eval without it: it learns while training",
                    )
                if split == "Train" and loss.needs_classes and config.data.Train.dataset.batch_transform_ops:
                    yield path, "expected none beside batch_transform_ops, whose labels are no classes"
        for index, metric in enumerate(metrics):
            if isinstance(metric, DistillationTopkAcc):
                key = metric.feature_key
                keys = ((metric.model_key, key),) if key not in (None, "logits") else ()
                yield from _networks(
                    config, ("Metric", split, index, metric.label), (metric.model_key,), keys
                )


def find_values_in_vain(config: TrainConfig) -> Found:
    """Yield the place and the sentence of each loss of which PaddleClas trains on one value of several."""
    for split in ("Train", "Eval"):
        losses: Sequence[Declaration] = getattr(config.loss, split) or ()
        only = losses[0] if len(losses) == 1 else None
        if isinstance(only, DistillationLoss) and only.value_count > 1:
            yield (
                ("Loss", split, 0, only.label),
                f"expected one value of the only loss of a list, got {only.value_count}: as in PaddleClas, "
                "the first alone counts; beside another loss they are all added up",
            )


def _networks(
    config: TrainConfig, path: KeyPath, models: Sequence[str], keys: Sequence[tuple[str, str]]
) -> Found:
    arch = config.arch
    if not isinstance(arch, DistillationArch):
        yield path, f"expected Arch.name DistillationModel beside it, got {arch.name!r}"
        return
    known = arch.by_name
    unknown = sorted(set(models) - set(known))
    if unknown:
        yield path, f"expected names of Arch.models, which are {', '.join(known)}, got {', '.join(unknown)}"
    for model, key in keys:
        if model not in known or (known[model].return_stages and not known[model].stages_handed_on):
            continue  # of which features there are, the network itself knows
        if key not in known[model].features:
            yield (
                path,
                f"expected a feature that Arch.models hands on, got {key!r} of {model}; "
                f"add it to the return_patterns of {model}",
            )
