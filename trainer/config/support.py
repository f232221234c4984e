"""What PaddleClas can do and this trainer cannot: refused where it would change the result, else said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.config.agreements import has_less_is_better
from trainer.config.declaration import Declaration
from trainer.config.distillation_agreements import find_values_in_vain
from trainer.config.in_vain import find_in_vain, find_slim, find_to_know
from trainer.config.metrics import TopkAcc
from trainer.config.problems import KeyPath
from trainer.config.progressive import PROGRESSIVE, find_growing, is_progressive
from trainer.config.root import TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsupported:
    """One thing that a config asks for and does not get, or should know of.

    Attributes:
        path: Its place.
        message: The sentence.
        warning: The result is the same without it.
        vain: It has no effect at all, which `--strict` does not let pass.
    """

    path: KeyPath
    message: str
    warning: bool = False
    vain: bool = False


def find_unsupported(config: TrainConfig, values: Mapping[str, object]) -> list[Unsupported]:
    """List what a config asks for and this release does not do.

    Args:
        config: Checked.
        values: What it was made of.
    """
    run = config.run
    found = [Unsupported(path=path, message=message) for path, message in find_slim(values)]
    found += [
        Unsupported(path=path, message=message, warning=True, vain=True)
        for path, message in find_in_vain(config, values)
    ]
    found += [Unsupported(path=path, message=text, warning=True) for path, text in find_to_know(config)]
    for key, kept in (("train_mode", PROGRESSIVE), ("eval_mode", "classification")):
        mode = getattr(run, key)
        if mode not in (None, kept):
            message = f"expected {kept} or none, got {mode!r}, which this trainer does not have; remove it"
            found.append(Unsupported(path=("Global", key), message=message))
    if not is_progressive(config):
        message = "expected Global.train_mode: progressive beside it, without which it has no effect"
        found += [
            Unsupported(path=path, message=message, warning=True, vain=True) for path in find_growing(config)
        ]
    if config.data.Train.dataset.batch_transform_ops:
        message = "expected none beside batch_transform_ops, whose labels have no top-k: it is left out"
        metrics: Sequence[Declaration] = config.metric.Train or ()
        found += [
            Unsupported(path=("Metric", "Train", index, "TopkAcc"), message=message, warning=True, vain=True)
            for index, metric in enumerate(metrics)
            if isinstance(metric, TopkAcc)
        ]
    for index, metric in enumerate(config.metric.Train or ()):
        if getattr(metric, "needs_list", False):
            message = "expected it in Metric.Eval only: it is a number of a whole list, and no batch has one"
            path = ("Metric", "Train", index, metric.label)
            found.append(Unsupported(path=path, message=message, warning=True, vain=True))
    place, first = config.optimizers[0]
    rate, better = first.lr, "min" if has_less_is_better(config) else "max"
    mode = getattr(rate, "mode", better) if rate.follows_metric else better
    if config.metric.Eval and mode != better:
        message = f"expected {better!r}; with {mode!r} the learning rate falls while the metric improves"
        found.append(Unsupported(path=(*place, "lr", "mode"), message=message, warning=True))
    found += [
        Unsupported(path=path, message=message, warning=True) for path, message in find_values_in_vain(config)
    ]
    return found
