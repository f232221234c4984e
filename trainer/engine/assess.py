"""Evaluating weights outside of training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import paddle

from trainer.checkpoints.contents import PARAMS
from trainer.checkpoints.store import CheckpointStore
from trainer.config.archs import predicting_arch
from trainer.config.root import BaseConfig, TrainConfig
from trainer.data.lists import load_list
from trainer.engine.evaluate import evaluate
from trainer.engine.liveness import Liveness
from trainer.engine.precision import choose_precision
from trainer.engine.progress import NO_PROGRESS, Progress
from trainer.engine.run import join_ranks
from trainer.engine.setup import make_eval_loader
from trainer.errors import CheckpointError, DataError, WeightsError
from trainer.losses.build import build_loss
from trainer.metrics.build import build_measures
from trainer.models.registry import build_model
from trainer.models.weights import apply_weights, read_weights
from trainer.protocol.evaluated import Evaluated
from trainer.protocol.lastrun import newest_run
from trainer.protocol.layout import OutputLayout
from trainer.ranks import Ranks


@dataclass(frozen=True, kw_only=True, slots=True)
class Assessment:
    """Results of an evaluation, equal on every rank.

    Attributes:
        weights: The file that was evaluated.
        results: Means of losses and metrics by name.
        bad_images: Samples that could not be read and are left out, on all ranks together.
        notes: What this rank has to say of images that cannot be read, or not without doubt.
        evaluated: top1 beside always answering the largest class; None without top1, or with several labels.
    """

    weights: Path
    results: dict[str, float]
    bad_images: int = 0
    notes: tuple[str, ...] = ()
    evaluated: Evaluated | None = None


def assess(
    config: TrainConfig, ranks: Ranks, *, weights: Path | None, progress: Progress = NO_PROGRESS
) -> Assessment:
    """Evaluate weights on `DataLoader.Eval`.

    Args:
        config: Checked.
        ranks: This process.
        weights: A `.pdparams`; None for Global.pretrained_model, else the best checkpoint of the output
            folder, else its latest.
        progress: Is told of every batch.

    Raises:
        WeightsError: There are none, or they are another model's.
        DataError: The list is refused.
    """
    if config.data.Eval is None:
        raise DataError(["DataLoader.Eval: expected a section to evaluate with, got none; add it"])
    samples = load_list(config.data.Eval.dataset, class_num=config.arch.class_num, path_map=ranks.path_map)
    chosen = weights or choose_weights(config)
    collective = join_ranks(config, ranks)
    model = build_model(config.arch)
    load_exactly(model, chosen)
    loader = make_eval_loader(config, samples, ranks=ranks)
    results = evaluate(
        model, loader,
        loss=build_loss(config.loss.Eval or config.loss.Train), measures=build_measures(config.metric.Eval),
        collective=collective, liveness=Liveness(None, local_rank=0), precision=choose_precision(config),
        progress=progress,
    )  # fmt: skip
    top1, floor = results.metrics.get("top1"), samples.largest_class()
    evaluated = None
    if top1 is not None and floor is not None:
        evaluated = Evaluated(top1=top1, best_top1=top1, largest_class=floor, images=len(samples))
    return Assessment(
        weights=chosen, results=results.values, bad_images=results.bad_images,
        notes=(
            *(f"warning: {note}" for note in samples.notes if ranks.is_first),
            *loader.bad_images.take_unsaid(),
        ),
        evaluated=evaluated,
    )  # fmt: skip


def choose_weights(config: BaseConfig) -> Path:
    """Return the file that the config's user means when none is named.

    Raises:
        WeightsError: There is none.
        CheckpointError: It is damaged.
    """
    if config.run.pretrained_model:
        return Path(config.run.pretrained_model)
    output = newest_run(Path(config.run.output_dir))
    store = CheckpointStore(OutputLayout(output))
    found = store.find_best()
    if found.checkpoint is None and not found.damaged:
        found = store.find_latest()
    if found.damaged:  # another one would be taken for the one that was meant
        raise CheckpointError(
            f"{output}: expected whole weights, got damaged ones: {found.damaged[0]}; name "
            "others by --weights FILE"
        )
    checkpoint = found.checkpoint
    if checkpoint is None:
        raise WeightsError(f"{output}: expected a checkpoint, got none; train first, or pass --weights FILE")
    return checkpoint.folder / PARAMS


def load_answering(config: BaseConfig, path: Path) -> paddle.nn.Layer:
    """Build the network that predicts, with its weights: those of several networks, or its own.

    Raises:
        WeightsError: They are another network's, or the file cannot be read.
    """
    arch, prefix = predicting_arch(config.arch)
    model = build_model(arch.without_features())
    load_exactly(model, path, prefix=prefix)
    model.eval()
    return model


def load_exactly(model: paddle.nn.Layer, path: Path, *, prefix: str = "") -> None:
    """Put weights into a model that they must fit in every key.

    Args:
        model: The network.
        path: A `.pdparams`.
        prefix: Taken off the keys that begin with it, where there are such keys.

    Raises:
        WeightsError: They do not fit, or the file cannot be read.
    """
    try:
        weights = read_weights(path)
        own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        odd = apply_weights(model, own or weights).misfits
    except WeightsError as error:
        error.add_place("weights")
        raise
    if odd:
        raise WeightsError(
            f"{path}: expected weights of this model, but {len(odd)} keys do not fit, such as {odd[0]}; "
            "use the config that they were trained with"
        )
