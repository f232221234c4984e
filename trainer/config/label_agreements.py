"""What losses and metrics must agree on with the labels that a dataset gives."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.data import MultiLabelDataset, SplitSection
from trainer.config.metrics import TopkAcc, TprAtFpr
from trainer.config.problems import KeyPath
from trainer.config.root import TrainConfig

_OF_ONE_CLASS = frozenset({"CELoss", "SoftTargetCrossEntropy", "GoogLeNetLoss"})

Found = Iterator[tuple[KeyPath, str]]


def find_label_disagreements(config: TrainConfig) -> Found:
    """Yield the place and the sentence of each."""
    for split in ("Train", "Eval"):
        section: SplitSection | None = getattr(config.data, split)
        if section is not None:
            yield from _losses(config, split, section)
            yield from _metrics(config, split, section)
    if config.run.use_multilabel and not isinstance(config.data.Train.dataset, MultiLabelDataset):
        yield (
            ("Global", "use_multilabel"),
            f"expected False beside {type(config.data.Train.dataset).__name__}, whose images have one class "
            "each",
        )


def _losses(config: TrainConfig, split: str, section: SplitSection) -> Found:
    several = isinstance(section.dataset, MultiLabelDataset)
    ratios = getattr(section.dataset, "label_ratio", False)
    named = split if getattr(config.loss, split) else "Train"
    for index, loss in enumerate(getattr(config.loss, named)):
        one_class = loss.label in _OF_ONE_CLASS
        if ratios and (one_class or getattr(loss, "of_one_class", False)):
            yield (
                ("DataLoader", split, "dataset", "label_ratio"),
                f"expected False beside {loss.label}, which takes labels without ratios",
            )
        weighted = getattr(loss, "weight_ratio", False)
        if (getattr(loss, "of_several_classes", False) or weighted) and not several:
            yield (
                ("Loss", named, index, loss.label),
                f"expected MultiLabelDataset in DataLoader.{split} beside it, got "
                f"{type(section.dataset).__name__}; take CELoss",
            )
        elif weighted and several and not ratios:
            yield (
                ("DataLoader", split, "dataset", "label_ratio"),
                f"expected True beside {loss.label} with weight_ratio, got False",
            )


def _metrics(config: TrainConfig, split: str, section: SplitSection) -> Found:
    several = isinstance(section.dataset, MultiLabelDataset)
    for index, metric in enumerate(getattr(config.metric, split) or ()):
        path = ("Metric", split, index, metric.label)
        if isinstance(metric, TopkAcc | TprAtFpr) and several:
            yield (
                path,
                "expected a metric of several classes an image beside MultiLabelDataset; remove "
                f"{metric.label}",
            )
        if getattr(metric, "of_several_classes", False) and not several:
            yield (
                path,
                f"expected MultiLabelDataset in DataLoader.{split} beside it, got "
                f"{type(section.dataset).__name__}; take TopkAcc",
            )
        if isinstance(metric, TprAtFpr) and config.arch.class_num < 2:
            yield path, f"expected Arch.class_num of at least 2 beside it, got {config.arch.class_num}"
