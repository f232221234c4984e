"""List files: `path label` a line. Every bad line is found before training, with its number."""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.config.data import CustomLabelDataset, Dataset, MultiLabelDataset
from trainer.config.problems import show
from trainer.data.multilabel import SEPARATOR, make_labels, parse_labels
from trainer.errors import DataError
from trainer.protocol.pathmap import PathMap

__all__ = ["DataError", "SampleList", "load_list"]

_LABEL = re.compile(r"[+-]?[0-9]+")
_MAX_BYTES = 2 << 30  # ImageNet-21k, of 14 million images, has a list of half a gigabyte
_MAX_DIGITS = 18  # of a label that fits int64
LabelT = TypeVar("LabelT", int, tuple[int, ...])
_WORTH_A_LISTING = 16  # fewer files of a folder than this are asked for one by one


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

    paths: tuple[str, ...]
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

    def largest_class(self) -> float | None:
        """Return the share of the samples that are of the most frequent class; None where any has several."""
        if self.labels is None or self.labels.ndim != 1 or not len(self):
            return None
        return float(np.unique(self.labels, return_counts=True)[1].max()) / len(self)

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
    source = dataset.sample_list_path if isinstance(dataset, CustomLabelDataset) else dataset.cls_label_path
    lines = _read_lines(source)
    problems: dict[int, str] = {}
    odd = _Oddities(source)
    if isinstance(dataset, MultiLabelDataset):
        parse = partial(_split_several, class_num=class_num)
        names, several = _parse(lines, parse, problems, odd, nothing=())
        _find_repeated(names, several, problems, odd)
    elif isinstance(dataset, CustomLabelDataset):
        names, numbers = _parse(
            lines, partial(_split_path, delimiter=dataset.delimiter), problems, odd, nothing=-1
        )
        _find_repeated(names, numbers, problems, odd)
    else:
        names, numbers = _parse(
            lines, partial(_split, delimiter=dataset.delimiter), problems, odd, nothing=-1
        )
        _find_repeated(names, numbers, problems, odd)
        if dataset.relabel:
            numbers = _number_anew(numbers, problems)
        _find_out_of_range(numbers, class_num, problems)
    if odd.absolute and path_map is not None:
        names = [path_map.apply(name) if name.startswith("/") else name for name in names]
    _find_missing(dataset.image_root, names, problems)
    if problems:
        raise DataError(f"{source}:{number}: {problems[number]}" for number in sorted(problems))
    labels: NDArray[np.int64] | NDArray[np.float32] | None = None
    if isinstance(dataset, MultiLabelDataset):
        labels = make_labels(several, ratio=dataset.label_ratio)
    elif not isinstance(dataset, CustomLabelDataset):
        labels = np.array(numbers, dtype=np.int64)
    return SampleList(
        paths=tuple(os.path.join(dataset.image_root, name) for name in names),  # noqa: PTH118 - 10 x faster
        labels=labels,
        source=source,
        classes=class_num,
        notes=tuple(odd.sentences()),
    )


@dataclass(slots=True)
class _Oddities:
    """What PaddleClas takes and a person may not have meant; the first line of each kind is shown."""

    source: str
    further: int = 0
    first_further: tuple[int, str] = (0, "")
    repeated: int = 0
    first_repeated: tuple[int, int] = (0, 0)
    absolute: int = 0
    first_absolute: int = 0

    def note_line(self, number: int, name: str, further: str) -> None:
        """Look at a line that was read: its path, and what follows its label."""
        if further:
            self.first_further = self.first_further if self.further else (number, further)
            self.further += 1
        if name.startswith("/"):
            self.first_absolute = self.first_absolute or number
            self.absolute += 1

    def note_repeated(self, number: int, earlier: int) -> None:
        """Keep that a line says the same as an earlier one."""
        self.first_repeated = self.first_repeated if self.repeated else (number, earlier)
        self.repeated += 1

    def sentences(self) -> Iterator[str]:
        """Yield a sentence for each kind that there is."""
        if self.further:
            number, text = self.first_further
            yield (
                f"{self.source}:{number}: expected a path and a label, got a further field {show(text)} "
                f"({_lines(self.further)} in all); such fields are left out, as PaddleClas does"
            )
        if self.repeated:
            number, earlier = self.first_repeated
            yield (
                f"{self.source}:{number}: expected each line once, got line {earlier} again "
                f"({_lines(self.repeated)} in all); their images count as often as they are listed"
            )
        if self.absolute:
            yield (
                f"{self.source}:{self.first_absolute}: expected a path relative to image_root, got an "
                f"absolute one ({_lines(self.absolute)} in all); a job needs a volume there (Launch.volumes)"
            )


def _lines(count: int) -> str:
    return f"{count} line{'' if count == 1 else 's'}"


def _parse(
    lines: Sequence[str],
    split: Callable[[str], tuple[str, LabelT, str]],
    problems: dict[int, str],
    odd: _Oddities,
    *,
    nothing: LabelT,
) -> tuple[list[str], list[LabelT]]:
    names: list[str] = []
    labels: list[LabelT] = []
    for number, line in enumerate(lines, start=1):
        try:
            name, label, further = split(line)
        except ValueError as error:
            problems[number] = str(error)
            name, label, further = "", nothing, ""
        if further or name.startswith("/"):
            odd.note_line(number, name, further)
        names.append(name)
        labels.append(label)
    return names, labels


def _read_bounded(source: str) -> bytes:
    """Read a file, and neither wait for a pipe nor fill the memory from a device such as /dev/zero."""
    with os.fdopen(os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise DataError([f"{source}: expected a list file, got a pipe, a socket or a device"])
        if about.st_size > _MAX_BYTES:
            size = f"{about.st_size:,}"
            raise DataError([f"{source}: expected a list of at most {_MAX_BYTES:,} bytes, got {size}"])
        return file.read(_MAX_BYTES)


def _read_lines(source: str) -> list[str]:
    try:
        content = _read_bounded(source)
    except FileNotFoundError as error:
        raise DataError(
            [f"{source}: expected a list file, got no such file; `trainer make-lists FOLDER` writes one"]
        ) from error
    except IsADirectoryError as error:
        raise DataError([f"{source}: expected a list file, got a folder"]) from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise DataError([f"{source}: expected a readable list file: {str(error).lower()}"]) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            [f"{source}:{number}: expected UTF-8, got other bytes; save the list as UTF-8"]
        ) from error
    lines = [line.strip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(
            [f"{source}: expected 'path label' lines, got none; `trainer make-lists FOLDER` writes them"]
        )
    return lines


def _split(line: str, delimiter: str | None) -> tuple[str, int, str]:
    """Return path, label and what follows them on a line, or raise ValueError with the sentence."""
    separator = " " if delimiter is None else delimiter
    if not line:
        raise ValueError("expected 'path label', got a blank line; remove it")
    name, found, rest = line.partition(separator)
    text, _, further = rest.partition(separator)
    if separator == " " and further and not (_has_ending(name) and _LABEL.fullmatch(text)):
        # PaddleClas takes what follows the first space, and so breaks on a path that holds one. Here such a
        # path is read, as long as what stands before that space does not look like a whole file name.
        name, found, text = line.rpartition(" ")
        further = ""
    name, text = name.strip(), text.strip()
    if not found or "\t" in text:
        raise ValueError(f"expected 'path{separator}label', got {show(line)}{_hint(line, separator)}")
    _refuse_name(name, line)
    if not _LABEL.fullmatch(text) or len(text) > _MAX_DIGITS:
        raise ValueError(f"expected a whole number as label, got {show(text)}; classes are numbered from 0")
    return name, int(text), further.strip()


def _has_ending(name: str) -> bool:
    return "." in name.rpartition("/")[2][1:]


def _split_path(line: str, *, delimiter: str | None) -> tuple[str, int, str]:
    """Return path and no label of a line, or raise ValueError with the sentence."""
    if not line:
        raise ValueError("expected a path, got a blank line; remove it")
    name = (line if delimiter is None else line.partition(delimiter)[0]).strip()
    _refuse_name(name, line)
    return name, 0, ""


def _split_several(line: str, *, class_num: int) -> tuple[str, tuple[int, ...], str]:
    """Return path, labels and what follows them on a line, or raise ValueError with the sentence."""
    if not line:
        raise ValueError("expected 'path<tab>0,1,…', got a blank line; remove it")
    name, found, text = line.partition(SEPARATOR)
    if not found:
        raise ValueError(f"expected a path, a tab and a 0 or 1 for each class, got {show(line)}")
    name = name.strip()
    _refuse_name(name, line)
    labels, _, further = text.partition(SEPARATOR)
    return name, parse_labels(labels, class_num=class_num), further.strip()


def _refuse_name(name: str, line: str) -> None:
    if not name:
        raise ValueError(f"expected a path before the label, got {show(line)}")
    if "\0" in name:
        raise ValueError(f"expected a path, got {show(name)}")


def _hint(line: str, separator: str) -> str:
    for other, spelling in (("\t", r'"\t"'), (",", '","'), (";", '";"'), (" ", '" "')):
        if other != separator and other in line:
            return f"; is {spelling} the delimiter? then set `delimiter: {spelling}`"
    return "; the label is missing"


def _find_repeated(
    names: Sequence[str], labels: Sequence[LabelT], problems: dict[int, str], odd: _Oddities
) -> None:
    first: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if number in problems:
            continue
        earlier = first.setdefault(name, number)
        if earlier == number:
            continue
        if labels[earlier - 1] == labels[number - 1]:
            odd.note_repeated(number, earlier)  # PaddleClas's FAQ advises to repeat the lines of rare classes
        else:
            problems[number] = (
                f"expected label {labels[earlier - 1]} as on line {earlier} for the same image, "
                f"got {labels[number - 1]}; remove the wrong line"
            )


def _number_anew(labels: Sequence[int], problems: dict[int, str]) -> list[int]:
    # In increasing order of the labels; PaddleClas numbers them in the order of a Python set.
    good = {label for number, label in enumerate(labels, start=1) if number not in problems}
    new = {label: index for index, label in enumerate(sorted(good))}
    return [new.get(label, -1) for label in labels]


def _find_out_of_range(labels: Sequence[int], class_num: int, problems: dict[int, str]) -> None:
    for number, label in enumerate(labels, start=1):
        if number not in problems and not 0 <= label < class_num:
            problems[number] = (
                f"expected a label from 0 to {class_num - 1}, got {label}; Arch.class_num is {class_num}: "
                "raise it or correct the label"
            )


def _find_missing(root: str, names: Sequence[str], problems: dict[int, str]) -> None:
    folders: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, name in enumerate(names, start=1):
        if number not in problems:
            folder, slash, leaf = name.rpartition("/")
            folder = folder or slash  # an absolute one of the topmost folder
            folders[folder].append((number, leaf))
    for folder, wanted in folders.items():
        place = Path(root, folder)
        present = _files_in(place) if len(wanted) >= _WORTH_A_LISTING else frozenset()
        for number, leaf in wanted:
            if leaf in present or (place / leaf).is_file():
                continue
            got = "a folder" if (place / leaf).is_dir() else "no such file"
            hint = "; write / instead of \\" if "\\" in leaf else "; correct image_root or remove the line"
            problems[number] = f"expected an image file, got {got}: {str(place / leaf)!r}{hint}"


def _files_in(folder: Path) -> frozenset[str]:
    # One listing instead of a look-up an image: on a network disk that is minutes.
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except OSError:
        return frozenset()
