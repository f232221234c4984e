"""The classifier's rows of a checkpoint, by the names of its classes.

Who adds a class, or has them sorted otherwise, has another number for each of them: a head that is taken by
number answers with the wrong names, and one of another size is not taken at all. Checkpoints keep the names
of their classes (`CLASS_NAMES` of settings.json); where those and the names of now are known, each class that
both have gets its row, and the others are drawn anew.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle

from trainer.checkpoints.contents import read_settings
from trainer.checkpoints.pdfiles import Array
from trainer.checkpoints.store import CheckpointStore
from trainer.config.archs import Arch, DistillationArch
from trainer.config.root import TrainConfig
from trainer.data.lists import SampleList
from trainer.data.make_lists import LABELS
from trainer.engine.changes import CLASS_NAMES
from trainer.engine.predict import load_names
from trainer.errors import NamesError
from trainer.models.registry import build_model
from trainer.models.weights import as_float32, find_weights
from trainer.postprocess.build import read_names
from trainer.protocol.codec import FormatError
from trainer.protocol.layout import OutputLayout

_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedNames:
    """Names of the classes of some weights.

    Attributes:
        names: In the order of their numbers.
        place: Where they stand.
    """

    names: Sequence[str]
    place: Path


def class_names(config: TrainConfig, samples: SampleList) -> tuple[str, ...]:
    """Return the names of a training's classes in the order of their numbers; none where they are not known.

    They are those of `Infer.PostProcess`, else of the labels.txt beside the training list.
    """
    post_process = config.infer.post_process if config.infer is not None else None
    classes = config.arch.class_num
    with contextlib.suppress(NamesError):
        found = load_names(post_process, None, classes=classes).names
        beside = Path(samples.source).with_name(LABELS)
        if not found and beside.is_file():
            found = read_names(beside)
        return _in_order(found, classes)
    return ()


def _in_order(names: Mapping[int, str], classes: int) -> tuple[str, ...]:
    """Return a name for each class, or none at all where one lacks or stands for two."""
    ordered = tuple(names.get(number, "") for number in range(classes))
    return ordered if all(ordered) and len(set(ordered)) == classes == len(names) else ()


def saved_names(weights: Path) -> SavedNames | None:
    """Return the names of the classes of a file of weights; None where they are not known.

    They are looked for beside the file, in settings.json or a labels.txt, and, where the file lies in the
    output folder of a run or in its `best_model`, in the run's checkpoints.
    """
    folder = find_weights(weights).parent
    for place in (folder, *_checkpoints(folder), *_checkpoints(folder.parent)):
        with contextlib.suppress(FormatError, OSError):
            text = read_settings(place).get(CLASS_NAMES)
            if isinstance(text, str) and text:
                return SavedNames(names=text.split("\n"), place=place)
        if place == folder and (folder / LABELS).is_file():
            with contextlib.suppress(NamesError):
                found = read_names(folder / LABELS)
                if names := _in_order(found, len(found)):
                    return SavedNames(names=names, place=folder / LABELS)
    return None


def _checkpoints(folder: Path) -> list[Path]:
    layout = OutputLayout(folder)
    return [layout.checkpoint_dir(name) for name in CheckpointStore(layout).manifests()]


def arrange_head(
    arch: Arch, model: paddle.nn.Layer, weights: Mapping[str, Array], *, saved: SavedNames,
    names: Sequence[str],
) -> tuple[Mapping[str, Array], str]:  # fmt: skip
    """Return weights whose head has the rows of this model's classes, and what is to be said of it.

    Args:
        arch: Of the model.
        model: With its first weights, of which those of new classes are taken.
        weights: By structured name.
        saved: Names of the weights' classes.
        names: Of this model's classes.
    """
    rows = {name: number for number, name in enumerate(saved.names)}
    kept = [name for name in names if name in rows]
    if tuple(names) == tuple(saved.names) or len(rows) < len(saved.names):
        return weights, ""
    if not kept:
        return weights, f"head: no class has a name that {saved.place} has, so that it is taken by number"
    own = dict(model.state_dict())
    arranged = {}
    for key, axis in _find_head(arch, own, weights, before=len(saved.names), now=len(names)):
        values = np.moveaxis(as_float32(own[key].numpy()).copy(), axis, 0)
        before = np.moveaxis(as_float32(weights[key]), axis, 0)
        for number, name in enumerate(names):
            if name in rows:
                values[number] = before[rows[name]]
        arranged[key] = np.moveaxis(values, 0, axis)
    if not arranged:
        return weights, ""
    said = [f"head: {len(kept)} of {len(names)} classes are kept by their names in {saved.place}"]
    for what, found in (
        ("drawn anew", [name for name in names if name not in rows]),
        ("gone", [name for name in saved.names if name not in set(names)]),
    ):
        if found:
            shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
            said.append(f"{len(found)} {what}: {shown}")
    return {**weights, **arranged}, "; ".join(said)


def _find_head(
    arch: Arch, own: Mapping[str, paddle.Tensor], weights: Mapping[str, Array], *, before: int, now: int
) -> Iterator[tuple[str, int]]:
    """Yield the keys that have a row a class, and the axis of the rows.

    Where the numbers of classes differ, shapes tell. Where they are equal, those of the same network with one
    class more do.
    """
    if before != now:
        others = {key: list(weights[key].shape) for key in own if key in weights}
    else:
        with _generators_kept():
            larger = build_model(_with_classes(arch, now + 1))
        others = {key: list(tensor.shape) for key, tensor in larger.state_dict().items() if key in weights}
        before = now + 1
    for key, shape in others.items():
        mine = list(own[key].shape) if key in own else []
        odd = [axis for axis in range(len(shape)) if len(mine) == len(shape) and mine[axis] != shape[axis]]
        if len(odd) == 1 and (mine[odd[0]], shape[odd[0]]) == (now, before):
            yield key, odd[0]


def _with_classes(arch: Arch, classes: int) -> Arch:
    if isinstance(arch, DistillationArch):
        models = tuple(
            {name: part.model_copy(update={"class_num": classes}) for name, part in item.items()}
            for item in arch.models
        )
        return arch.model_copy(update={"class_num": classes, "models": models})
    return arch.model_copy(update={"class_num": classes})


@contextlib.contextmanager
def _generators_kept() -> Iterator[None]:
    """Draw without a trace, so that a run has the numbers that it would have had."""
    drawn = paddle.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        paddle.set_rng_state(drawn[0])
        np.random.set_state(drawn[1])
        random.setstate(drawn[2])
