"""How large images are, by the first bytes of their files: nothing is decoded, no library needed.

Widths and heights stand in fixed places of PNG (W3C PNG, 11.2.2), BMP, GIF and WebP files, and of JPEG in
the segment of its frame (ITU-T T.81, B.2.2), which is found by walking over the segments before it. A file
that is none of these, or is cut, has no size here: whether it can be read is for `trainer check --images`
to say.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from pathlib import Path

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
