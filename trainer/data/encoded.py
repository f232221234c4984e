"""An image file before it is decoded: how many pixels it claims, and whether it is whole.

Both are told from the bytes alone. A PNG of a few kilobytes may claim 2^31 pixels a side, and a decoder makes
room for all of them before it reads the first; so the header is read here, and what claims too much, or is of
a kind whose header nobody here reads, is not decoded. JPEG, PNG, BMP and WebP have readers of their own,
because they are asked for every image of every epoch (some microseconds); Pillow, which reads headers lazily,
knows the rare ones.

A JPEG that lacks its end marker (a camera, a crawler or a disk stopped too early) is what decoders disagree
on. OpenCV 4.6, which PaddleClas pins, reads a baseline one, and repeats the last row that it has in place of
what is missing, at the least 8 to 16 rows, even where no pixel is missing at all; it does not read a
progressive one (measured with 4.6.0.66). OpenCV 5.0 reads neither. Here a baseline one gets its end marker
back. Where all rows are there, or only a part of the last row of blocks is missing, it is read, with a
warning; where more is missing, it is refused: rows of one colour are no photograph.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.errors import ImageError

# The limit is that of `Global.max_image_pixels`, held here for every reader; Pillow's own would warn at half
# of its default and refuse at that, whatever the config says.
Image.MAX_IMAGE_PIXELS = None

_START, _END = b"\xff\xd8", b"\xff\xd9"
_MARKER = re.compile(rb"\xff+([^\xff\x00])", re.DOTALL)
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # SOF0 to SOF15; DHT, JPG and DAC are none
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_SCAN, _FINISHED = 0xDA, 0xD9
_MCU_ROWS = 16  # the largest row of blocks
_FILL = bytes(value for value in range(1, 255) if value != 0xD9) * 4
_LARGEST_PIXEL = 8  # bytes: 16 bits of red, green, blue and alpha, not compressed
_METADATA = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """An image file's bytes, fit to be decoded.

    Attributes:
        data: As in the file, or with the end marker that was missing.
        warning: What is wrong with it though it can be read; empty where nothing is.
    """

    data: bytes
    warning: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Jpeg:
    """Where a JPEG's parts are."""

    width: int
    height: int
    components: int
    progressive: bool
    scan: int


def read_encoded(path: Path, *, max_pixels: int = MAX_IMAGE_PIXELS) -> Encoded:
    """Read an image file, whose pixels are not decoded yet.

    Raises:
        ImageError: It is none, claims more pixels, or is cut short.
        OSError: It cannot be read.
    """
    most = _LARGEST_PIXEL * max_pixels + _METADATA
    size = path.stat().st_size
    if size > most:
        raise ImageError(expected=f"at most {most} bytes for {max_pixels} pixels", got=str(size))
    return check_encoded(path.read_bytes(), max_pixels=max_pixels)


def check_encoded(data: bytes, *, max_pixels: int = MAX_IMAGE_PIXELS) -> Encoded:
    """Check an image file's bytes; see `read_encoded`.

    Raises:
        ImageError: They are no image, claim more pixels than `max_pixels`, or are cut short.
    """
    if not data:
        raise ImageError(expected="an image", got="an empty file")
    jpeg = _read_jpeg(data) if data.startswith(_START) else None
    size = (jpeg.width, jpeg.height) if jpeg is not None else _read_size(data)
    if size is None:
        raise ImageError(expected="an image", got=f"{len(data)} bytes that OpenCV cannot decode")
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            expected=f"at most {max_pixels} pixels (Global.max_image_pixels)", got=f"{width} × {height}"
        )
    if jpeg is not None and data.rfind(_END) < jpeg.scan:
        return _end_jpeg(data, jpeg)
    return Encoded(data=data)


def read_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) of a JPEG as it is stored, before EXIF turns it; None of any other file."""
    jpeg = _read_jpeg(data) if data.startswith(_START) else None
    return None if jpeg is None else (jpeg.width, jpeg.height)


def count_jpeg_components(data: bytes) -> int:
    """Return how many components a JPEG's pixels have: 1 grey, 3 colours, 4 CMYK; 0 of any other file."""
    jpeg = _read_jpeg(data) if data.startswith(_START) else None
    return 0 if jpeg is None else jpeg.components


def _read_jpeg(data: bytes) -> _Jpeg | None:
    """Walk over the segments before the first scan as libjpeg does (jdmarker.c), which skips garbage."""
    at, frame = 2, None
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker in _ALONE:
            continue
        if marker == _FINISHED or at + 8 > len(data):
            break
        if marker in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, at + 3)
            frame = (width, height, components, marker in _PROGRESSIVE)
        elif marker == _SCAN and frame is not None:
            return _make_jpeg(frame, scan=at)
        at += struct.unpack_from(">H", data, at)[0]
    return None if frame is None else _make_jpeg(frame, scan=len(data))


def _make_jpeg(frame: tuple[int, int, int, bool], *, scan: int) -> _Jpeg:
    width, height, components, progressive = frame
    return _Jpeg(width=width, height=height, components=components, progressive=progressive, scan=scan)


def _end_jpeg(data: bytes, jpeg: _Jpeg) -> Encoded:
    """Give a JPEG its end marker back, and find out what else is missing.

    A decoder takes zeros for what it does not find before the marker, and passes over what it does not need.
    So the file is decoded twice, with the marker alone and with other bytes before it: rows that differ are
    rows whose data are missing.
    """
    whole = data.removesuffix(b"\xff") + _END
    place = f"{len(data)} bytes without the end marker"
    if jpeg.progressive:
        raise ImageError(expected="a whole JPEG", got=f"{place}, and a progressive one is not readable so")
    pixels, other = _decode(whole), _decode(data.removesuffix(b"\xff") + _FILL + _END)
    if pixels is None or other is None or pixels.shape != other.shape:
        raise ImageError(expected="a whole JPEG", got=f"{place} that OpenCV cannot decode")
    rows = np.flatnonzero((pixels != other).any(axis=(1, 2)))
    missing = jpeg.height - int(rows[0]) if rows.size else 0
    if missing > _MCU_ROWS:
        raise ImageError(
            expected="a whole JPEG",
            got=f"one that is cut short: the last {missing} of {jpeg.height} rows are missing",
        )
    said = (
        f"parts of the last {missing} of {jpeg.height} rows are missing" if missing else "all rows are there"
    )
    return Encoded(data=whole, warning=f"expected a JPEG's end marker, got none; {said}")


def _decode(data: bytes) -> NDArray[np.uint8] | None:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels: NDArray[np.uint8] | None = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error:
        return None
    return pixels


def _read_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) as the header claims; None where it is of no kind that is known here."""
    if data.startswith(_START):
        return None
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _numbers(">II", data, 16) if data[12:16] == b"IHDR" else None
    if data.startswith(b"BM"):
        of_os2 = data[14:18] == b"\x0c\0\0\0"
        return _numbers("<HH" if of_os2 else "<ii", data, 18)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _read_webp(data)
    try:
        with Image.open(io.BytesIO(data)) as opened:
            return opened.width, opened.height
    except Exception:  # noqa: BLE001 - Pillow's readers raise nearly anything of a broken header
        return None


def _read_webp(data: bytes) -> tuple[int, int] | None:
    """Return the size of the canvas, or of the only frame (RFC 9649)."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    found = _numbers("<HH", data, 26)
    return (found[0] & 0x3FFF, found[1] & 0x3FFF) if found else None


def _numbers(form: str, data: bytes, at: int) -> tuple[int, int] | None:
    if len(data) < at + struct.calcsize(form):
        return None
    first, second = struct.unpack_from(form, data, at)
    return abs(int(first)), abs(int(second))
