"""What `init` must know of a folder of images: its lists, and how large its images are.

Lists have the form that `trainer make-lists` writes. Sizes are read from the first bytes of the files:
nothing is decoded, no library needed. Width and height stand in fixed places of PNG (W3C PNG, 11.2.2), BMP,
GIF and WebP files, and of JPEG in the segment of its frame (ITU-T T.81, B.2.2), which is found by walking
over the segments before it. A file that is none of these, or is cut, has no size here: whether it can be read
is for `trainer check --images` to say.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import Issue, UsageError
from trainer.protocol.lists import Grammar, ListError, read_list

TRAIN, VAL, LABELS = "train_list.txt", "val_list.txt", "labels.txt"
_SAMPLE = 64
"""Number of images, evenly spaced in the list, whose size is read: enough for a median."""
_SHOWN = 20
"""Number of wrong lines that are named; of more, how many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFolder:
    """A folder of images with its lists.

    Attributes:
        class_num: One more than the largest label of all lists; at least 1.
        train: Number of images in the training list.
        has_val: There is a validation list.
        has_labels: There is a file of the classes' names.
        val: Number of images in the validation list; 0 where there is none.
        most, fewest: Training images of the largest and of the smallest class that has any.
        side: Median of the shorter sides of some of the images, in pixels; None where none could be told.
    """

    folder: Path
    class_num: int
    train: int
    has_val: bool
    has_labels: bool
    val: int = 0
    side: int | None = None
    most: int = 0
    fewest: int = 0


def read_image_folder(folder: Path) -> ImageFolder:
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
    counts = Counter(label for _, label in train).values()
    return ImageFolder(
        folder=folder, class_num=max(label for _, label in (*train, *val)) + 1, train=len(train),
        most=max(counts), fewest=min(counts), has_val=bool(val), has_labels=(folder / LABELS).is_file(),
        val=len(val),
        side=typical_side(folder / path for path, _ in sample),
    )  # fmt: skip


def _read_list(path: Path) -> list[tuple[str, int]]:
    try:
        listed = read_list(str(path), Grammar())  # the config that `init` writes names no delimiter
    except ListError as error:
        raise UsageError.of(error) from error
    problems = [Issue(message=refusal) for refusal in listed.refusals()]
    pairs = [
        (name, label)
        for name, label in zip(listed.names, listed.labels, strict=True)
        if isinstance(label, int)
    ]
    if not problems:
        problems = [
            Issue(where=f"{path}:{number}", expected="a label from 0", got=str(label))
            for number, (_, label) in enumerate(pairs, start=1)
            if label < 0
        ]
    if problems:
        rest = Issue(where=str(path), message=f"… and {len(problems) - _SHOWN} lines more")
        raise UsageError(problems=[*problems[:_SHOWN], *([rest] if len(problems) > _SHOWN else [])])
    return pairs


_HEAD = 256 * 1024  # a JPEG's frame stands behind its EXIF data and thumbnails
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


def typical_side(paths: Iterable[Path]) -> int | None:
    """Return the median of the shorter sides in pixels; None where no image has a size that can be read."""
    sides = sorted(min(size) for path in paths if (size := read_size(path)) is not None)
    return sides[len(sides) // 2] if sides else None


def read_size(path: Path) -> tuple[int, int] | None:
    """Return width and height of an image file, both above 0; None where they cannot be told."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    try:
        size = _size(head)
    except (struct.error, IndexError):
        return None
    return size if size is not None and min(size) > 0 else None


def _size(head: bytes) -> tuple[int, int] | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", head, 16)
        return width, height
    if head.startswith(b"\xff\xd8"):
        return _jpeg(head)
    if head.startswith(b"BM"):
        width, height = struct.unpack_from("<ii", head, 18)
        return width, abs(height)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp(head)
    if re.match(rb"P[1-6]\s", head):
        match = re.match(rb"P[1-6]\s+(?:#[^\n]*\s+)*(\d{1,6})\s+(\d{1,6})\s", head)
        return (int(match[1]), int(match[2])) if match else None
    return None


def _jpeg(head: bytes) -> tuple[int, int] | None:
    at = 2
    while head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        at += 2 if marker in _BARE else 2 + struct.unpack_from(">H", head, at + 2)[0]
    return None


def _webp(head: bytes) -> tuple[int, int] | None:
    # https://developers.google.com/speed/webp/docs/riff_container, and RFC 6386 section 9.1
    kind = head[12:16]
    if len(head) < 30:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None
