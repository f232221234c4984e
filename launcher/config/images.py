"""What `init` must know of a folder of images: its lists, in the form that `trainer make-lists` writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launcher.config.sizes import typical_side
from launcher.errors import UsageError
from trainer.protocol.lists import Grammar, ListError, read_list

TRAIN, VAL, LABELS = "train_list.txt", "val_list.txt", "labels.txt"
_SAMPLE = 64
"""Images whose size is looked at."""
_SHOWN = 20
"""Lines that are refused at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFolder:
    """A folder of images with its lists.

    Attributes:
        class_num: One more than the largest label of all lists.
        train: Images in the training list.
        has_val: There is a validation list.
        has_labels: There is a file of the classes' names.
        val: Images in the validation list.
        side: Median of the shorter sides of some of the images, in pixels; None where none could be told.
    """

    folder: Path
    class_num: int
    train: int
    has_val: bool
    has_labels: bool
    val: int = 0
    side: int | None = None


def look_at(folder: Path) -> ImageFolder:
    """Read the labels of a folder's lists.

    Raises:
        UsageError: There is no such folder, it has no lists yet, or lines of one are refused.
    """
    if not folder.is_dir():
        raise UsageError(where="--data", expected="a folder of images", got=f"{str(folder)!r}, which is none")
    if not (folder / TRAIN).is_file():
        raise UsageError(
            where=folder / TRAIN,
            expected="the list of training images",
            got="none",
            fix="remove the other lists, and `ftlaunch init` makes all",
        )
    train = _read_list(folder / TRAIN)
    val = _read_list(folder / VAL) if (folder / VAL).is_file() else []
    sample = train[:: max(1, len(train) // _SAMPLE)]
    return ImageFolder(
        folder=folder, class_num=max(label for _, label in (*train, *val)) + 1, train=len(train),
        has_val=bool(val), has_labels=(folder / LABELS).is_file(), val=len(val),
        side=typical_side(folder / path for path, _ in sample),
    )  # fmt: skip


def _read_list(path: Path) -> list[tuple[str, int]]:
    try:
        listed = read_list(str(path), Grammar())  # the config that `init` writes names no delimiter
    except ListError as error:
        raise UsageError(str(error)) from error
    problems = [*listed.refusals()]
    pairs = [
        (name, label)
        for name, label in zip(listed.names, listed.labels, strict=True)
        if isinstance(label, int)
    ]
    if not problems:
        problems = [
            f"{path}:{number}: expected a label from 0, got {label}"
            for number, (_, label) in enumerate(pairs, start=1)
            if label < 0
        ]
    if problems:
        more = [f"{path}: … and {len(problems) - _SHOWN} lines more"] if len(problems) > _SHOWN else []
        raise UsageError("\n".join([*problems[:_SHOWN], *more]))
    return pairs
