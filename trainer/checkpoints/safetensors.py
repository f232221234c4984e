"""`.safetensors`: a table of arrays that holds no program, read and written.

A file is the length of a header (8 bytes, little endian), the header as JSON, and the arrays' bytes. The
header gives type, shape and place of each; here every one is held against the file before anything is
allocated: places follow one another without hole or overlap to the end of the file, and are as long as type
and shape say. Format: github.com/huggingface/safetensors, README and safetensors/src/tensor.rs (0.5).

Own code rather than the library: the format is these hundred lines; the library maps the file, so that a file
which becomes shorter while it is read ends the process by SIGBUS; and bfloat16 comes out of it as a type that
neither NumPy nor Paddle's `set_value` knows.
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from trainer.checkpoints.pickles import MAX_CONTAINERS, MAX_DIMENSIONS, Array, UnsafeFileError
from trainer.protocol.codec import MAX_COUNT, Count, FormatError, read
from trainer.protocol.untrusted import parse_object

SUFFIX: Final = ".safetensors"
MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
"""The format allows 100 MB; 10,000 arrays take 1 MB."""
_ABOUT = "__metadata__"
_PIECE: Final = 1 << 19  # values
_LENGTH = struct.Struct("<Q")
_DTYPES: Mapping[str, str] = {
    "BOOL": "b1", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2", "BF16": "<u2",
    "U32": "<u4", "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items() if name != "BF16"}


def read_safetensors(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Read a file.

    Returns:
        Arrays by name, in the order of the file; bfloat16, which NumPy does not have, as float32 of the same
        value. And the texts of `__metadata__`.

    Raises:
        UnsafeFileError: It is broken, or its header tells of more or less than the file has.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise UnsafeFileError(path, expected="a plain file", got="something else")
        size = found.st_size
        head = file.read(_LENGTH.size)
        length = int(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else size
        if length > min(size - _LENGTH.size, MAX_HEADER_BYTES):
            raise UnsafeFileError(
                path, expected=f"a header of at most {MAX_HEADER_BYTES} bytes and within the file",
                got=f"one of {length} in {size}", offset=0,
            )  # fmt: skip
        try:
            header = parse_object(file.read(length), where="header", max_bytes=MAX_HEADER_BYTES)
            texts = read(dict[str, str], header.get(_ABOUT, {}), where=_ABOUT)
            places = _places(header, left=size - _LENGTH.size - length)
        except FormatError as error:
            raise UnsafeFileError(
                path, expected=error.expected or "a header of safetensors", got=f"{error.got} ({error.where})"
            ) from error
        return {name: _read(file, path, name, kind, shape) for name, kind, shape in places}, texts


def write_safetensors(
    arrays: Mapping[str, Array], about: Mapping[str, str] | None = None
) -> Callable[[BinaryIO], None]:
    """Make what writes a file: arrays in the order of the library, the widest types first, then by name.

    Args:
        arrays: By name; of the types that the format has.
        about: Texts for `__metadata__`.

    Raises:
        ValueError: An array has another type.
    """
    items = {name: np.asarray(array) for name, array in arrays.items()}
    odd = next((name for name, array in items.items() if array.dtype.newbyteorder("=") not in _NAMES), None)
    if odd is not None:
        raise ValueError(f"{odd}: expected a type that safetensors has, got {items[odd].dtype}")
    header: dict[str, object] = {_ABOUT: dict(about)} if about else {}
    order = sorted(items, key=lambda name: (-items[name].dtype.itemsize, name))
    end = 0
    for name in order:
        array = items[name]
        begin, end = end, end + array.nbytes
        kind = _NAMES[array.dtype.newbyteorder("=")]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays' bytes are aligned

    def fill(file: BinaryIO) -> None:
        file.write(_LENGTH.pack(len(text)))
        file.write(text)
        for name in order:
            array = np.ascontiguousarray(items[name])
            file.write(
                array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data
            )

    return fill


@dataclass(frozen=True, slots=True)
class _Entry:
    """An array in the header; `data_offsets` are where its bytes begin and end, behind the header."""

    dtype: str
    shape: tuple[Count, ...]
    data_offsets: tuple[Count, ...]


def _places(header: Mapping[str, object], *, left: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return name, type and shape of each array in the order of its bytes, which are all of the file's."""
    if len(header) > MAX_CONTAINERS:
        raise FormatError(where="header", expected=f"at most {MAX_CONTAINERS} arrays", got=str(len(header)))
    found = []
    for name in header:
        if name == _ABOUT:
            continue
        what = f"header: {name[:80]}"
        entry = read(_Entry, header[name], where=what)
        kind, shape, place = entry.dtype, entry.shape, entry.data_offsets
        if kind not in _DTYPES:
            raise FormatError(where=what, expected=f"one of {', '.join(_DTYPES)}", got=repr(kind[:40]))
        if len(shape) > MAX_DIMENSIONS or len(place) != 2:
            raise FormatError(where=what, expected="a shape, and where it begins and ends", got="others")
        wanted = math.prod(shape) * np.dtype(_DTYPES[kind]).itemsize
        if place[1] - place[0] != wanted or math.prod(side for side in shape if side) > MAX_COUNT:
            raise FormatError(where=what, expected=f"{wanted} bytes", got=f"bytes {place[0]} to {place[1]}")
        found.append((place, name, kind, shape))
    found.sort(key=lambda item: item[0])
    end = 0
    for place, name, _, _ in found:
        if place[0] != end:
            raise FormatError(where=f"header: {name[:80]}", expected=f"byte {end} on", got=str(place[0]))
        end = place[1]
    if end != left:
        raise FormatError(where="header", expected=f"arrays of {left} bytes", got=f"of {end}")
    return [(name, kind, shape) for _, name, kind, shape in found]


def _read(file: BinaryIO, path: Path, name: str, kind: str, shape: tuple[int, ...]) -> Array:
    dtype = np.dtype(_DTYPES[kind])
    if kind == "BF16":
        return _read_bfloat16(file, path, name, math.prod(shape)).reshape(shape)
    buffer = np.empty(math.prod(shape) * dtype.itemsize, dtype=np.uint8)
    done = 0
    while done < buffer.size:
        came = file.readinto(buffer.data[done:])  # type: ignore[attr-defined]  # a BufferedReader
        if not came:
            raise UnsafeFileError(path, expected=f"{buffer.size} bytes of {name[:80]!r}", got=f"{done}")
        done += came
    if kind == "BOOL" and buffer.size and int(buffer.max()) > 1:
        raise UnsafeFileError(
            path, expected=f"bytes of 0 and 1 for {name[:80]!r}", got=f"{int(buffer.max())}"
        )
    return buffer.view(dtype).reshape(shape)


def _read_bfloat16(file: BinaryIO, path: Path, name: str, count: int) -> Array:
    """Read the upper halves of float32, a piece at a time: no second copy of the whole."""
    values = np.zeros(count, dtype=np.uint32)
    for begin in range(0, count, _PIECE):
        end = min(count, begin + _PIECE)
        data = file.read(2 * (end - begin))
        if len(data) != 2 * (end - begin):
            raise UnsafeFileError(path, expected=f"{2 * count} bytes of {name[:80]!r}", got="fewer")
        values[begin:end] = np.frombuffer(data, dtype="<u2")
    np.left_shift(values, 16, out=values)
    return values.view(np.float32)
