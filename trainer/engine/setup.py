"""Builds what a config names: lists, loaders, model, losses, metrics, optimizer, schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray

from trainer.checkpoints.contents import MASTER
from trainer.checkpoints.pdfiles import Array
from trainer.config.archs import Arch, BaseArch, DistillationArch
from trainer.config.checks import has_less_is_better, metrics_in_training
from trainer.config.data import DataLoaderSection, LoaderSection, SplitSection
from trainer.config.problems import ConfigError, Problem
from trainer.config.root import TrainConfig
from trainer.config.sections import GlobalSection
from trainer.data.auto_workers import Room
from trainer.data.encoded import read_encoded
from trainer.data.lists import SampleList, load_list
from trainer.data.loader import Loader
from trainer.data.readers import Readers
from trainer.engine.collective import Collective
from trainer.engine.early_stopping import EarlyStopping, build_early_stopping
from trainer.engine.ema import ExponentialMovingAverage
from trainer.engine.freezing import Freezing, build_freezing
from trainer.engine.loss_layers import attach, detached, own_parameters
from trainer.engine.precision import Precision, choose_precision
from trainer.errors import DataError, ImageError
from trainer.losses.build import Losses, LossFunction, build_loss
from trainer.losses.class_weight import describe_class_weights, resolve_class_weights
from trainer.metrics.batch import BatchMetric
from trainer.metrics.build import Measure, build_batch_metrics, build_measures
from trainer.models.registry import build_model
from trainer.models.weights import view_on_host
from trainer.models.weights_store import WeightsStore, address_of, is_url
from trainer.optim.schedules import build_schedule
from trainer.optim.scopes import build_optimizers
from trainer.protocol.limits import usable_cores
from trainer.protocol.pathmap import PathMap
from trainer.ranks import Ranks

_TRIED = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Lists:
    """The list files, checked."""

    train: SampleList
    evaluation: SampleList | None

    @property
    def size(self) -> int:
        """Number of samples in both."""
        return len(self.train) + (len(self.evaluation) if self.evaluation is not None else 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopOptions:
    """What the loop itself reads of a config; all else has become parts by then.

    Attributes:
        run: The section `Global`.
        batches: Of a rank, in an epoch: whole groups of `update_freq` only. With `rng: paddleclas`,
            `iter_per_epoch` may be more than the list has.
        update_freq: Batches whose gradients are added up for one optimizer step; with fewer nodes than the
            job has, more than `Global.update_freq`.
        divisor: Of a batch's loss, so that the gradients of a step add up to those of the mean loss.
        is_progressive: Images grow in stages.
        less_is_better: The metric that chooses the best checkpoint counts mistakes.
        early_stopping: Ends the run where it gets no better; None where it does not.
        seeds_steps: Dropout is seeded before each step (`loader.rng: per_sample`).
    """

    run: GlobalSection
    batches: int
    update_freq: int
    divisor: float
    is_progressive: bool
    less_is_better: bool
    seeds_steps: bool
    early_stopping: EarlyStopping | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps an epoch."""
        return self.batches // self.update_freq


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """All parts of a training.

    Attributes:
        options: What the loop reads of the config.
        model: The bare model; its state dict has PaddleClas's keys.
        network: What is called in training: the model, or its data-parallel wrapper.
        optimizers: One, or several of which each moves its own parameters.
        schedules: Learning rate of each, used at an optimizer step, from 0.
        ema: Moving average of the weights, once they are loaded, where the config has `EMA`.
        precision: How forward and backward passes are computed.
        apart: Parameters whose gradients data parallelism does not know.
        freezing: Layers that do not learn, where `Arch.freeze` names some.
    """

    options: LoopOptions
    ranks: Ranks
    collective: Collective
    model: paddle.nn.Layer
    network: paddle.nn.Layer
    loss: LossFunction
    loss_in_eval: LossFunction
    metrics: BatchMetric
    measures_in_eval: Sequence[Measure]
    optimizers: Sequence[paddle.optimizer.Optimizer]
    schedules: Sequence[Callable[[int], float]]
    train_loader: Loader
    eval_loader: Loader | None
    precision: Precision
    ema: ExponentialMovingAverage | None = None
    apart: Sequence[paddle.Tensor] = ()
    freezing: Freezing | None = None

    def begin_training(self) -> None:
        """Put the network into training mode, all but what is frozen."""
        self.network.train()
        if self.freezing is not None:
            self.freezing.hold_norms()

    def close(self) -> None:
        """End the loaders' processes, and let go of their caches."""
        self.train_loader.close()
        if self.eval_loader is not None:
            self.eval_loader.close()

    @property
    def schedule(self) -> Callable[[int], float]:
        """That of the first optimizer; one that follows evaluations is alone."""
        return self.schedules[0]


def load_lists(
    data: DataLoaderSection, *, class_num: int, evaluates: bool, path_map: PathMap | None = None
) -> Lists:
    """Read and check the list files of a config.

    Args:
        data: Its section `DataLoader`.
        class_num: Labels are below.
        evaluates: Read the list of `DataLoader.Eval`, too, where there is one.
        path_map: Applied to absolute paths in the lists.

    Raises:
        DataError: A list is refused; both lists' problems are reported.
    """
    wanted = data.Eval if evaluates else None
    found: list[SampleList] = []
    problems: list[str] = []
    for split in (data.Train, wanted):
        if split is not None:
            try:
                found.append(load_list(split.dataset, class_num=class_num, path_map=path_map))
            except DataError as error:
                problems += error.problems
    if problems:
        raise DataError(problems)
    return Lists(train=found[0], evaluation=found[1] if wanted is not None else None)


def prepare(config: TrainConfig, ranks: Ranks) -> Lists:
    """Refuse all that a training refuses before it begins: the same for `trainer train` and `trainer check`.

    Nothing is taken, written or started.

    Args:
        config: Checked.
        ranks: Those that train.

    Raises:
        ConfigError: The config does not go with so many ranks.
        DataError: A list is refused, or is too short for one step.
    """
    _refuse_streams(config.data.Train.loader, ranks)
    lists = load_lists(
        config.data, class_num=config.arch.class_num, evaluates=config.run.eval_during_train,
        path_map=ranks.path_map,
    )  # fmt: skip
    make_train_loader(config, lists, ranks=ranks)
    if lists.evaluation is not None:
        _refuse_unreadable(lists.evaluation, max_pixels=config.run.max_image_pixels)
    return lists


def _refuse_unreadable(samples: SampleList, *, max_pixels: int) -> None:
    """Refuse a list to evaluate on of which nothing can be read: it would be told after the first epoch.

    The first images of the list, at even distances, stand for all: one that can be read is enough.
    """
    tried = range(0, len(samples), max(1, len(samples) // _TRIED))
    first = ""
    for index in tried:
        path = samples.paths[index]
        try:
            read_encoded(Path(path), max_pixels=max_pixels)
        except (ImageError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            first = first or f"the first: {samples.place(index)}: {path}: {reason}"
        else:
            return
    said = f"expected images to evaluate with, got none that can be read of {len(tried)} that were tried"
    raise DataError([f"{samples.source}: {said}", first])


def _refuse_streams(loader: LoaderSection, ranks: Ranks) -> None:
    if loader.rng == "paddleclas" and ranks.shards > 1:
        message = f"expected one rank with rng: paddleclas, whose stream is saved once, got {ranks.shards}"
        path = ("DataLoader", "Train", "loader", "rng")
        raise ConfigError([Problem(file="config", path=path, message=message)])


def make_train_loader(
    config: TrainConfig, lists: Lists, *, ranks: Ranks, readers: Readers | None = None
) -> Loader:
    """Make the loader of `DataLoader.Train`; `readers` are processes that read for others, too.

    Raises:
        DataError: The list is too short for one step of so many ranks.
    """
    return Loader(
        split=config.data.Train, samples=lists.train, rank=ranks.rank, world_size=ranks.world_size,
        shards=ranks.shards, seed=config.run.seed or 0, training=True,
        epochs=config.run.epochs if config.is_progressive else None,
        max_pixels=config.run.max_image_pixels, readers=readers, room=_room(config.run, ranks),
        uint8=config.data.Train.loader.hands_over_uint8(on_gpu=config.run.on_gpu),
    )  # fmt: skip


def make_eval_loader(
    split: SplitSection,
    samples: SampleList,
    *,
    run: GlobalSection,
    ranks: Ranks,
    readers: Readers | None = None,
) -> Loader:
    """Make the loader of `DataLoader.Eval`; `readers` are processes that read for others, too."""
    return Loader(
        split=split, samples=samples, rank=ranks.rank, world_size=ranks.world_size, seed=run.seed or 0,
        training=False, max_pixels=run.max_image_pixels, readers=readers, room=_room(run, ranks),
        uint8=split.loader.hands_over_uint8(on_gpu=run.on_gpu),
    )  # fmt: skip


def _room(run: GlobalSection, ranks: Ranks) -> Room:
    return Room(cores=usable_cores(), ranks=ranks.ranks_here, on_gpu=run.on_gpu)


def _read_options(config: TrainConfig, loader: Loader, ranks: Ranks) -> LoopOptions:
    run = config.run
    there = len(loader) // loader.rounds
    count = run.iter_per_epoch or there
    if not loader.is_continuous:
        count = min(count, there)
    # PaddleClas d178931, ppcls/engine/engine.py: more than an epoch has is none, not as many as it has.
    update_freq = run.update_freq if run.update_freq <= count else 1
    return LoopOptions(
        run=run, batches=count // update_freq * update_freq * loader.rounds,
        update_freq=update_freq * loader.rounds,
        # Ranks are averaged over, and some of them may have no part in the last round.
        divisor=update_freq * loader.rounds if ranks.shards % ranks.world_size == 0
        else update_freq * ranks.shards / ranks.world_size,
        is_progressive=config.is_progressive, less_is_better=has_less_is_better(config),
        seeds_steps=config.data.Train.loader.rng == "per_sample",
        early_stopping=build_early_stopping(config),
    )  # fmt: skip


def say_of_epochs(run: GlobalSection, loader: Loader) -> Iterator[str]:
    """Yield what is done otherwise than `update_freq` and `iter_per_epoch` say, a sentence each."""
    there = len(loader) // loader.rounds
    wanted = run.iter_per_epoch or there
    if wanted > there and not loader.is_continuous:
        yield (
            f"Global.iter_per_epoch: expected at most the {there} batches of an epoch, got {wanted}; an "
            f"epoch has {there}, and with loader.rng: paddleclas it would go on in the next order"
        )
    count = wanted if loader.is_continuous else min(wanted, there)
    if run.update_freq > count:
        yield (
            f"Global.update_freq: expected at most the {count} batches of an epoch, got {run.update_freq}; 1 "
            "is taken, as in PaddleClas"
        )
    elif (left := count % run.update_freq) and not loader.is_continuous:
        yield (
            f"Global.update_freq: {run.update_freq} does not divide the {count} batches of an epoch: the "
            f"last {left} of each epoch's order are not trained on (with loader.rng: paddleclas they open "
            "the next epoch)"
        )


def count_classes(samples: SampleList) -> NDArray[np.int64] | None:
    """Return how many images of each class a list has, int64 [K]; None where images have not one class."""
    labels = samples.labels
    if labels is None or labels.ndim != 1:
        return None
    return np.bincount(labels.astype(np.int64), minlength=samples.classes)


def say_of_losses(config: TrainConfig, lists: Lists) -> Iterator[str]:
    """Yield what is counted for the losses of the training, a sentence each."""
    return describe_class_weights(config.loss.Train, count_classes(lists.train))


def build_setup(config: TrainConfig, lists: Lists, *, ranks: Ranks, collective: Collective) -> Setup:
    """Build everything on this rank; the model is not wrapped yet and holds its initial weights."""
    readers = Readers()
    train_loader = make_train_loader(config, lists, ranks=ranks, readers=readers)
    options = _read_options(config, train_loader, ranks)
    # its networks draw first, as in PaddleClas
    loss = build_loss(resolve_class_weights(config.loss.Train, count_classes(lists.train)))
    model = build_model(config.arch)
    attach(model, loss)
    optimizers = build_optimizers(config.optimizers, model, loss.layers_by_name(), name=config.arch.name)
    return Setup(
        options=options,
        ranks=ranks,
        collective=collective,
        model=model,
        network=model,
        loss=loss,
        loss_in_eval=build_loss(config.loss.in_evaluation),
        metrics=build_batch_metrics(metrics_in_training(config)),
        measures_in_eval=build_measures(config.metric.Eval),
        optimizers=optimizers,
        freezing=build_freezing(config, model),
        schedules=[
            build_schedule(spec.lr, epochs=config.run.epochs, steps_per_epoch=max(1, options.steps_per_epoch))
            for _, spec in config.optimizers
        ],
        train_loader=train_loader,
        eval_loader=make_eval_loader(
            config.data.Eval, lists.evaluation, run=config.run, ranks=ranks, readers=readers
        )
        if config.data.Eval is not None and lists.evaluation
        else None,
        precision=choose_precision(config.amp, on_gpu=config.run.on_gpu),
    )


def wrap(setup: Setup) -> Setup:
    """Make what is trained of a model that holds its first weights.

    That is its mixed precision, and data parallelism, which hands rank 0's parameters and buffers to all
    ranks.
    """
    setup.precision.decorate(setup.model, setup.optimizers)
    if setup.options.run.to_static:  # in place: the model's forward is compiled when it is first called
        paddle.jit.to_static(setup.model, full_graph=True)
    if setup.ranks.world_size == 1:
        return setup
    setup.collective.wait()
    with detached(setup.model):
        network = paddle.DataParallel(setup.model)
    apart = own_parameters(setup.model)
    setup.collective.broadcast(apart)
    return replace(setup, network=network, apart=apart)


def with_apart(setup: Setup, parameters: Sequence[paddle.Tensor]) -> Setup:
    """Have the gradients of parameters handed round by us, which data parallelism was not made for."""
    known = {id(tensor) for tensor in setup.apart}
    more = [tensor for tensor in parameters if id(tensor) not in known]
    return replace(setup, apart=(*setup.apart, *more)) if setup.ranks.world_size > 1 else setup


def renew_optimizers(setup: Setup, config: TrainConfig) -> Setup:
    """Give a wrapped setup optimizers that have made no step yet."""
    assert isinstance(setup.loss, Losses)
    if setup.freezing is not None:
        setup.freezing.release()  # so that optimizers know all that will learn
    parameters = list(setup.model.parameters())
    factors = [parameter.optimize_attr["learning_rate"] for parameter in parameters]
    optimizers = build_optimizers(
        config.optimizers, setup.model, setup.loss.layers_by_name(), name=config.arch.name
    )
    for parameter, factor in zip(parameters, factors, strict=True):  # AdamWDL has multiplied them once more
        parameter.optimize_attr["learning_rate"] = factor
    setup.precision.decorate(setup.model, optimizers)
    return replace(setup, optimizers=optimizers)


def pretrained_parts(
    arch: Arch, whole: str | None, model: paddle.nn.Layer
) -> Iterator[tuple[BaseArch, paddle.nn.Layer, str | bool]]:
    """Yield each network with pretrained weights, in the order of loading, and what names them.

    Args:
        arch: Each of several networks has its own.
        whole: `Global.pretrained_model`, which is of all of them together, and wins.
        model: Of that architecture.
    """
    if isinstance(arch, DistillationArch):
        children = dict(model.named_children())
        for name, part in arch.by_name.items():
            if part.pretrained:
                yield part, children[name], part.pretrained
    elif arch.pretrained and not whole:
        yield arch, model, arch.pretrained
    if whole:
        yield arch, model, whole


def pretrained_path(
    arch: BaseArch, named: str | bool, store: WeightsStore, *, say: Callable[[str], None]
) -> Path:
    """Return the file of pretrained weights of a network, downloaded where it is not here yet.

    Args:
        arch: The network's.
        named: Its file or address; True for what PaddleClas publishes.
        store: Where downloads are kept.
        say: Told of a download.

    Raises:
        WeightsError: It cannot be had.
    """
    text = weights_source(arch, named)
    if not is_url(text):
        return Path(text)
    return store.obtain(text, say=say)


def weights_source(arch: BaseArch, named: str | bool) -> str:
    """Return the path or the address of a network's pretrained weights; True means the published ones.

    Raises:
        WeightsError: None are published.
    """
    return address_of(arch.published_name, use_ssld=arch.use_ssld) if named is True else str(named)


def with_mounted_weights(config: TrainConfig, store: WeightsStore) -> WeightsStore:
    """Let a store look into the folder of `Launch.weights`, too."""
    launch = (config.model_extra or {}).get("Launch")
    mounted = launch.get("weights") if isinstance(launch, dict) else None
    if isinstance(mounted, dict) and isinstance(mounted.get("path"), str):
        return replace(store, folders=(*store.folders, Path(mounted["path"])))
    return store


def automatic_names(model: paddle.nn.Layer) -> Mapping[str, str]:
    """Return structured name -> Paddle's own name of every parameter and buffer."""
    return {key: tensor.name for key, tensor in model.state_dict().items()}


def optimizer_arrays(optimizer: paddle.optimizer.Optimizer) -> dict[str, Array]:
    """Return the optimizer's tensors by Paddle's own names, on the CPU; as they are until the next step.

    The float32 copies of 16-bit parameters are there under `MASTER` and the parameter's name.
    """
    state = optimizer.state_dict()
    masters = state.get("master_weights") or {}
    flat = {**state, **{f"{MASTER}{name}": value for name, value in masters.items()}}
    return {key: view_on_host(value) for key, value in flat.items() if isinstance(value, paddle.Tensor)}


def restore_optimizer(optimizer: paddle.optimizer.Optimizer, arrays: Mapping[str, Array]) -> None:
    """Put what `optimizer_arrays` returned into an optimizer."""
    own = {key: value for key, value in arrays.items() if not key.startswith(MASTER)}
    masters = {
        key.removeprefix(MASTER): paddle.to_tensor(value)
        for key, value in arrays.items()
        if key.startswith(MASTER)
    }
    optimizer.set_state_dict({**own, **({"master_weights": masters} if masters else {})})
