"""Makes list files of a folder of images: `trainer make-lists`.

Two layouts: a folder a class, of which a share is held out; or the parts of a data set that somebody has
divided already, `train/`, `val/` and `test/` with such folders, also under the names that Roboflow and Kaggle
give them. A class's label is its place among the class folders' names, sorted. Who goes into which list is
decided by `trainer.data.splits`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.data.splits import (
    Division,
    Groups,
    Images,
    SplitOptions,
    divide,
    find_groups,
    find_shortages,
    join,
)
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
_FOLD = "{}_list_fold{}.txt"
"""Of train or val, and a number from 1."""
_FOLD_NAME = re.compile(r"(train|val)_list_fold\d+\.txt")
_SHOWN = 5


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
        without_val: Classes of which no image is held out; with folds, of which some fold holds none out.
        counts: Images of each class in each list, by the list's name, in the order of the labels.
        groups: How many groups there are; None where none were asked for.
        stale: Lists of another split that are left as they are.
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
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    groups: int | None = None
    stale: tuple[str, ...] = ()


def make_lists(
    folder: Path,
    *,
    val: float = 0.2,
    seed: int = 0,
    test: float = 0.0,
    folds: int = 0,
    groups: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    read: Read | None = None,
) -> ListsReport:
    """Write train_list.txt, val_list.txt and labels.txt into a folder of images.

    A divided data set is taken as it stands; its test folder gets a test_list.txt. One without a validation
    folder has a share of train/ held out. With folds there is a pair of lists for each besides,
    train_list_fold1.txt and val_list_fold1.txt, and the two lists without a number are those of the first.

    The same files and options give the same lists on every machine, and without groups a class's choice
    depends on no other class.

    Args:
        folder: The lists' image_root.
        val: Share of each class to hold out, above 0 and below 1; not used with a validation folder or folds.
        seed: Of the choice.
        test: Share of each class for test_list.txt, which no other list has; 0 for none.
        folds: Parts that are held out in turns, 2 or more; 0 for none.
        groups: Regular expression; paths in which its first group, or else all of it, finds the same text
            stay in one list.
        overwrite: Replace lists that are there.
        progress: Called after each class folder.
        read: Reads every image; those that cannot be used are left out. None reads none.

    Raises:
        DataError: The folder is refused, or a list cannot be written; nothing was changed then.
    """
    options = SplitOptions(val=val, test=test, folds=folds, groups=groups, seed=seed)
    if problems := options.refusals():
        raise DataError(problems)
    names = tuple(_FOLD.format(part, n + 1) for n in range(folds) for part in ("train", "val"))
    _refuse_existing(
        folder, overwrite=overwrite, names=(TRAIN, VAL, LABELS, *names, *([TEST] if test else []))
    )
    scan = _Scan(folder, progress, read)
    parts = scan.find_parts()
    train = scan.classes(parts.get("train", ""))
    given: dict[str, Images] = {part: scan.classes(parts[part]) for part in ("val", "test") if part in parts}
    problems = _contradictions(options, parts, folder)
    found: Groups | None = None
    if groups is not None and not problems and not scan.problems:
        found = find_groups(join([train, *given.values()]), groups)
        problems += _torn_apart({"train": train, **given}, found, parts)
    if not problems:
        short = find_shortages(train, options, groups=found, holds_out="val" not in given)
        inside = folder / parts.get("train", "")
        problems += [f"{inside / name}: {said}" for name, said in short.items()]
    for part, images in given.items():
        problems += [
            f"{folder / parts[part] / name}: expected a class that {parts['train']}/ has too, got one of "
            f"{parts[part]}/ only"
            for name in sorted(images.keys() - train.keys())
        ]
    problems = [*scan.problems, *problems]
    if problems:
        raise DataError([*problems, *scan.bad_images])
    division = divide(train, options, groups=found, holds_out="val" not in given)
    _refuse_untrained(division, folder)
    contents = _contents(division, given)
    classes = sorted(train)
    lists = {name: _lines(classes, images) for name, images in contents.items()}
    if TEST in lists:
        _refuse_existing(folder, overwrite=overwrite, names=(TEST,))
    stale = sorted(name for name in _other_lists(folder) if name not in lists)
    _save(folder, {**lists, LABELS: [f"{label} {name}" for label, name in enumerate(classes)]})
    held_out = division.folds or [contents[VAL]]
    paths = [path for images in contents.values() for part in images.values() for path in part]
    return ListsReport(
        classes=tuple(classes),
        train=len(lists[TRAIN]),
        val=len(lists[VAL]),
        test=len(lists[TEST]) if TEST in lists else None,
        parts=parts,
        ignored=scan.ignored,
        other_files=scan.other_files,
        with_space=len({path for path in paths if " " in path}),
        without_val=tuple(name for name in classes if not all(part.get(name) for part in held_out)),
        bad_images=tuple(scan.bad_images),
        were_read=read is not None,
        counts={
            name: tuple(len(images.get(label, ())) for label in classes) for name, images in contents.items()
        },
        groups=len(set(found.values())) if found is not None else None,
        stale=tuple(stale),
    )


def _contents(division: Division, given: Mapping[str, Images]) -> dict[str, Images]:
    """Return what goes into each list, by its name."""
    contents = {TRAIN: division.train, VAL: given.get("val", division.val)}
    tested = given.get("test", division.test)
    if tested is not None:
        contents[TEST] = tested
    for number, held_out in enumerate(division.folds):
        contents[_FOLD.format("train", number + 1)] = division.train_of(number)
        contents[_FOLD.format("val", number + 1)] = held_out
    return contents


def _contradictions(options: SplitOptions, parts: Mapping[str, str], folder: Path) -> list[str]:
    """Refuse to divide what is divided already."""
    said = []
    if options.folds and "val" in parts:
        said.append(
            f"{folder / parts['val']}: expected no folder for validation beside folds, which hold out each "
            f"image of {parts['train']}/ once; move its images there, or leave the folds out"
        )
    if options.test and "test" in parts:
        said.append(
            f"{folder / parts['test']}: expected no folder for test beside a share for it, got one, which is "
            "taken as the list; leave the share out"
        )
    return said


def _torn_apart(images: Mapping[str, Images], groups: Groups, parts: Mapping[str, str]) -> list[str]:
    """Refuse groups that stand in two folders of a divided data set."""
    places: dict[str, set[str]] = {}
    for part, classes in images.items():
        for paths in classes.values():
            for path in paths:
                places.setdefault(groups[path], set()).add(parts.get(part, part))
    torn = {group: sorted(where) for group, where in places.items() if len(where) > 1}
    shown = [f"{group!r} in {' and '.join(f'{n}/' for n in torn[group])}" for group in sorted(torn)[:_SHOWN]]
    more = f" and {len(torn) - _SHOWN} more" if len(torn) > _SHOWN else ""
    return [f"groups: expected each in one folder, got {', '.join(shown)}{more}"] if torn else []


def _refuse_untrained(division: Division, folder: Path) -> None:
    """Refuse lists that large groups have left without images, or without those of a class to train on.

    Raises:
        DataError: There are some.
    """
    held_out = {f"fold {number}": part for number, part in enumerate(division.folds, start=1)}
    if division.test is not None:
        held_out["test"] = division.test
    bare = [name for name, part in held_out.items() if not any(part.values())]
    trained = [division.train_of(number) for number in range(len(division.folds))] or [division.train]
    empty = sorted({name for images in trained for name in division.train if not images.get(name)})
    problems = [
        f"groups: expected images in every list, got none in that of {', '.join(bare)}; ask for fewer folds, "
        "or smaller shares"
        for _ in bare[:1]
    ]
    problems += [
        f"{folder / name}: expected images to train on in every training list, got none in one, because its "
        "groups are too large; lower the shares, or number of folds"
        for name in empty
    ]
    if problems:
        raise DataError(problems)


def _other_lists(folder: Path) -> list[str]:
    return [
        entry.name for entry in folder.iterdir() if entry.name == TEST or _FOLD_NAME.fullmatch(entry.name)
    ]


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
            inner = self._folders_in(place)
            got = f"only folders, such as {inner[0]!r}" if inner else "none"
            fix = "move the images up" if inner else "remove it"
            self.problems.append(
                f"{_shown(self._folder, place)}: expected images in the folder of a class, got {got}; {fix}, "
                "or name the folder that holds the class folders"
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
