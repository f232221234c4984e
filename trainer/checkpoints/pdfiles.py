"""PaddleClas's file formats: `.pdparams`, `.pdopt`, `.pdstates`, which `paddle.save` writes as pickles.

Read here without running code (`pickles` says how), whereas `paddle.load` is `pickle.load`. Formats:
paddle/framework/io.py (Paddle 3.3.1): a state dict becomes {key: array} with a table of automatic parameter
names; inside other containers a tensor becomes (automatic name, array). With protocols 2 and 3 an array of a
gibibyte or more is cut into slices, `name@@.0` and so on, and a table tells which belong together
(`_unpack_saved_dict` in paddle/framework/io_utils.py).
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, TypeGuard

import numpy as np

from trainer.checkpoints.pickles import Array, UnsafeFileError, read_pickle
from trainer.checkpoints.safetensors import SUFFIX, read_safetensors

__all__ = [
    "AUTOMATIC_NAMES", "Array", "UnsafeFileError", "as_array", "read_arrays", "read_pdfile",
    "read_weights_file", "write_arrays", "write_pdfile",
]  # fmt: skip

AUTOMATIC_NAMES = "StructuredToParameterName@@"
_SLICES = "UnpackBigParamInfor@@"  # spelt so in Paddle


def read_pdfile(path: Path) -> object:
    """Read a file that `paddle.save` wrote.

    Args:
        path: With its ending.

    Raises:
        UnsafeFileError: It is broken, or holds something else than arrays and plain values.
        OSError: It cannot be read.
    """
    document = read_pickle(path)
    if isinstance(document, dict) and _SLICES in document:
        _join_slices(document, path)
    return document


def read_arrays(path: Path) -> dict[str, Array]:
    """Read a `.pdparams`, or a `.safetensors`: structured name -> array.

    Raises:
        UnsafeFileError: It is broken, unsafe, or no state dict.
        OSError: It cannot be read.
    """
    return read_weights_file(path)[0]


def read_weights_file(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Read a file of weights: arrays by structured name, and Paddle's automatic names where it has them.

    Raises:
        UnsafeFileError: It is broken, unsafe, or no state dict.
        OSError: It cannot be read.
    """
    if path.suffix == SUFFIX:
        arrays, about = read_safetensors(path)
        return arrays, {key: name for key, name in about.items() if key in arrays}
    document = read_pdfile(path)
    if not isinstance(document, dict):
        raise UnsafeFileError(path, expected="a table of arrays", got=f"a {type(document).__name__}")
    names = document.pop(AUTOMATIC_NAMES, None)
    found = {key: as_array(value) for key, value in document.items()}
    odd = next((key for key, value in found.items() if value is None), None)
    if odd is not None:
        raise UnsafeFileError(path, expected="an array for each key", got=f"something else at {odd[:80]!r}")
    named = names.items() if isinstance(names, dict) else ()
    return (
        {key: value for key, value in found.items() if value is not None},
        {key: name for key, name in named if isinstance(name, str)},
    )


def as_array(value: object) -> Array | None:
    """Return a saved tensor in either of its forms as an array, or None where it is none."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], np.ndarray):
        return value[1]
    return value if isinstance(value, np.ndarray) else None


def write_arrays(
    arrays: Mapping[str, Array], automatic_names: Mapping[str, str]
) -> Callable[[BinaryIO], None]:
    """Make what writes a `.pdparams`.

    Args:
        arrays: By structured name, such as `fc.weight`.
        automatic_names: Structured name -> Paddle's own name of the parameter, such as `linear_0.w_0`.
    """
    return write_pdfile({**arrays, AUTOMATIC_NAMES: dict(automatic_names)})


def write_pdfile(document: object) -> Callable[[BinaryIO], None]:
    """Make what writes any document of plain values, arrays and (name, array) pairs."""

    def fill(file: BinaryIO) -> None:
        pickle.dump(document, file, protocol=4)  # the protocol of paddle.save

    return fill


def _join_slices(document: dict[str, object], path: Path) -> None:
    """Put arrays that were cut together again, in place."""
    told = document.pop(_SLICES)
    for key, how in told.items() if isinstance(told, dict) else [("", None)]:
        shape, names = (how.get("OriginShape"), how.get("slices")) if isinstance(how, dict) else (None, None)
        parts = [document.get(name) for name in names] if _are_texts(names) else []
        arrays = [part for part in parts if isinstance(part, np.ndarray) and part.ndim == 1]
        if (
            not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape)
            or not _are_texts(names) or not arrays or len(arrays) < len(names)
            or len(set(names)) < len(names) or key in document
            or len({array.dtype for array in arrays}) > 1
            or math.prod(shape) != sum(array.size for array in arrays)
        ):  # fmt: skip
            raise UnsafeFileError(
                path, expected="the slices that the file tells of", got=f"others at {str(key)[:80]!r}"
            )
        whole = np.empty(math.prod(shape), dtype=arrays[0].dtype)
        parts.clear()
        done = 0
        for name in names:  # each is let go before the next one: no second copy of the whole
            part = arrays.pop(0)
            whole[done : done + part.size] = part
            done += part.size
            del document[name], part
        document[key] = whole.reshape(shape)


def _are_texts(values: object) -> TypeGuard[list[str]]:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
