"""Samples of a list file, with labels as a training takes them. `trainer.protocol.lists` reads its lines."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from trainer.config.data import Dataset, MultiLabelDataset, listed_by
from trainer.errors import DataError
from trainer.protocol.lists import Labels, ListError, read_list
from trainer.protocol.pathmap import PathMap

__all__ = ["DataError", "Paths", "SampleList", "load_list"]

_BREAK = ord("\n")


class Paths(Sequence[str]):
    """Files of a list, joined to their folder when they are asked for.

    A text of Python's costs 50 bytes besides its letters, 110 for a path of ImageNet joined to its folder,
    and reader processes would copy all of them, since counting references writes to each. Here all names are
    one text, and eight bytes say where each begins.
    """

    __slots__ = ("_names", "_root", "_starts")

    def __init__(self, root: str, names: Sequence[str]) -> None:
        """Take names, which hold no line break, relative to `root` where they are not absolute."""
        self._root = root
        # One byte for each name ends it, so that names and their ends are found without a step for each.
        self._names = "".join(map("{}\n".format, names)).encode("utf-8", "surrogatepass")
        ends = np.flatnonzero(np.frombuffer(self._names, dtype=np.uint8) == _BREAK)
        self._starts = np.concatenate((np.zeros(1, dtype=np.int64), ends + 1))

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = operator.index(index)
        number += len(self) if number < 0 else 0
        if not 0 <= number < len(self):
            raise IndexError(index)
        begin, end = int(self._starts[number]), int(self._starts[number + 1]) - 1
        name = self._names[begin:end].decode("utf-8", "surrogatepass")
        return os.path.join(self._root, name)  # noqa: PTH118 - 10 x faster

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # as a list


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SampleList:
    """The samples of a list file, in its order.

    Attributes:
        paths: Image files, joined to the image root.
        labels: int64 [N]; of several classes float32 [N, K], or [N, 2, K] with ratios beside them; None where
            an operation on the image draws them.
        source: The list file as the config names it; sample i stands on its line i + 1.
        classes: Arch.class_num; every label is below.
        notes: What is unusual about its lines and no reason to refuse them: a sentence for each kind.
    """

    paths: Sequence[str]
    labels: NDArray[np.int64] | NDArray[np.float32] | None
    source: str
    classes: int
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def present_classes(self) -> set[int]:
        """Return the classes that any sample has, or may have."""
        labels = self.labels
        if labels is None:
            return set(range(self.classes))
        if labels.ndim == 1:
            return {int(label) for label in np.unique(labels)}
        ones = labels if labels.ndim == 2 else labels[:, 0]
        return {int(label) for label in np.flatnonzero(ones.any(axis=0))}

    def place(self, index: int) -> str:
        """Say where a sample stands, such as `train_list.txt:17`."""
        return f"{self.source}:{index + 1}"


def load_list(dataset: Dataset, *, class_num: int, path_map: PathMap | None = None) -> SampleList:
    """Read and check a list file, images' existence included.

    Args:
        dataset: Names the list, the images' folder and the delimiter.
        class_num: Labels run from 0 to one below.
        path_map: Applied to absolute paths of the list, as it was to the config's.

    Raises:
        DataError: Any line is refused; holds all problems found.
    """
    source, grammar = listed_by(dataset)
    try:
        listed = read_list(
            source, grammar, class_num=class_num, image_root=dataset.image_root, path_map=path_map
        )
    except ListError as error:
        raise DataError([str(error)]) from error
    if listed.problems:
        raise DataError(listed.refusals())
    labels: NDArray[np.int64] | NDArray[np.float32] | None = None
    if isinstance(dataset, MultiLabelDataset):
        labels = _flags(listed.labels, ratio=dataset.label_ratio)
    elif grammar.labels is Labels.ONE:
        labels = np.array(listed.labels, dtype=np.int64)
    return SampleList(
        paths=Paths(dataset.image_root, listed.names),
        labels=labels,
        source=source,
        classes=class_num,
        notes=listed.notes,
    )


def _flags(labels: Sequence[object], *, ratio: bool) -> NDArray[np.float32]:
    """Return float32 [N, K], or [N, 2, K] with each class's share of ones beside the labels."""
    array = np.array(labels, dtype=np.float32)
    if not ratio:
        return array
    shares = np.broadcast_to(array.mean(axis=0, dtype=np.float64).astype(np.float32), array.shape)
    return np.stack([array, shares], axis=1)
