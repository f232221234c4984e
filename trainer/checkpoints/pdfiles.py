"""PaddleClas's file formats: `.pdparams`, `.pdopt`, `.pdstates`, which `paddle.save` writes as pickles.

Read here without running code: the unpickler knows arrays and plain containers and refuses everything else,
whereas `paddle.load` is `pickle.load`. Formats: paddle/framework/io.py (Paddle 3.3.1): a state dict becomes
{key: array} with a table of automatic parameter names; inside other containers a tensor becomes
(automatic name, array).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
AUTOMATIC_NAMES = "StructuredToParameterName@@"

_ALLOWED: Mapping[str, frozenset[str]] = {
    "collections": frozenset({"OrderedDict"}),
    "builtins": frozenset({"tuple"}),  # what paddle.save reduces a tensor to
    "numpy": frozenset({"ndarray", "dtype"}),
    "numpy.core.multiarray": frozenset({"_reconstruct", "scalar"}),
    "numpy._core.multiarray": frozenset({"_reconstruct", "scalar"}),
    "numpy.core.numeric": frozenset({"_frombuffer"}),
    "numpy._core.numeric": frozenset({"_frombuffer"}),
}
_MOVED = {"numpy.core.multiarray": "numpy._core.multiarray", "numpy.core.numeric": "numpy._core.numeric"}


class UnsafeFileError(Exception):
    """A file holds something else than arrays and plain values, or is broken. The message says what."""


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in _ALLOWED.get(module, ()):
            raise UnsafeFileError(f"it would import {module}.{name}, which could run code")
        found = _MOVED.get(module, module) if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else module
        return super().find_class(found, name)


def read_pdfile(path: Path) -> object:
    """Read a file that `paddle.save` wrote.

    Args:
        path: With its ending.

    Raises:
        UnsafeFileError: It is broken, or holds something else than arrays and plain values.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        try:
            return _Arrays(file).load()
        except UnsafeFileError as error:
            raise UnsafeFileError(f"{path}: expected arrays and plain values, got more: {error}") from error
        except Exception as error:  # a broken pickle raises nearly anything
            reason = f"{type(error).__name__}: {error}"
            raise UnsafeFileError(f"{path}: expected a file of paddle.save, got {reason}") from error


def read_arrays(path: Path) -> dict[str, Array]:
    """Read a `.pdparams`: structured name -> array.

    Raises:
        UnsafeFileError: It is broken, unsafe, or no state dict.
        OSError: It cannot be read.
    """
    document = read_pdfile(path)
    if not isinstance(document, dict):
        raise UnsafeFileError(f"{path}: expected a table of arrays, got {type(document).__name__}")
    arrays = {str(key): as_array(value) for key, value in document.items() if key != AUTOMATIC_NAMES}
    odd = [key for key, value in arrays.items() if value is None]
    if odd:
        raise UnsafeFileError(f"{path}: expected an array for each key, got something else at {odd[0]!r}")
    return {key: value for key, value in arrays.items() if value is not None}


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
