"""Which of several weights answers best, and what their mean, or more looks at each image, is worth.

Each is measured as any evaluation is (`trainer.engine.evaluate`), over all ranks and without padding, and the
seconds that it took stand beside what it came to: the mean of three networks takes three forward passes an
image, and so does whoever serves it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import paddle

from trainer.config.archs import DistillationArch
from trainer.config.checks import has_less_is_better
from trainer.config.data import MultiLabelDataset
from trainer.config.losses import DistillationLoss, GoogLeNetLoss
from trainer.config.metrics import DistillationTopkAcc, GoogLeNetTopkAcc
from trainer.config.pipeline import find_size
from trainer.config.problems import ConfigError, Problem
from trainer.config.root import TrainConfig
from trainer.data.lists import load_list
from trainer.engine.class_activation import no_maps
from trainer.engine.collective import join_ranks
from trainer.engine.ensemble import Ensemble, Views
from trainer.engine.evaluate import Answered, Evaluation, evaluate_model
from trainer.engine.liveness import Liveness
from trainer.engine.precision import choose_precision
from trainer.engine.setup import make_eval_loader
from trainer.engine.trained import load_weights
from trainer.errors import DataError
from trainer.losses.build import build_loss
from trainer.metrics.build import build_measures
from trainer.models.registry import build_model
from trainer.progress import NO_PROGRESS, Progress
from trainer.ranks import Ranks
from trainer.results import Candidate, SelectionResult


def compare_weights(
    config: TrainConfig, ranks: Ranks, *, weights: Sequence[Path], ensemble: bool, views: Views,
    progress: Progress = NO_PROGRESS, answered: Callable[[Answered], None] | None = None,
) -> SelectionResult:  # fmt: skip
    """Evaluate several weights on `DataLoader.Eval`; then their mean, or each with more views.

    Args:
        config: Checked.
        ranks: This process.
        weights: At least one file.
        ensemble: Evaluate the mean of all of them, too.
        views: Besides of each image as it is: of the mean, or else of each file.
        progress: Is told of every batch.
        answered: Is told of the last one that is evaluated, on rank 0.

    Raises:
        ConfigError: The config has losses or metrics of several answers, or a network takes one size only.
        WeightsError: Weights are another model's.
        DataError: The list is refused.
    """
    if config.data.Eval is None:
        raise DataError(["DataLoader.Eval: expected a section to evaluate with, got none; add it"])
    if ensemble or views.names:
        _refuse_several_answers(config)
        _refuse_sizes(config, views)
    samples = load_list(config.data.Eval.dataset, class_num=config.arch.class_num, path_map=ranks.path_map)
    collective = join_ranks(config.run.device, ranks)
    loader = make_eval_loader(config.data.Eval, samples, run=config.run, ranks=ranks)
    loss, measures = build_loss(config.loss.in_evaluation), build_measures(config.metric.Eval)

    def measure(network: paddle.nn.Layer, *, of: Sequence[Path], views: Views, last: bool) -> Evaluation:
        began_s = time.perf_counter()
        found = evaluate_model(
            network, loader, loss=loss, measures=measures, collective=collective,
            liveness=Liveness(None, local_rank=0),
            precision=choose_precision(config.amp, on_gpu=config.run.on_gpu), progress=progress,
            keeps_answers=last and answered is not None,
        )  # fmt: skip
        candidates.append(
            Candidate(
                weights=tuple(of), views=views.names, passes=len(of) * views.count,
                seconds=time.perf_counter() - began_s, losses=found.losses, metrics=found.metrics,
            )
        )  # fmt: skip
        return found

    candidates: list[Candidate] = []
    more = ensemble or bool(views.names)
    several = config.run.use_multilabel or isinstance(config.data.Eval.dataset, MultiLabelDataset)
    members: list[paddle.nn.Layer] = []
    with contextlib.closing(loader):
        for number, path in enumerate(weights, start=1):
            network = members[0] if members and not more else build_model(config.arch)
            load_weights(network, path)
            members = [*members, network] if more else [network]
            found = measure(network, of=[path], views=Views(), last=not more and number == len(weights))
        groups = [(tuple(weights), members)] if ensemble else []
        if views.names and not ensemble:
            groups = [((path,), [network]) for path, network in zip(weights, members, strict=True)]
        for number, (paths, networks) in enumerate(groups, start=1):
            whole = Ensemble(networks, views, several=several)
            found = measure(whole, of=paths, views=views, last=number == len(groups))
    if answered is not None and found.answers is not None and ranks.is_first:
        answered(
            Answered(
                answers=found.answers, samples=samples, weights=Path(candidates[-1].label),
                unreadable=found.bad_images,
                explain=lambda _: no_maps("several weights are compared here; evaluate one alone for it"),
            )
        )  # fmt: skip
    metric = next(iter(candidates[0].metrics), "loss")
    less = metric == "loss" or has_less_is_better(config)
    sign = 1.0 if less else -1.0
    best = min(range(len(candidates)), key=lambda number: sign * candidates[number].values[metric])
    return SelectionResult(
        candidates=tuple(candidates), metric=metric, less_is_better=less, best=best, images=len(samples),
        bad_images=found.bad_images,
        notes=(*(f"warning: {note}" for note in samples.notes if ranks.is_first), *loader.take_unsaid()),
    )  # fmt: skip


def _refuse_several_answers(config: TrainConfig) -> None:
    """Refuse what needs each answer of a network, of which a mean is none."""
    wrong = [
        ("Loss", loss.label)
        for loss in config.loss.in_evaluation
        if isinstance(loss, DistillationLoss | GoogLeNetLoss)
    ]
    wrong += [
        ("Metric", metric.label)
        for metric in config.metric.of("Eval")
        if isinstance(metric, DistillationTopkAcc | GoogLeNetTopkAcc)
    ]
    if wrong:
        raise ConfigError(
            [
                Problem(
                    file="config", path=(section, "Eval"),
                    message=f"expected one of the logits alone beside a mean of answers, got {name}; name "
                    "CELoss or TopkAcc",
                )
                for section, name in wrong
            ]
        )  # fmt: skip


def _refuse_sizes(config: TrainConfig, views: Views) -> None:
    """Refuse views that a network does not take."""
    assert config.data.Eval is not None
    found = find_size(config.data.Eval.dataset.transform_ops)
    if found is None:
        return
    networks = config.arch.by_name.values() if isinstance(config.arch, DistillationArch) else (config.arch,)
    for width, height in views.sizes(found[1])[1:]:
        expected = next(filter(None, (network.refuse_size((width, height)) for network in networks)), "")
        if expected:
            raise ConfigError(
                [
                    Problem(
                        file="--tta scales",
                        message=f"expected {expected} for {config.arch.name}, got {width} × {height} beside "
                        f"{found[1][0]} × {found[1][1]}; leave scales out",
                    )
                ]
            )
