"""Makes list files of a folder of images: `trainer make-lists`.

Two layouts: a folder a class, of which a share is held out; or the parts of a data set that somebody has
divided already, `train/`, `val/` and `test/` with such folders, also under the names that Roboflow and Kaggle
give them. A class's label is its place among the class folders' names, sorted.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import DataError
from trainer.protocol.image_files import is_image_name
from trainer.protocol.lists import find_unlistable, format_line
from trainer.protocol.safe_files import create_file

TRAIN, VAL, TEST, LABELS = "train_list.txt", "val_list.txt", "test_list.txt", "labels.txt"
PARTS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing"),
}  # fmt: skip
"""Names of the folders of a divided data set, in lower case."""

Progress = Callable[[str, int], None]
"""Is told a class folder's path and its number of images."""
Read = Callable[[Sequence[str]], Mapping[str, str]]
"""Reads image files, and returns those that cannot be used with the reason."""
Images = Mapping[str, Sequence[str]]
"""Class name -> sorted paths of its images, relative to the folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListsReport:
    """What was written.

    Attributes:
        classes: Names in the order of their labels.
        train: Images in the training list.
        val: Images in the validation list.
        test: Images in the list of a test folder; None where there is none.
        parts: Which folder was taken as what, such as `{"train": "train", "val": "valid"}`; empty where the
            folders are the classes.
        ignored: Folders beside these, which were left out.
        other_files: Files in class folders that are no images by their ending; left out.
        with_space: Paths that hold a space. PaddleClas itself does not read such lists.
        without_val: Classes of which no image is held out.
        bad_images: Files that cannot be read, with the reason; left out.
        were_read: Whether the images were decoded.
    """

    classes: tuple[str, ...]
    train: int
    val: int
    test: int | None
    parts: Mapping[str, str]
    ignored: tuple[str, ...]
    other_files: int
    with_space: int
    without_val: tuple[str, ...]
    bad_images: tuple[str, ...] = ()
    were_read: bool = False


def make_lists(
    folder: Path,
    *,
    val: float = 0.2,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
    read: Read | None = None,
) -> ListsReport:
    """Write train_list.txt, val_list.txt and labels.txt into a folder of images.

    A divided data set is taken as it stands; its test folder gets a test_list.txt. One without a validation
    folder has a share of train/ held out.

    The same files and seed give the same lists on every machine, and a class's choice depends on no other
    class.

    Args:
        folder: The lists' image_root.
        val: Share of each class to hold out, above 0 and below 1; not used with a validation folder.
        seed: Of the choice.
        overwrite: Replace lists that are there.
        progress: Called after each class folder.
        read: Reads every image; those that cannot be used are left out. None reads none.

    Raises:
        DataError: The folder is refused, or a list cannot be written; nothing was changed then.
    """
    _refuse_existing(folder, overwrite=overwrite)
    scan = _Scan(folder, progress, read)
    parts = scan.find_parts()
    train = scan.classes(parts.get("train", ""))
    tested = scan.classes(parts["test"]) if "test" in parts else None
    problems: list[str] = []
    if "val" in parts:
        held_out = scan.classes(parts["val"])
    else:
        problems += _too_few(folder / parts.get("train", ""), train, val)
        chosen = {} if problems else {name: _hold_out(name, train[name], val, seed) for name in train}
        held_out = {name: sorted(paths) for name, paths in chosen.items()}
        train = {name: sorted(set(train[name]) - paths) for name, paths in chosen.items()} or train
    for part, images in (("val", held_out), ("test", tested or {})):
        problems += [
            f"{folder / parts[part] / name}: expected a class that {parts['train']}/ has too, got one of "
            f"{parts[part]}/ only"
            for name in sorted(images.keys() - train.keys())
        ]
    problems = [*scan.problems, *problems]
    if problems:
        raise DataError([*problems, *scan.bad_images])
    names = sorted(train)
    lists = {
        TRAIN: _lines(names, train),
        VAL: _lines(names, held_out),
        **({} if tested is None else {TEST: _lines(names, tested)}),
        LABELS: [f"{label} {name}" for label, name in enumerate(names)],
    }
    if tested is not None:
        _refuse_existing(folder, overwrite=overwrite, names=(TEST,))
    _save(folder, lists)
    paths = [
        path for images in (train, held_out, tested or {}) for found in images.values() for path in found
    ]
    return ListsReport(
        classes=tuple(names),
        train=len(lists[TRAIN]),
        val=len(lists[VAL]),
        test=None if tested is None else len(lists[TEST]),
        parts=parts,
        ignored=scan.ignored,
        other_files=scan.other_files,
        with_space=sum(" " in path for path in paths),
        without_val=tuple(name for name in names if not held_out.get(name)),
        bad_images=tuple(scan.bad_images),
        were_read=read is not None,
    )


class _Scan:
    """Looks through a folder and keeps what it has to refuse."""

    def __init__(self, folder: Path, progress: Progress | None, read: Read | None) -> None:
        self.problems: list[str] = []
        self.bad_images: list[str] = []
        self._read = read
        self.other_files = 0
        self.ignored: tuple[str, ...] = ()
        self._folder = folder
        self._progress = progress
        self._top = self._folders_in("")

    def find_parts(self) -> dict[str, str]:
        """Return which folder is which part of a divided data set, or nothing where the folders are classes.

        It is divided where a folder for training has folders, and there is another part: a class may be
        called `train` as well. A part without class folders, such as a test of unknown classes, is left out.
        """
        found: dict[str, list[str]] = {part: [] for part in PARTS}
        for name in self._top:
            for part, known in PARTS.items():
                if name.lower() in known:
                    found[part].append(name)
        if not any(map(self._folders_in, found["train"])) or not (found["val"] or found["test"]):
            return {}
        parts: dict[str, str] = {}
        for part, names in found.items():
            if len(names) > 1:
                both = " and ".join(f"{name}/" for name in names)
                self.problems.append(
                    f"{self._folder}: expected one folder for {part}, got {both}; rename one"
                )
            divided = [name for name in names if self._folders_in(name)]
            if divided:
                parts[part] = divided[0]
        self.ignored = tuple(name for name in self._top if name not in parts.values())
        return parts

    def classes(self, below: str) -> dict[str, list[str]]:
        """Return the images of each class folder under `below`."""
        names = self._top if not below else self._folders_in(below)
        if not names:
            self.problems.append(
                f"{self._folder / below}: expected a folder of images for each class, got no folders"
            )
        return {name: self._images_in(f"{below}/{name}" if below else name) for name in names}

    def _images_in(self, place: str) -> list[str]:
        images: list[str] = []
        for name, is_folder in self._entries(place):
            if is_folder:
                continue
            if not is_image_name(name):
                self.other_files += 1
                continue
            path = f"{place}/{name}"
            if not self._refuse_name(path):
                images.append(path)
        images = self._leave_bad_out(images)
        if not images:
            self.problems.append(
                f"{_shown(self._folder, place)}: expected images in the folder of a class, got none; remove "
                "it, or name the folder that holds the class folders"
            )
        if self._progress is not None:
            self._progress(place, len(images))
        return sorted(images)

    def _leave_bad_out(self, images: list[str]) -> list[str]:
        if self._read is None:
            return images
        places = {str(self._folder / path): path for path in images}
        bad = self._read(list(places))
        self.bad_images += [f"{place}: {bad[place]}" for place in sorted(bad)]
        return [path for place, path in places.items() if place not in bad]

    def _folders_in(self, place: str) -> list[str]:
        return sorted(
            name
            for name, is_folder in self._entries(place)
            if is_folder and not self._refuse_name(f"{place}/{name}" if place else name)
        )

    def _entries(self, place: str) -> list[tuple[str, bool]]:
        """List (name, whether it is a folder), hidden ones left out."""
        try:
            with os.scandir(self._folder / place) as entries:
                return [(entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DataError(
                [f"{_shown(self._folder, place)}: expected a readable folder: {reason}"]
            ) from error

    def _refuse_name(self, path: str) -> bool:
        """Note a name that a line of a list file cannot hold; tells whether it did."""
        reason = find_unlistable(path)
        if not reason:
            return False
        where = _shown(self._folder, path)
        problem = f"{where}: expected a name that a list file can hold, got {reason}; rename it"
        if problem not in self.problems:
            self.problems.append(problem)
        return True


def _shown(folder: Path, path: str) -> str:
    return ascii(str(folder / path)) if not path.isprintable() else str(folder / path)


def _too_few(folder: Path, images: Images, val: float) -> list[str]:
    if not 0 < val < 1:
        return [f"val: expected a share above 0 and below 1, got {val}"]
    return [
        f"{folder / name}: expected at least 2 images, so that training and validation have one each, got 1; "
        "add images, or remove the class"
        for name, paths in images.items()
        if len(paths) == 1
    ]


def _hold_out(name: str, paths: Sequence[str], val: float, seed: int) -> set[str]:
    count = min(max(1, int(len(paths) * val + 0.5)), len(paths) - 1)
    # A text as seed is hashed by SHA-512, the same on every machine and version of Python.
    chooser = random.Random(f"{seed}/{name}")  # noqa: S311
    return set(chooser.sample(paths, max(0, count)))


def _lines(names: Sequence[str], images: Images) -> list[str]:
    return [format_line(path, label) for label, name in enumerate(names) for path in images.get(name, ())]


def _refuse_existing(folder: Path, *, overwrite: bool, names: Sequence[str] = (TRAIN, VAL, LABELS)) -> None:
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise DataError([f"{folder}: expected a folder of images, got {got}"])
    found = [name for name in names if (folder / name).exists()]
    if found and not overwrite:
        raise DataError(
            [f"{folder / name}: expected no such file yet; pass --overwrite to replace it" for name in found]
        )


def _save(folder: Path, lists: Mapping[str, Iterable[str]]) -> None:
    """Write all lists beside their places and move them there when all are whole."""
    partials = {name: folder / f".{name}.{os.getpid()}.tmp" for name in lists}
    try:
        for name, lines in lists.items():
            with create_file(partials[name]) as file:
                file.writelines(f"{line}\n".encode() for line in lines)
                file.flush()
                os.fsync(file.fileno())
        for name, partial in partials.items():
            partial.replace(folder / name)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(
            [f"{folder}: expected to write the lists there: {reason}; is it read-only?"]
        ) from error
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
