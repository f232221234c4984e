"""Finds the images that a prediction is asked for: files, folders, patterns, lists."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from trainer.data.errors import DataError

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


def find_images(places: Iterable[str]) -> list[Path]:
    """Return images in order: a file as it is, a folder with all below it by ending, a pattern's matches.

    Raises:
        DataError: A place leads to no image; names all of them.
    """
    found: dict[Path, None] = {}
    problems = []
    for place in places:
        images = _images_at(place)
        if not images:
            endings = ", ".join(ENDINGS)
            problems.append(
                f"{place}: expected an image, a folder or a pattern of images ({endings}), got none"
            )
        found.update(dict.fromkeys(images))
    if problems:
        raise DataError(problems)
    return list(found)


def read_image_list(path: Path, *, root: Path) -> list[Path]:
    """Return the images of an `infer_list`: a path a line, what follows the first space is left out.

    Raises:
        DataError: It cannot be read or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError([f"{path}: expected a list of images: {error}"]) from error
    names = [line.split(" ")[0] for line in lines if line.strip()]
    if not names:
        raise DataError([f"{path}: expected a path a line, got none"])
    return [root / name for name in names]


def _images_at(place: str) -> list[Path]:
    path = Path(place)
    if path.is_file():
        return [path]
    if path.is_dir():
        below = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
        return sorted(file for file in below if file.suffix.lower() in ENDINGS)
    return [Path(name) for name in sorted(glob.glob(place, recursive=True)) if Path(name).is_file()]  # noqa: PTH207 - absolute patterns
