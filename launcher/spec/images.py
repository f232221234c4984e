"""What `init` must know of a folder of images: its lists, in the form that `trainer make-lists` writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launcher.errors import UsageError

TRAIN, VAL, LABELS = "train_list.txt", "val_list.txt", "labels.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFolder:
    """A folder of images with its lists.

    Attributes:
        class_num: One more than the largest label of all lists.
        train: Images in the training list.
        has_val: There is a validation list.
        has_labels: There is a file of the classes' names.
    """

    folder: Path
    class_num: int
    train: int
    has_val: bool
    has_labels: bool


def look_at(folder: Path) -> ImageFolder:
    """Read the labels of a folder's lists.

    Raises:
        UsageError: There is no such folder, it has no lists yet, or a line has no label.
    """
    if not folder.is_dir():
        raise UsageError(f"--data: expected a folder of images, got {str(folder)!r}, which is none")
    if not (folder / TRAIN).is_file():
        raise UsageError(
            f"{folder / TRAIN}: expected the list of training images, got none; pass --make-lists, or run "
            f"`trainer make-lists {folder}`"
        )
    train = _read_labels(folder / TRAIN)
    val = _read_labels(folder / VAL) if (folder / VAL).is_file() else []
    if not train:
        raise UsageError(f"{folder / TRAIN}: expected images, got an empty list")
    return ImageFolder(
        folder=folder, class_num=max(*train, *val, 0) + 1, train=len(train), has_val=bool(val),
        has_labels=(folder / LABELS).is_file(),
    )  # fmt: skip


def _read_labels(path: Path) -> list[int]:
    labels = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected a readable list in UTF-8, got: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        label = line.rpartition(" ")[2]
        if not label.isascii() or not label.isdigit():
            raise UsageError(
                f"{path}:{number}: expected `path label`, got {line[:80]!r}; "
                "`trainer check` shows all such lines"
            )
        labels.append(int(label))
    return labels
