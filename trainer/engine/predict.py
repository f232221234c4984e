"""What a network says of images: reads, transforms, runs and answers, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import paddle
from numpy.typing import NDArray

from trainer.config.infer import PostProcess
from trainer.config.ops import Op
from trainer.config.outputs import logits_of
from trainer.config.postprocess import Topk
from trainer.config.root import BaseConfig
from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.data.encoded import read_encoded
from trainer.data.normalization import Normalization, find_normalization
from trainer.data.ops.build import Transform, build_transform
from trainer.data.rng import per_sample
from trainer.engine.collective import join_ranks
from trainer.engine.feed import ToDevice, is_gpu
from trainer.engine.trained import choose_weights, load_network
from trainer.errors import DataError, ImageError, WeightsError
from trainer.postprocess.build import (
    SIZES,
    Activation,
    Answer,
    activation_of,
    answer,
    find_odd_names,
    read_names,
)
from trainer.ranks import Ranks
from trainer.results import Prediction

Network: TypeAlias = Callable[[NDArray[Any]], NDArray[np.float32]]
"""Images as the transform makes them, [B, …] -> probabilities float32 [B, K]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictor:
    """A network with all that it needs to answer.

    Attributes:
        source: Weights or folder that it was made of.
        names: Of classes, by number; may be empty.
        notes: What people should know of the names.
    """

    source: Path
    network: Network
    transform: Transform
    post_process: PostProcess | None
    names: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    max_pixels: int = MAX_IMAGE_PIXELS
    """Images that claim more are not decoded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassNames:
    """Names of classes by number, and what people should know of them."""

    names: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def infer_parts(config: BaseConfig) -> tuple[Sequence[Op], PostProcess | None]:
    """Return transforms and post-process: those of `Infer`, else those of the evaluation and the best five.

    Raises:
        DataError: Neither section has transforms.
    """
    infer, evaluation = config.infer, config.data.Eval if config.data is not None else None
    ops = infer.transforms if infer is not None and infer.transforms else ()
    if not ops and evaluation is not None:
        ops = evaluation.dataset.transform_ops
    if not ops:
        raise DataError(["Infer.transforms: expected a list of operations, got none; add it"])
    return ops, infer.post_process if infer is not None else Topk()


def load_trained(config: BaseConfig, *, weights: Path | None, labels: Path | None) -> Predictor:
    """Make a predictor of a config and its trained weights.

    Args:
        config: Checked.
        weights: As for an evaluation.
        labels: File of class names; None for that of `Infer.PostProcess`, where it exists.

    Raises:
        WeightsError: The weights cannot be used.
        NamesError: The names cannot be used.
        DataError: There are no transforms.
    """
    ops, post_process = infer_parts(config)
    classes = config.arch.class_num
    wanted = SIZES.get(type(post_process), classes) if post_process is not None else classes
    if wanted != config.arch.class_num:
        raise WeightsError(
            where=f"Infer.PostProcess: {type(post_process).__name__}",
            expected=f"Arch.class_num {wanted}",
            got=str(config.arch.class_num),
            fix="choose another PostProcess",
        )
    named = load_names(post_process, labels, classes=classes)
    source = weights or choose_weights(config.run, config.arch)
    join_ranks(config.run.device, Ranks())
    model = load_network(config.arch, source)
    normalization = find_normalization(ops) if is_gpu() else None
    transform = build_transform(ops, uint8=normalization is not None)
    activation = activation_of(post_process, multilabel=config.run.use_multilabel)
    network = run_model(model, activation, normalization)
    return Predictor(
        source=source,
        network=network,
        transform=transform,
        post_process=post_process,
        names=named.names,
        notes=named.notes,
        max_pixels=config.run.max_image_pixels,
    )


def load_names(post_process: PostProcess | None, labels: Path | None, *, classes: int | None) -> ClassNames:
    """Read class names; a file that only the config names may be missing, as in PaddleClas.

    Args:
        post_process: Names the file.
        labels: A file that was asked for beside the config.
        classes: Of the network; names that do not fit them are noted. None where it is not known.

    Raises:
        NamesError: A file is broken, or the one that was asked for is missing.
    """
    key, told = (post_process.names_file if post_process is not None else None) or ("", "")
    if labels is None and not key:
        return ClassNames()
    path = labels if labels is not None else Path(told)
    if labels is None and not path.is_file():
        note = (
            f"Infer.PostProcess.{key}: expected a file of `id name` lines, got no such file: {str(path)!r}; "
            "answers have numbers instead of names; pass --labels FILE"
        )
        return ClassNames(notes=(note,))
    names = read_names(path, delimiter=post_process.names_delimiter if post_process else None)
    odd = find_odd_names(names, classes=classes) if classes is not None else ""
    return ClassNames(names=names, notes=(f"{path}: {odd}",) if odd else ())


def run_model(
    model: paddle.nn.Layer, activation: Activation | None, normalization: Normalization | None = None
) -> Network:
    """Make a function of arrays of a model in evaluation mode; without an activation it returns logits.

    Args:
        model: In evaluation mode.
        activation: The last one.
        normalization: Of images that are uint8 [B, H, W, 3]; None where they are float32 [B, C, H, W].
    """
    to_device = ToDevice(normalization)
    activate = getattr(paddle.nn.functional, activation) if activation else lambda logits: logits

    def network(images: NDArray[Any]) -> NDArray[np.float32]:
        (tensor,) = to_device.receive(to_device.send(images))
        with paddle.no_grad():
            found: NDArray[np.float32] = activate(logits_of(model(tensor))).numpy()
        return found

    return network


def predict(
    predictor: Predictor, images: Sequence[Path], *, batch_size: int, skip_bad: bool = False
) -> Iterator[Prediction]:
    """Yield the answer of each image in order.

    Args:
        predictor: Loaded.
        images: Files.
        batch_size: Images at a time; neighbours of different sizes go one by one.
        skip_bad: Yield the problem of an image that cannot be read, instead of raising.

    Raises:
        DataError: Images of a batch cannot be read; names all of them.
    """
    for begin in range(0, len(images), batch_size):
        files = images[begin : begin + batch_size]
        arrays: dict[Path, NDArray[Any]] = {}
        problems: dict[Path, str] = {}
        for file in files:
            try:
                encoded = read_encoded(file, max_pixels=predictor.max_pixels)
                arrays[file] = predictor.transform(encoded.data, per_sample(0, epoch=0, index=0))
            except ImageError as error:
                problems[file] = f"{file}: {error}"
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                problems[file] = f"{file}: expected a readable image: {reason}"
        if problems and not skip_bad:
            raise DataError(
                [f"{text}; leave it out, or pass --bad-images skip" for text in problems.values()]
            )
        answers = _answers(predictor, arrays)
        for file in files:
            if file in problems:
                yield Prediction(file=file, problem=problems[file])
            else:
                yield Prediction(file=file, answer=answers[file])


def _answers(predictor: Predictor, arrays: Mapping[Path, NDArray[Any]]) -> dict[Path, Answer]:
    groups: dict[tuple[int, ...], list[Path]] = {}
    for file, array in arrays.items():
        groups.setdefault(array.shape, []).append(file)
    answers: dict[Path, Answer] = {}
    for files in groups.values():
        probabilities = predictor.network(np.stack([arrays[file] for file in files]))
        found = answer(predictor.post_process, probabilities, predictor.names)
        answers.update(zip(files, found, strict=True))
    return answers
