"""What sections of a config must agree on; each of them is right by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.config.archs import DistillationArch, Freeze
from trainer.config.data import (
    CustomLabelDataset,
    Dataset,
    ImageNetDataset,
    MultiLabelDataset,
    MultiScaleDataset,
    SplitSection,
)
from trainer.config.losses import ClassWeightedLoss, DistillationLoss
from trainer.config.metrics import DistillationTopkAcc, Metric, TopkAcc, TprAtFpr
from trainer.config.ops import STAGES, Op
from trainer.config.pipeline import find_size, of_stage
from trainer.config.problems import KeyPath, format_path
from trainer.config.root import TrainConfig
from trainer.config.samplers import ClassBalancedSampler, DistributedBatchSampler, MultiScaleSampler
from trainer.config.scalars import SPLITS, Pixels, Split

Findings = Iterator[tuple[KeyPath, str]]
"""Places, each with the sentence of what is wrong there."""


def find_disagreements(config: TrainConfig) -> Findings:
    """Yield the place and the sentence of each."""
    yield from _samplers_and_datasets(config)
    yield from _plateau(config)
    yield from _labels(config)
    yield from _class_weights(config)
    yield from _distillation(config)
    yield from _refused_sizes(config)
    yield from _growing(config)
    yield from _early_stopping(config)
    yield from _freezing(config)
    if config.run.time_budget is not None and config.is_progressive:
        yield (
            ("Global", "time_budget"),
            "expected none beside train_mode: progressive, whose stages are shares of all epochs",
        )
    if config.data.Eval is not None and config.data.Eval.dataset.batch_transform_ops:
        yield (
            ("DataLoader", "Eval", "dataset", "batch_transform_ops"),
            "expected none, because mixed images have no class to be compared with; remove it",
        )


def _samplers_and_datasets(config: TrainConfig) -> Findings:
    for split, section in config.data.splits:
        sampler, dataset = section.sampler, section.dataset
        if split == "Eval" and type(sampler) is not DistributedBatchSampler:
            yield (
                ("DataLoader", split, "sampler"),
                f"expected DistributedBatchSampler, which takes each sample once, got "
                f"{type(sampler).__name__}",
            )
        elif isinstance(sampler, MultiScaleSampler) and not isinstance(dataset, MultiScaleDataset):
            yield (
                ("DataLoader", split, "dataset"),
                f"expected MultiScaleDataset beside MultiScaleSampler, got {type(dataset).__name__}",
            )
        elif isinstance(dataset, MultiScaleDataset) and not isinstance(sampler, MultiScaleSampler):
            yield (
                ("DataLoader", split, "sampler"),
                f"expected MultiScaleSampler beside MultiScaleDataset, got {type(sampler).__name__}",
            )
        elif isinstance(sampler, ClassBalancedSampler) and not isinstance(dataset, ImageNetDataset):
            yield (
                ("DataLoader", split, "dataset"),
                f"expected a list with one class an image (ImageNetDataset) beside ClassBalancedSampler, got "
                f"{type(dataset).__name__}",
            )
        yield from _labels_and_classes(dataset, split, classes=config.arch.class_num)
        if isinstance(sampler, MultiScaleSampler) and section.loader.rng == "paddleclas":
            yield (
                ("DataLoader", split, "loader", "rng"),
                "expected per_sample beside MultiScaleSampler, which would start the stream anew each epoch",
            )


def _labels_and_classes(dataset: Dataset, split: Split, *, classes: int) -> Findings:
    if isinstance(dataset, CustomLabelDataset) and dataset.labels > classes:
        yield (
            ("DataLoader", split, "dataset", "label_key"),
            f"expected at most Arch.class_num labels, which is {classes}, got {dataset.labels} of "
            f"{dataset.label_key}; set Arch.class_num to {dataset.labels}",
        )
    for index, op in enumerate(dataset.batch_transform_ops or ()):
        told = op.told_classes
        if told not in (None, classes):
            yield (
                ("DataLoader", split, "dataset", "batch_transform_ops", index, op.label),
                f"expected num_classes to be Arch.class_num, which is {classes}, got {told}",
            )


def _plateau(config: TrainConfig) -> Findings:
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


def _early_stopping(config: TrainConfig) -> Findings:
    wanted = config.run.early_stopping
    if wanted is None:
        return
    place: KeyPath = ("Global", "early_stopping")
    if not config.run.eval_during_train or config.data.Eval is None:
        yield place, "expected evaluations beside it: eval_during_train and DataLoader.Eval"
        return
    name, metrics = wanted.metric, config.metric.of("Eval")
    if name is None:
        if not metrics:
            yield place, "expected a metric in Metric.Eval, which has none; add one, or take metric: loss"
        elif wanted.mode == "auto" and not metrics[0].values:
            yield (*place, "mode"), f"expected max or min: which is better of {metrics[0].label} is not known"
        return
    bare = name.removeprefix("ema_")
    if bare != name and config.ema is None:
        yield (*place, "metric"), f"expected the section EMA beside {name}; add it, or take {bare}"
        return
    known = [value for metric in metrics for value in metric.values]
    losses = config.loss.of("Eval") or config.loss.of("Train")
    own = [loss.label for loss in losses]
    if bare in ("loss", *known) or any(bare.startswith(label) for label in own):
        return
    if not any(metric.is_extra for metric in metrics) and not any(loss.is_extra for loss in losses):
        yield (
            (*place, "metric"),
            f"expected a value of the evaluation, which are {', '.join(('loss', *known))}, got {name!r}",
        )
    elif wanted.mode == "auto":
        yield (*place, "mode"), f"expected max or min: which is better of {name} is not known"


def find_frozen(config: TrainConfig) -> Iterator[tuple[KeyPath, Freeze]]:
    """Yield what is frozen of each network, after its place."""
    if config.arch.freeze is not None:
        yield ("Arch", "freeze"), config.arch.freeze
    if isinstance(config.arch, DistillationArch):
        for index, (name, part) in enumerate(config.arch.by_name.items()):
            if part.freeze is not None:
                yield ("Arch", "models", index, name, "freeze"), part.freeze


def _freezing(config: TrainConfig) -> Findings:
    for path, _ in find_frozen(config):
        if config.run.to_static:
            yield (
                ("Global", "to_static"),
                f"expected False beside {format_path(path)}: what was compiled would go on to freeze it",
            )


def is_less_better(config: TrainConfig, name: str) -> bool:
    """Tell whether less is better of a value of the evaluation; of one that is not known, more is."""
    for metric in config.metric.of("Eval"):
        if name in metric.values:
            return metric.less_is_better
    losses = config.loss.of("Eval") or config.loss.of("Train")
    return name == "loss" or any(name.startswith(loss.label) for loss in losses)


def metrics_in_training(config: TrainConfig) -> Sequence[Metric]:
    """Return the metrics of Metric.Train that training measures.

    Of mixed labels there is no top-k, which PaddleClas d178931 (ppcls/metric, ppcls/engine/engine.py) leaves
    out there, too. A metric of a whole list has no value of a batch.
    """
    mixed = config.data.Train.dataset.batch_transform_ops
    return [
        metric
        for metric in config.metric.of("Train")
        if not metric.needs_list and not (mixed and isinstance(metric, TopkAcc))
    ]


def has_less_is_better(config: TrainConfig) -> bool:
    """Tell whether the metric that chooses the best checkpoint counts mistakes."""
    first = next(iter(config.metric.of("Eval")), None)
    return first is not None and first.less_is_better


def _labels(config: TrainConfig) -> Findings:
    """Yield the place and the sentence of each."""
    for split, section in config.data.splits:
        yield from _losses(config, split, section)
        yield from _metrics(config, split, section)
    if config.run.use_multilabel and not isinstance(config.data.Train.dataset, MultiLabelDataset):
        yield (
            ("Global", "use_multilabel"),
            f"expected False beside {type(config.data.Train.dataset).__name__}, whose images have one class "
            "each",
        )


def _losses(config: TrainConfig, split: Split, section: SplitSection) -> Findings:
    dataset = section.dataset
    several = isinstance(dataset, MultiLabelDataset)
    ratios = isinstance(dataset, MultiLabelDataset) and dataset.label_ratio
    named: Split = split if config.loss.of(split) else "Train"
    for index, loss in enumerate(config.loss.of(named)):
        if ratios and loss.of_one_class:
            yield (
                ("DataLoader", split, "dataset", "label_ratio"),
                f"expected False beside {loss.label}, which takes labels without ratios",
            )
        if (loss.of_several_classes or loss.needs_ratios) and not several:
            yield (
                ("Loss", named, index, loss.label),
                f"expected MultiLabelDataset in DataLoader.{split} beside it, got "
                f"{type(section.dataset).__name__}; take CELoss",
            )
        elif loss.needs_ratios and several and not ratios:
            yield (
                ("DataLoader", split, "dataset", "label_ratio"),
                f"expected True beside {loss.label} with weight_ratio, got False",
            )


def _class_weights(config: TrainConfig) -> Findings:
    """Hold the weights of classes against the classes, and `auto` against what there is to count."""
    dataset, classes = config.data.Train.dataset, config.arch.class_num
    for split in SPLITS:
        for index, loss in enumerate(config.loss.of(split)):
            wanted = loss.class_weight if isinstance(loss, ClassWeightedLoss) else None
            path = ("Loss", split, index, loss.label, "class_weight")
            if wanted == "auto" and split == "Eval":
                yield (
                    path,
                    "expected none in Loss.Eval, got auto, which counts the training list: the losses of "
                    "evaluations could not be compared with each other; remove it",
                )
            elif wanted == "auto" and not isinstance(dataset, ImageNetDataset):
                yield (
                    path,
                    "expected numbers, because auto counts a list with one class an image (ImageNetDataset), "
                    f"got auto beside {type(dataset).__name__}",
                )
            elif isinstance(wanted, tuple) and len(wanted) != classes:
                yield (
                    path,
                    f"expected a number for each class of Arch.class_num, which is {classes}, got "
                    f"{len(wanted)}",
                )


def _metrics(config: TrainConfig, split: Split, section: SplitSection) -> Findings:
    several = isinstance(section.dataset, MultiLabelDataset)
    for index, metric in enumerate(config.metric.of(split)):
        path = ("Metric", split, index, metric.label)
        if isinstance(metric, TopkAcc | TprAtFpr) and several:
            yield (
                path,
                "expected a metric of several classes an image beside MultiLabelDataset; remove "
                f"{metric.label}",
            )
        if metric.of_several_classes and not several:
            yield (
                path,
                f"expected MultiLabelDataset in DataLoader.{split} beside it, got "
                f"{type(section.dataset).__name__}; take TopkAcc",
            )
        if isinstance(metric, TprAtFpr) and config.arch.class_num < 2:
            yield path, f"expected Arch.class_num of at least 2 beside it, got {config.arch.class_num}"


def _distillation(config: TrainConfig) -> Findings:
    """Yield the place and the sentence of each."""
    for split in SPLITS:
        for index, loss in enumerate(config.loss.of(split)):
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
        for index, metric in enumerate(config.metric.of(split)):
            if isinstance(metric, DistillationTopkAcc):
                key = metric.feature_key
                keys = ((metric.model_key, key),) if key not in (None, "logits") else ()
                yield from _networks(
                    config, ("Metric", split, index, metric.label), (metric.model_key,), keys
                )


def find_uncounted_values(config: TrainConfig) -> Findings:
    """Yield the place and the sentence of each loss of which PaddleClas trains on one value of several."""
    for split in SPLITS:
        losses = config.loss.of(split)
        only = losses[0] if len(losses) == 1 else None
        if isinstance(only, DistillationLoss) and only.value_count > 1:
            yield (
                ("Loss", split, 0, only.label),
                f"expected one value of the only loss of a list, got {only.value_count}: as in PaddleClas, "
                "the first alone counts; beside another loss they are all added up",
            )


def _networks(
    config: TrainConfig, path: KeyPath, models: Sequence[str], keys: Sequence[tuple[str, str]]
) -> Findings:
    arch = config.arch
    if not isinstance(arch, DistillationArch):
        yield path, f"expected Arch.name DistillationModel beside it, got {arch.name!r}"
        return
    known = arch.by_name
    unknown = sorted(set(models) - set(known))
    if unknown:
        yield path, f"expected names of Arch.models, which are {', '.join(known)}, got {', '.join(unknown)}"
    for model, key in keys:
        if model not in known or (known[model].return_stages and not known[model].reads_stages):
            continue  # of which features there are, the network itself knows
        if key not in known[model].features:
            yield (
                path,
                f"expected a feature that Arch.models hands on, got {key!r} of {model}; "
                f"add it to the return_patterns of {model}",
            )


def _refused_sizes(config: TrainConfig) -> Findings:
    """Yield the place and the sentence of each size that a network refuses.

    `Infer` is left alone: training does not read it.
    """
    networks = config.arch.by_name.values() if isinstance(config.arch, DistillationArch) else (config.arch,)
    for path, size in _sizes(config):
        expected = next(filter(None, (network.refuse_size(size) for network in networks)), "")
        if expected:
            yield path, f"expected {expected}, got {size[0]} × {size[1]}; `trainer resize` sets it everywhere"


def _sizes(config: TrainConfig) -> Iterator[tuple[KeyPath, Pixels]]:
    for split, section in config.data.splits:
        sampler = section.sampler
        if isinstance(section.dataset, MultiScaleDataset) and isinstance(sampler, MultiScaleSampler):
            for index, scale in enumerate(sampler.scales):
                side = scale // sampler.divided_factor * sampler.divided_factor
                yield ("DataLoader", split, "sampler", "scales", index), (side, side)
            continue
        ops = section.dataset.transform_ops
        grows = split == "Train" and config.is_progressive
        for stage in range(STAGES) if grows else (None,):
            found = find_size(ops if stage is None else of_stage(ops, stage))
            if found is not None:
                index, size = found
                key = _key(ops[index], stage)
                yield ("DataLoader", split, "dataset", "transform_ops", index, ops[index].label, *key), size


def _key(op: Op, stage: int | None) -> KeyPath:
    if stage is not None and "progress_size" in op.staged_keys:
        return ("progress_size", stage)
    return (op.size_key,) if op.size_key else ()


_OPS: KeyPath = ("DataLoader", "Train", "dataset", "transform_ops")


def find_growing(config: TrainConfig) -> list[KeyPath]:
    """Return the places of what is given for the stages."""
    ops = config.data.Train.dataset.transform_ops
    return [(*_OPS, index, op.label, key) for index, op in enumerate(ops) for key in op.staged_keys]


def _growing(config: TrainConfig) -> Findings:
    """Yield the place and the sentence of each."""
    if not config.is_progressive:
        return
    train = config.data.Train
    if not find_growing(config):
        yield (
            ("Global", "train_mode"),
            f"expected progress_size of RandCropImage, {STAGES} sizes, in DataLoader.Train beside "
            "'progressive', got none; add it, or remove train_mode",
        )
    if isinstance(train.sampler, MultiScaleSampler):
        yield (
            ("DataLoader", "Train", "sampler"),
            "expected another sampler than MultiScaleSampler, which sets sizes too, beside "
            "Global.train_mode: progressive",
        )
    if train.loader.rng == "paddleclas":
        yield (
            ("DataLoader", "Train", "loader", "rng"),
            "expected per_sample beside Global.train_mode: progressive, which would start the stream anew",
        )
