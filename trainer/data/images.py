"""Finds the images that a prediction is asked for: files, folders, patterns, lists."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import DataError
from trainer.protocol.image_files import IMAGE_ENDINGS, describe_endings, is_image_name
from trainer.protocol.lists import Grammar, Labels, ListError, read_list


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundImages:
    """What places lead to.

    Attributes:
        files: The images, in order, each once.
        notes: What was left out below folders, a sentence a folder.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def find_images(places: Iterable[str]) -> FoundImages:
    """Return images in order: a file as it is, a folder with all below it by ending, a pattern's matches.

    Hidden files and folders are left out, as they are of lists.

    Raises:
        DataError: A place leads to no image, or a folder cannot be read; names all of them.
    """
    found: dict[Path, None] = {}
    problems: list[str] = []
    notes: list[str] = []
    for place in places:
        path = Path(place)
        if path.is_file():
            images = [path]
        elif path.is_dir():
            images, said = _below(path, problems)
            notes += said
        else:
            matches = sorted(glob.glob(place, recursive=True))  # noqa: PTH207 - absolute patterns
            images = [Path(name) for name in matches if Path(name).is_file()]
        if not images:
            endings = ", ".join(sorted(IMAGE_ENDINGS))
            problems.append(
                f"{place}: expected an image, a folder or a pattern of images ({endings}), got none"
            )
        found.update(dict.fromkeys(images))
    if problems:
        raise DataError(problems)
    return FoundImages(files=tuple(found), notes=tuple(notes))


def read_image_list(path: Path, *, root: Path) -> list[Path]:
    """Return the images of an `infer_list`: a path a line, what follows the first space is left out.

    Raises:
        DataError: It cannot be read, is empty, or has a line without a path.
    """
    try:
        listed = read_list(str(path), Grammar(labels=Labels.NONE, delimiter=" "))
    except ListError as error:
        raise DataError([str(error)]) from error
    if listed.problems:
        raise DataError(listed.refusals())
    return [root / name for name in listed.names]


def _below(folder: Path, problems: list[str]) -> tuple[list[Path], list[str]]:
    """Return the images below a folder, sorted, and what was left out."""

    def refuse(error: OSError) -> None:
        problems.append(f"{error.filename}: expected a readable folder: {(error.strerror or '').lower()}")

    images: list[Path] = []
    others: list[str] = []
    links: list[Path] = []
    for here, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links += [Path(here, name) for name in folders if Path(here, name).is_symlink()]
        for name in names:
            if name.startswith("."):
                continue
            if is_image_name(name):
                images.append(Path(here, name))
            else:
                others.append(name)
    notes = []
    if others:
        notes.append(f"{folder}: left out what is no image by its ending: {describe_endings(others)}")
    if links:  # they may lead in circles
        notes.append(f"{folder}: left out linked folders: {', '.join(map(str, sorted(links)))}")
    return sorted(images), notes
