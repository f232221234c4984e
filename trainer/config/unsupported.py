"""What a config asks for and does not get.

What PaddleClas can do and this trainer cannot is refused where it would change the result, else said. What
has no effect is said once, at its place, and is an error with `--strict`: keys that another key switches off,
that PaddleClas itself passes over, or that stand for something that is done in another way. A value that asks
for nothing (null, the default) is not spoken of; keys that the grammar does not have are found by
`load.check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trainer.config.archs import BaseArch, DistillationArch
from trainer.config.checks import (
    Findings,
    find_frozen,
    find_growing,
    find_uncounted_values,
    has_less_is_better,
)
from trainer.config.losses import ClassWeightedLoss
from trainer.config.metrics import TopkAcc
from trainer.config.ops import DecodeImage, Op, ResizeImage
from trainer.config.optimizers import Adam, BaseOptimizer, Momentum, Optimizer, RMSProp
from trainer.config.pipeline import PROGRESSIVE
from trainer.config.problems import KeyPath, show
from trainer.config.root import TrainConfig
from trainer.config.samplers import ClassBalancedSampler
from trainer.config.scalars import SPLITS
from trainer.config.schedules import Cyclic, Piecewise, ReduceOnPlateau, Schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsupported:
    """One thing that a config asks for and does not get, or should know of.

    Attributes:
        path: Its place.
        message: The sentence.
        warning: The result is the same without it.
        no_effect: It has no effect at all, which `--strict` does not let pass.
    """

    path: KeyPath
    message: str
    warning: bool = False
    no_effect: bool = False


def find_unsupported(config: TrainConfig, values: Mapping[str, object]) -> list[Unsupported]:
    """List what a config asks for and this release does not do.

    Args:
        config: Checked.
        values: What it was made of.
    """
    run = config.run
    found = [Unsupported(path=path, message=message) for path, message in find_slim(values)]
    found += [
        Unsupported(path=path, message=message, warning=True, no_effect=True)
        for path, message in find_without_effect(config, values)
    ]
    found += [Unsupported(path=path, message=text, warning=True) for path, text in find_to_know(config)]
    for key, mode, kept in (
        ("train_mode", run.train_mode, PROGRESSIVE),
        ("eval_mode", run.eval_mode, "classification"),
    ):
        if mode not in (None, kept):
            message = f"expected {kept} or none, got {mode!r}, which this trainer does not have; remove it"
            found.append(Unsupported(path=("Global", key), message=message))
    if not config.is_progressive:
        message = "expected Global.train_mode: progressive beside it, without which it has no effect"
        found += [
            Unsupported(path=path, message=message, warning=True, no_effect=True)
            for path in find_growing(config)
        ]
    if config.data.Train.dataset.batch_transform_ops:
        message = "expected none beside batch_transform_ops, whose labels have no top-k: it is left out"
        found += [
            Unsupported(
                path=("Metric", "Train", index, "TopkAcc"), message=message, warning=True, no_effect=True
            )
            for index, metric in enumerate(config.metric.of("Train"))
            if isinstance(metric, TopkAcc)
        ]
    for index, metric in enumerate(config.metric.of("Train")):
        if metric.needs_list:
            message = "expected it in Metric.Eval only: it is a number of a whole list, and no batch has one"
            path = ("Metric", "Train", index, metric.label)
            found.append(Unsupported(path=path, message=message, warning=True, no_effect=True))
    place, first = config.optimizers[0]
    rate, better = first.lr, "min" if has_less_is_better(config) else "max"
    mode = rate.mode if isinstance(rate, ReduceOnPlateau) else better
    if config.metric.Eval and mode != better:
        message = f"expected {better!r}; with {mode!r} the learning rate falls while the metric improves"
        found.append(Unsupported(path=(*place, "lr", "mode"), message=message, warning=True))
    found += [
        Unsupported(path=path, message=message, warning=True)
        for path, message in find_uncounted_values(config)
    ]
    return found


Values = Mapping[str, object]
"""Of a document, before they were checked."""
_EVERY_DECADE = 30
"""Epochs after which a Piecewise with a learning_rate divides it by ten."""


def find_without_effect(config: TrainConfig, values: Values) -> Findings:
    """Yield the place and the sentence of each."""
    yield from _sections(values)
    yield from _run(config)
    for path, arch in _archs(config):
        yield from _arch(config, arch, path)
    for path, optimizer in config.optimizers:
        yield from _optimizer(optimizer, path)
    yield from _losses(config)
    yield from _infer(config, values)


def find_slim(values: Values) -> Findings:
    """Yield what `Slim` asks for: it would change the network, so that it is refused."""
    slim = values.get("Slim")
    for key, name in (("quant", "quantisation"), ("prune", "pruning")):
        if isinstance(slim, Mapping) and slim.get(key):
            told = slim[key]
            method = told.get("name") if isinstance(told, Mapping) else told
            yield (
                ("Slim", key),
                f"expected none, got {show(method)}: {name} is not done here; remove it, and apply Paddle's "
                "own tools to the exported model",
            )


def find_to_know(config: TrainConfig) -> Findings:
    """Yield what has its effect, as in PaddleClas, but perhaps not the one that is meant."""
    for path, optimizer in config.optimizers:
        if _replaces_nothing(optimizer.lr, config.run.epochs):
            yield (
                (*path, "lr", "learning_rate"),
                "as in PaddleClas it replaces decay_epochs and values, by itself / 10 every "
                f"{_EVERY_DECADE} epochs, which here is the same",
            )
    classes = config.arch.class_num
    for split in SPLITS:
        for place, metric in enumerate(config.metric.of(split)):
            too_many = [k for k in metric.topk if k > classes] if isinstance(metric, TopkAcc) else []
            if too_many:
                yield (
                    ("Metric", split, place, metric.label, "topk"),
                    f"expected numbers of at most Arch.class_num, which is {classes}, got {too_many}, of "
                    "which the answer is always 1, as in PaddleClas; leave them out",
                )
    yield from _freezing_and_balance(config)
    for path, ops in _op_lists(config):
        for index, op in enumerate(ops):
            if isinstance(op, DecodeImage) and not op.to_np and op.backend == "cv2":
                yield (
                    (*path, index, "DecodeImage", "to_np"),
                    "expected backend: pil beside to_np: False; with cv2 the image is OpenCV's as in "
                    "PaddleClas, so its channels are BGR whatever to_rgb says",
                )


def _freezing_and_balance(config: TrainConfig) -> Findings:
    for path, frozen in find_frozen(config):
        if frozen.epochs is not None and frozen.epochs >= config.run.epochs:
            yield (
                (*path, "epochs"),
                f"expected fewer than Global.epochs, which are {config.run.epochs}, got {frozen.epochs}: "
                "nothing is thawed",
            )
    if isinstance(config.data.Train.sampler, ClassBalancedSampler):
        for index, loss in enumerate(config.loss.Train):
            if isinstance(loss, ClassWeightedLoss) and loss.class_weight == "auto":
                yield (
                    ("Loss", "Train", index, loss.label, "class_weight"),
                    "expected one of auto and ClassBalancedSampler, got both: small classes count more often "
                    "and more each time",
                )


def _sections(values: Values) -> Findings:
    if values.get("Profiler"):
        yield (
            ("Profiler",),
            "expected none: Paddle's profiler is not switched on by the config here; it has no effect",
        )
    slim = values.get("Slim")
    for key, value in slim.items() if isinstance(slim, Mapping) else ():
        if key not in ("quant", "prune") and value:
            yield ("Slim", key), f"expected none, got {show(value)}, which has no effect"
    if slim and not isinstance(slim, Mapping):
        yield ("Slim",), f"expected none, got {show(slim)}, which has no effect"


def _run(config: TrainConfig) -> Findings:
    run = config.run
    if run.use_dali:
        yield (
            ("Global", "use_dali"),
            "expected False: images are read by the loader here, with as many threads as "
            "DataLoader.Train.loader.num_workers says; DALI's pixels differ a little from these",
        )
    if run.image_channel != type(run).model_fields["image_channel"].default:
        yield (
            ("Global", "image_channel"),
            f"expected none, got {run.image_channel}, which only DALI reads; channel_num of NormalizeImage "
            "sets the channels here",
        )
    if run.uniform_output_enabled:
        yield (
            ("Global", "uniform_output_enabled"),
            "expected False: checkpoints go where PaddleClas puts them without it",
        )
    if run.print_mem_info and "print_mem_info" in run.model_fields_set:
        yield ("Global", "print_mem_info"), "expected False: log lines do not say the device's memory here"
    if run.log_ranks != "0":
        yield (
            ("Global", "log_ranks"),
            f"expected '0', got {run.log_ranks!r}: a log line here is of all ranks together",
        )
    if run.class_num is not None and run.class_num != config.arch.class_num:
        yield (
            ("Global", "class_num"),
            f"expected none, got {run.class_num}, which has no effect beside Arch.class_num: "
            f"{config.arch.class_num}",
        )
    amp = config.amp
    if amp is not None and amp.use_amp and run.device == "cpu":
        yield (
            ("AMP", "use_amp"),
            "expected a GPU for mixed precision; on a CPU Paddle computes in float32 whatever this says",
        )
    if amp is not None and amp.use_amp and amp.dtype == "bfloat16" and "scale_loss" in amp.model_fields_set:
        yield ("AMP", "scale_loss"), "expected none beside dtype: bfloat16, where no scale is needed"


def _archs(config: TrainConfig) -> Iterator[tuple[KeyPath, BaseArch]]:
    arch = config.arch
    yield ("Arch",), arch
    if isinstance(arch, DistillationArch):
        for index, item in enumerate(arch.models):
            for name, part in item.items():
                yield ("Arch", "models", index, name), part


def _arch(config: TrainConfig, arch: BaseArch, path: KeyPath) -> Findings:
    if arch.use_ssld and arch.pretrained is not True:
        yield (
            (*path, "use_ssld"),
            f"expected pretrained: True beside it, got {arch.pretrained!r}, with which it has no effect",
        )
    if arch.use_sync_bn and config.run.device == "cpu":
        yield (
            (*path, "use_sync_bn"),
            "expected False: Paddle can do it on a GPU only",
        )
    elif arch.use_sync_bn and arch.freeze_norm_stats:
        yield (*path, "use_sync_bn"), "expected False beside freeze_norm_stats, which leaves nothing to share"
    if not arch.infer_add_softmax and len(path) == 1 and not config.run.use_multilabel:
        yield (
            (*path, "infer_add_softmax"),
            "expected True: an exported model gives probabilities here, with its softmax",
        )
    if arch.return_stages and arch.return_patterns:
        yield (*path, "return_stages"), "expected none beside return_patterns, which win as in PaddleClas"
    for key in arch.fused_keys:
        yield (*path, key), "expected False: it is computed in plain operations here, to the same result"


def _optimizer(optimizer: Optimizer, path: KeyPath) -> Findings:
    if isinstance(optimizer, BaseOptimizer) and optimizer.regularizer is not None and optimizer.weight_decay:
        yield (*path, "weight_decay"), "expected none beside regularizer, which wins as in PaddleClas"
    if isinstance(optimizer, Momentum) and not (optimizer.no_weight_decay_name or "").split():
        if optimizer.one_dim_param_no_weight_decay:
            yield (
                (*path, "one_dim_param_no_weight_decay"),
                "expected no_weight_decay_name beside it, without which Momentum passes over it as in "
                "PaddleClas",
            )
    elif isinstance(optimizer, RMSProp) and optimizer.multi_precision:
        yield (*path, "multi_precision"), "expected False: Paddle's RMSProp keeps no float32 copies"
    if isinstance(optimizer, Adam) and optimizer.lazy_mode:
        yield (*path, "lazy_mode"), "expected False: it is for sparse gradients, which no network here has"
    rate = optimizer.lr
    if rate.step_each_epoch is not None:
        yield (
            (*path, "lr", "step_each_epoch"),
            f"expected none, got {rate.step_each_epoch}: as in PaddleClas, the run's own number is taken",
        )
    if rate.verbose:
        yield (*path, "lr", "verbose"), "expected False: the learning rate stands in every log line already"
    if isinstance(rate, Cyclic) and rate.scale_mode != "cycle":
        yield (*path, "lr", "scale_mode"), "expected none without scale_fn, which a file cannot hold"
    if isinstance(rate, Piecewise) and rate.learning_rate and not _replaces_nothing(rate, None):
        yield (
            (*path, "lr", "learning_rate"),
            f"expected none beside values and decay_epochs: as in PaddleClas it replaces both, by "
            f"{rate.learning_rate:g} / 10 every {_EVERY_DECADE} epochs; remove it, or them",
        )


def _replaces_nothing(rate: Schedule, epochs: int | None) -> bool:
    """Tell whether what is written beside a Piecewise's learning_rate is what takes its place."""
    start = rate.learning_rate if isinstance(rate, Piecewise) else None
    if not isinstance(rate, Piecewise) or not rate.values or not start:
        return False
    last = _EVERY_DECADE * len(rate.values)
    return (
        list(rate.decay_epochs) == list(range(_EVERY_DECADE, last, _EVERY_DECADE))
        and all(abs(value - start / 10**index) <= 1e-9 * start for index, value in enumerate(rate.values))
        and (epochs is None or epochs <= last)
    )


def _losses(config: TrainConfig) -> Findings:
    for split in SPLITS:
        losses = config.loss.of(split)
        weight = losses[0].weight if len(losses) == 1 else 1.0
        if weight != 1.0:
            yield (
                ("Loss", split, 0, losses[0].label, "weight"),
                f"expected 1.0 of the only loss of a list, got {weight:g}, without effect as in PaddleClas",
            )


def _op_lists(config: TrainConfig) -> Iterator[tuple[KeyPath, Sequence[Op]]]:
    for split, section in config.data.splits:
        yield ("DataLoader", split, "dataset", "transform_ops"), section.dataset.transform_ops
    if config.infer is not None:
        yield ("Infer", "transforms"), config.infer.transforms


def _infer(config: TrainConfig, values: Values) -> Findings:
    for path, ops in _op_lists(config):
        for index, op in enumerate(ops):
            if isinstance(op, ResizeImage) and not op.return_numpy and op.backend == "cv2":
                yield (
                    (*path, index, "ResizeImage", "return_numpy"),
                    "expected backend: pil beside return_numpy: False; OpenCV makes arrays only",
                )
    infer = values.get("Infer")
    told = infer.get("PostProcess") if isinstance(infer, Mapping) else None
    if not isinstance(told, Mapping) or told.get("name") != "DistillationPostProcess":
        return
    place: KeyPath = ("Infer", "PostProcess")
    answers = config.arch.infer_model_name if isinstance(config.arch, DistillationArch) else None
    if (named := told.get("model_name")) is not None and named != answers:
        yield (
            (*place, "model_name"),
            f"expected {answers!r}, which Arch.infer_model_name lets answer, got {named!r}",
        )
    if (key := told.get("key")) not in (None, "logits"):
        yield (*place, "key"), f"expected 'logits', which alone are read, got {key!r}, which has no effect"
