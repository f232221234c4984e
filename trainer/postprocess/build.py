"""From a declared post-process to a function of probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainer.config.infer import PostProcess
from trainer.config.postprocess import (
    MultiLabelThreshOutput,
    PersonAttribute,
    TableAttribute,
    ThreshOutput,
    Topk,
    VehicleAttribute,
)
from trainer.config.registry import Spec
from trainer.errors import NamesError
from trainer.postprocess.attributes import answer_person, answer_table, answer_vehicle

Answer: TypeAlias = dict[str, list[Any]]
"""Lists by PaddleClas's names: class_ids, scores, label_names; or attributes, output; or probabilities."""
Names: TypeAlias = Mapping[int, str]
Activation = Literal["softmax", "sigmoid"]

_DECIMALS = 5  # of scores, as in PaddleClas


def read_names(path: Path, *, delimiter: str | None = None) -> dict[int, str]:
    """Read `id name` lines.

    Raises:
        NamesError: It cannot be read, or a line is none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NamesError(f"{path}: expected a file of `id name` lines: {error}") from error
    names: dict[int, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        key, _, name = line.partition(delimiter or " ")
        if not key.strip().isdecimal():
            raise NamesError(where=f"{path}:{number}", expected="`id name`", got=f"{line[:80]!r}")
        names[int(key)] = name.strip()
    return names


def name_of(index: int, names: Names) -> str:
    """Return what a class is called: its name, else `class 3`; never nothing."""
    return names.get(index) or f"class {index}"


def list_names(names: Names, *, classes: int) -> list[str]:
    """Return the name of each class in order, or none at all where no class has one."""
    return [name_of(index, names) for index in range(classes)] if names else []


def find_odd_names(names: Names, *, classes: int) -> str:
    """Say which classes have no name and which names no class; empty where each has the other."""
    if not names:
        return ""
    nameless = [index for index in range(classes) if not names.get(index)]
    beyond = [index for index in sorted(names) if index >= classes]
    said = [
        f"no name for class {_first(nameless)}" if nameless else "",
        f"a name for {_first(beyond)}, which is no class" if beyond else "",
    ]
    got = " and ".join(filter(None, said))
    if not got:
        return ""
    one_off = sorted(names) == list(range(1, classes + 1))
    fix = "ids are counted from 0: take 1 from each" if one_off else "correct the ids, or Arch.class_num"
    return f"expected a name for each of the classes 0 to {classes - 1}, got {got}; {fix}"


def _first(indices: list[int]) -> str:
    shown = ", ".join(map(str, indices[:5]))
    return shown if len(indices) <= 5 else f"{shown} and {len(indices) - 5} more"


def activation_of(post_process: PostProcess | None, *, multilabel: bool = False) -> Activation:
    """Return what makes probabilities of a network's output, so that they fit the post-process.

    `multilabel` is `Global.use_multilabel`, with which PaddleClas takes a sigmoid whatever follows.
    """
    one_class = isinstance(post_process, Topk | ThreshOutput | None)
    return "softmax" if one_class and not multilabel else "sigmoid"


def _topk(spec: Topk, row: NDArray[np.float32], names: Names) -> Answer:
    count = min(max(spec.topk), row.size)
    return _classes(np.argsort(-row, kind="stable")[:count], row, names)


def _thresh(spec: ThreshOutput, row: NDArray[np.float32], names: Names) -> Answer:
    del names
    chosen = int(row[1] >= spec.threshold)
    score = float(row[1]) if chosen else 1.0 - float(row[1])
    name = (spec.label_1 if chosen else spec.label_0) or f"class {chosen}"
    return {"class_ids": [chosen], "scores": [round(score, _DECIMALS)], "label_names": [name]}


def _multi_label(spec: MultiLabelThreshOutput, row: NDArray[np.float32], names: Names) -> Answer:
    return _classes(np.flatnonzero(row >= spec.threshold), row, names)


def _classes(ids: NDArray[np.int64], row: NDArray[np.float32], names: Names) -> Answer:
    found: Answer = {
        "class_ids": [int(index) for index in ids],
        "scores": [round(float(row[index]), _DECIMALS) for index in ids],
    }
    if names:
        found["label_names"] = [name_of(int(index), names) for index in ids]
    return found


BUILDERS: Mapping[type[Spec], Callable[[Any, NDArray[np.float32], Names], Answer]] = {
    Topk: _topk,
    ThreshOutput: _thresh,
    MultiLabelThreshOutput: _multi_label,
    PersonAttribute: lambda spec, row, _: answer_person(spec, row),
    VehicleAttribute: lambda spec, row, _: answer_vehicle(spec, row),
    TableAttribute: lambda spec, row, _: answer_table(spec, row),
}
SIZES: Mapping[type[Spec], int] = {
    ThreshOutput: 2, PersonAttribute: 26, VehicleAttribute: 19, TableAttribute: 6,
}  # fmt: skip
"""Classes that a post-process wants exactly."""


def is_of_one_length(spec: PostProcess | None) -> bool:
    """Tell whether the lists of an answer are as long for each image, so that they can be columns."""
    return not isinstance(spec, MultiLabelThreshOutput)


def answer(spec: PostProcess | None, probabilities: NDArray[np.float32], names: Names) -> list[Answer]:
    """Say what each image shows.

    Args:
        spec: None gives the probabilities themselves.
        probabilities: float32 [B, K].
        names: Of the classes; may be empty.
    """
    if spec is None:
        return [{"probabilities": [float(value) for value in row]} for row in probabilities]
    return [BUILDERS[type(spec)](spec, row, names) for row in probabilities]
