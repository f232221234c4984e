"""What two sections of a config must agree on; each of them is right by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.config.data import CustomLabelDataset, MultiScaleDataset, SplitSection
from trainer.config.declaration import Declaration
from trainer.config.distillation_agreements import find_distillation_disagreements
from trainer.config.label_agreements import find_label_disagreements
from trainer.config.metrics import TopkAcc
from trainer.config.problems import KeyPath
from trainer.config.progressive import find_growing_disagreements
from trainer.config.root import TrainConfig
from trainer.config.samplers import DistributedBatchSampler
from trainer.config.size_agreements import find_refused_sizes


def find_disagreements(config: TrainConfig) -> Iterator[tuple[KeyPath, str]]:
    """Yield the place and the sentence of each."""
    yield from _samplers_and_datasets(config)
    yield from _plateau(config)
    yield from find_label_disagreements(config)
    yield from find_distillation_disagreements(config)
    yield from find_refused_sizes(config)
    yield from find_growing_disagreements(config)
    if config.data.Eval is not None and config.data.Eval.dataset.batch_transform_ops:
        yield (
            ("DataLoader", "Eval", "dataset", "batch_transform_ops"),
            "expected none, because mixed images have no class to be compared with; remove it",
        )


def _samplers_and_datasets(config: TrainConfig) -> Iterator[tuple[KeyPath, str]]:
    for split in ("Train", "Eval"):
        section: SplitSection | None = getattr(config.data, split)
        if section is None:
            continue
        sampler, dataset = section.sampler, section.dataset
        if split == "Eval" and type(sampler) is not DistributedBatchSampler:
            yield (
                ("DataLoader", split, "sampler"),
                f"expected DistributedBatchSampler, which takes each sample once, got "
                f"{type(sampler).__name__}",
            )
        elif sampler.label == "MultiScaleSampler" and not isinstance(dataset, MultiScaleDataset):
            yield (
                ("DataLoader", split, "dataset"),
                f"expected MultiScaleDataset beside MultiScaleSampler, got {type(dataset).__name__}",
            )
        elif isinstance(dataset, MultiScaleDataset) and sampler.label != "MultiScaleSampler":
            yield (
                ("DataLoader", split, "sampler"),
                f"expected MultiScaleSampler beside MultiScaleDataset, got {type(sampler).__name__}",
            )
        yield from _labels_and_classes(dataset, split, classes=config.arch.class_num)
        if sampler.label == "MultiScaleSampler" and section.loader.rng == "paddleclas":
            yield (
                ("DataLoader", split, "loader", "rng"),
                "expected per_sample beside MultiScaleSampler, which would start the stream anew each epoch",
            )


def _labels_and_classes(dataset: Declaration, split: str, *, classes: int) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(dataset, CustomLabelDataset) and dataset.labels > classes:
        yield (
            ("DataLoader", split, "dataset", "label_key"),
            f"expected at most Arch.class_num labels, which is {classes}, got {dataset.labels} of "
            f"{dataset.label_key}; set Arch.class_num to {dataset.labels}",
        )
    for index, op in enumerate(getattr(dataset, "batch_transform_ops", None) or ()):
        told = getattr(op, "num_classes", classes)
        if told != classes:
            yield (
                ("DataLoader", split, "dataset", "batch_transform_ops", index, op.label),
                f"expected num_classes to be Arch.class_num, which is {classes}, got {told}",
            )


def _plateau(config: TrainConfig) -> Iterator[tuple[KeyPath, str]]:
    places = [path for path, item in config.optimizers if item.lr.follows_metric]
    if places and len(config.optimizers) > 1:
        for path in places:
            yield (
                (*path, "lr", "name"),
                "expected a function of the step in a list of optimizers, got ReduceOnPlateau; use one "
                "optimizer, or another schedule",
            )
        return
    if not places:
        return
    if not (config.run.eval_during_train and config.data.Eval is not None and config.metric.Eval):
        yield (
            (*places[0], "lr", "name"),
            "expected evaluations beside ReduceOnPlateau, which follows them: eval_during_train, "
            "DataLoader.Eval and Metric.Eval",
        )


def metrics_in_training(config: TrainConfig) -> Sequence[Declaration]:
    """Return the metrics of Metric.Train that training measures.

    Of mixed labels there is no top-k, which PaddleClas d178931 (ppcls/metric, ppcls/engine/engine.py) leaves
    out there, too. A metric of a whole list has no value of a batch.
    """
    mixed = config.data.Train.dataset.batch_transform_ops
    return [
        metric
        for metric in config.metric.Train or ()
        if not getattr(metric, "needs_list", False) and not (mixed and isinstance(metric, TopkAcc))
    ]


def has_less_is_better(config: TrainConfig) -> bool:
    """Tell whether the metric that chooses the best checkpoint counts mistakes."""
    first = next(iter(config.metric.Eval or ()), None)
    return bool(getattr(first, "less_is_better", False))
