"""List files of a folder that is to be brought somewhere: each image that they name must come along.

Lines are read by `trainer.protocol.lists`, as the trainer reads them, so that what is refused here is what a
training refuses, in the same words. What a config says of its lists (delimiter, labels, the images' folder)
counts for those that it names; of the others the grammar is guessed, and said.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from launcher.errors import Issue, UsageError
from trainer.protocol.lists import Grammar, ListError, describe_grammar, guess_grammar, read_list
from trainer.protocol.pathmap import PathMap

if TYPE_CHECKING:  # pydantic: who brings a folder without a config does without
    from trainer.config.root import TrainConfig

_SHOWN = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigList:
    """A list as a config names it, all paths as they are in a pod.

    Attributes:
        source: The list file.
        image_root: The folder that its paths are relative to.
        class_num: Labels run from 0 to one below.
    """

    source: str
    image_root: str
    grammar: Grammar
    class_num: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderList:
    """A list file of a folder, and how it is read.

    Attributes:
        path: Where it is on this machine.
        root: Folder below the folder that its paths are relative to; None where images lie elsewhere.
        mount: What stands for the folder in a pod; None where no config says it.
        guessed: No config names it.
    """

    path: Path
    root: str | None
    mount: str | None
    grammar: Grammar
    class_num: int | None
    guessed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedLists:
    """What the lists of a folder say.

    Attributes:
        lists: Number of list files.
        lines: Number of their lines.
        notes: What was guessed, and what is unusual; a sentence each.
    """

    lists: int
    lines: int
    notes: tuple[str, ...]


def lists_of(config: TrainConfig) -> list[ConfigList]:
    """Return the lists that a config names."""
    from trainer.config.data import listed_by

    found = []
    for split in (config.data.Train, config.data.Eval):
        if split is not None:
            source, grammar = listed_by(split.dataset)
            found.append(
                ConfigList(
                    source=source,
                    image_root=split.dataset.image_root,
                    grammar=grammar,
                    class_num=config.arch.class_num,
                )
            )
    return found


def find_lists(folder: Path, named: Iterable[ConfigList] = ()) -> list[FolderList]:
    """Return the list files of a folder: those that a config names, and `*_list.txt` of its topmost level.

    Args:
        folder: What is to be brought.
        named: Of a config. One of which no file is in the folder is left out.

    Raises:
        UsageError: A list whose grammar must be guessed cannot be read.
    """
    found: dict[Path, FolderList] = {}
    for item in named:
        below = _find_below(folder, item.source)
        if below is not None and folder / below not in found:
            mount = PurePosixPath(item.source).parents[len(below.parts) - 1]
            image_root = PurePosixPath(item.image_root)
            found[folder / below] = FolderList(
                path=folder / below,
                root=str(image_root.relative_to(mount)) if image_root.is_relative_to(mount) else None,
                mount=str(mount) if mount.is_absolute() else None,
                grammar=item.grammar,
                class_num=item.class_num,
                guessed=False,
            )
    for path in folder.glob("*_list.txt"):  # PaddleClas's names, and those of `trainer make-lists`
        if path.is_file() and path not in found:
            try:
                grammar = guess_grammar(str(path))
            except ListError as error:
                raise UsageError.of(error) from error
            found[path] = FolderList(
                path=path, root="", mount=None, grammar=grammar, class_num=None, guessed=True
            )
    return [found[path] for path in sorted(found)]


def require_listed(folder: Path, lists: Sequence[FolderList], paths: Collection[str]) -> CheckedLists:
    """Check that every line of every list can be trained on, and that its image is brought.

    Args:
        folder: What is to be brought.
        lists: Of `find_lists`.
        paths: What is brought, relative to the folder.

    Raises:
        UsageError: Lines are refused; shows the first 20 of each list.
    """
    there = _with_folders(paths)
    problems: list[Issue] = []
    notes: list[str] = []
    lines = 0
    for item in lists:
        try:
            listed = read_list(
                str(item.path),
                item.grammar,
                class_num=item.class_num,
                image_root=None if item.root is None else str(folder / item.root),
                path_map=PathMap({item.mount: str(folder)}) if item.mount else None,
                absolute_elsewhere=True,
            )
        except ListError as error:
            problems.append(Issue(message=str(error)))
            continue
        lines += len(listed.names)
        refused = dict(listed.problems)
        if item.root is not None:
            for number, name in enumerate(listed.names, start=1):
                if number not in refused and (got := _why_not_brought(folder, item.root, name, there)):
                    refused[number] = f"expected an image that is brought, got {got}"
        shown = [Issue(where=f"{item.path}:{number}", message=refused[number]) for number in sorted(refused)]
        problems += shown[:_SHOWN]
        if len(shown) > _SHOWN:
            rest = f"… and {len(shown) - _SHOWN} lines more"
            problems.append(Issue(where=str(item.path), message=rest))
        notes += [*_say_how(item), *listed.notes]
    if problems:
        raise UsageError(problems=problems)
    return CheckedLists(lists=len(lists), lines=lines, notes=tuple(notes))


def _say_how(item: FolderList) -> Iterator[str]:
    if item.guessed and (needed := describe_grammar(item.grammar)):
        yield f"{item.path}: is read as {needed}; `--config FILE` says how a job reads it"
    if item.root is None:
        yield f"{item.path}: its images lie outside of the folder, and were not looked for"


def _find_below(folder: Path, source: str) -> PurePosixPath | None:
    # A pod's path ends like that of the file here; what stands before is the mount. The longest end counts,
    # because a shorter one may be another file of the same name.
    parts = PurePosixPath(source).parts
    for count in range(len(parts), 0, -1):
        below = PurePosixPath(*parts[-count:])
        if not below.is_absolute() and (folder / below).is_file():
            return below
    return None


def _with_folders(paths: Collection[str]) -> frozenset[str]:
    folders = {str(parent) for parent in {PurePosixPath(path).parent for path in paths}}
    above = {str(parent) for folder in folders for parent in PurePosixPath(folder).parents}
    return frozenset({*paths, *folders, *above})


def _why_not_brought(folder: Path, root: str, name: str, there: Collection[str]) -> str:
    """Say what keeps an image from coming along; an empty text where nothing does."""
    if name.startswith(f"{folder}/"):  # absolute in a pod, below the folder by its mount
        name = name[len(str(folder)) + 1 :]
    elif name.startswith("/"):  # in another volume
        return ""
    else:
        name = posixpath.join(root, name)
    # `a/../b.jpg` leads to a file only where `a` is a folder, and only files make folders there.
    passed: list[str] = []
    for part in PurePosixPath(name).parts:
        if part == ".." and not passed:
            return f"one outside of the folder: {name!r}"
        if part == ".." and "/".join(passed) not in there:
            return f"a way through a folder that holds no file: {name!r}"
        passed = passed[:-1] if part == ".." else [*passed, part]
    if "/".join(passed) in there:
        return ""
    if (folder / name).is_file():
        return f"a symbolic link, which is passed over: {name!r}; put a copy in its place"
    return f"no such file: {str(folder / name)!r}; correct the line or remove it"
