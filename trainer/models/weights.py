"""Weights into a model, by structured name, as far as they fit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from trainer.checkpoints.pdfiles import Array, UnsafeFileError, read_arrays, read_weights_file, write_arrays
from trainer.checkpoints.safetensors import SUFFIX, write_safetensors
from trainer.errors import WeightsError
from trainer.protocol.safe_files import create_file

__all__ = [
    "Reshaped", "WeightsError", "WeightsReport", "apply_weights", "as_float32", "compare_shapes",
    "convert_weights", "find_weights", "model_weights", "own_tensors", "read_weights", "view_on_host",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Reshaped:
    """A key whose shapes differ, which is left as it was initialised."""

    key: str
    expected: tuple[int, ...]
    found: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.key} (expected {list(self.expected)}, got {list(self.found)})"


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsReport:
    """What became of each key.

    Attributes:
        loaded: Taken over.
        missing: In the model only.
        unexpected: In the file only.
        reshaped: In both with different shapes, as the head is when the number of classes differs.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[Reshaped, ...]

    @property
    def misfits(self) -> tuple[str, ...]:
        """Keys of the model that the file does not fill, with both shapes where those are the reason."""
        return (*self.missing, *(str(item) for item in self.reshaped))


def find_weights(path: Path) -> Path:
    """Return the file that a path means, whose ending may be missing.

    Raises:
        WeightsError: There is none.
    """
    endings = ("", ".pdparams", ".safetensors")
    found = next((p for end in endings if (p := path.parent / (path.name + end)).is_file()), None)
    if found is None:
        raise WeightsError(where=str(path), expected="a .pdparams or .safetensors file", got="no such file")
    return found


def read_weights(path: Path) -> dict[str, Array]:
    """Read a `.pdparams`, whose ending may be missing, or a `.safetensors`, without running code.

    Raises:
        WeightsError: There is no such file, or it is broken, unsafe or no table of arrays.
    """
    found = find_weights(path)
    try:
        return read_arrays(found)
    except (UnsafeFileError, OSError) as error:
        raise WeightsError(str(error)) from error


def convert_weights(source: Path, target: Path, *, overwrite: bool = False) -> int:
    """Write a file of weights in the other format, with the same names and values; return how many keys.

    Args:
        source: As `read_weights` takes it.
        target: Its ending, `.pdparams` or `.safetensors`, is the format.
        overwrite: Replace a file that is there.

    Raises:
        WeightsError: The source cannot be read, or the target not be written.
    """
    if target.suffix not in (".pdparams", SUFFIX):
        raise WeightsError(f"{target}: expected a name that ends with .pdparams or {SUFFIX}")
    if target.exists() and not overwrite:
        raise WeightsError(f"{target}: expected no such file; pass --overwrite to replace it")
    found = find_weights(source)
    partial = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        arrays, names = read_weights_file(found)
        fill = write_safetensors(arrays, names) if target.suffix == SUFFIX else write_arrays(arrays, names)
        with create_file(partial) as file:
            fill(file)
        partial.replace(target)
    except (UnsafeFileError, ValueError) as error:
        raise WeightsError(str(error)) from error
    except OSError as error:
        raise WeightsError(
            where=str(target), expected="a place to write to", got=str(error.strerror or error)
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return len(arrays)


def model_weights(model: paddle.nn.Layer) -> dict[str, Array]:
    """Copy parameters and buffers to the CPU, by structured name."""
    return {key: tensor.numpy() for key, tensor in model.state_dict().items()}


def view_on_host(tensor: paddle.Tensor) -> Array:
    """Return a tensor's values as `Tensor.numpy` does, without a copy where they are in the host's memory.

    They change when the tensor does: for whoever copies them at once.
    """
    found: Array
    if not tensor.place.is_cpu_place():
        found = tensor.numpy()
    elif tensor.dtype == paddle.bfloat16:  # NumPy has no type for it; see `_as_type`
        found = np.from_dlpack(tensor.detach().view("int16")).view(np.uint16)
    else:
        found = np.from_dlpack(tensor.detach())
    return found


def own_tensors(model: paddle.nn.Layer) -> dict[str, paddle.Tensor]:
    """Return parameters and buffers by structured name; the state dict of a 16-bit model holds copies."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {key: tensors[key] for key in model.state_dict()}


def apply_weights(model: paddle.nn.Layer, weights: Mapping[str, Array]) -> WeightsReport:
    """Copy all weights that fit into the model and say what did not.

    Values are converted to the model's types.
    """
    own = model.state_dict()
    report = compare_shapes({key: tensor.shape for key, tensor in own.items()}, weights)
    for key in report.loaded:
        own[key].set_value(_as_type(weights[key], own[key].numpy().dtype))
    return report


def _as_type(values: Array, dtype: np.dtype[Any]) -> Array:
    """Convert; uint16 in the place of a real number is bfloat16, the upper half of a float32.

    So Paddle 3.3 hands it to NumPy (Tensor.numpy), which has no type for it, and so it saves it.
    """
    if dtype.kind == "f":
        values = as_float32(values)
    return values.astype(dtype, copy=False)


def as_float32(values: Array) -> Array:
    """Return bfloat16, which is read as uint16, as float32, and anything else as it is."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def compare_shapes(own: Mapping[str, Sequence[int]], weights: Mapping[str, Array]) -> WeightsReport:
    """Say which keys of a model, given with their shapes, some weights would fill.

    Complex numbers fill none, and their keys count as missing: the imaginary part would be lost.
    """
    found = {
        key: tuple(weights[key].shape) for key in own if key in weights and weights[key].dtype.kind != "c"
    }
    return WeightsReport(
        loaded=tuple(key for key in found if found[key] == tuple(own[key])),
        missing=tuple(key for key in own if key not in found),
        unexpected=tuple(key for key in weights if key not in own),
        reshaped=tuple(
            Reshaped(key=key, expected=tuple(own[key]), found=shape)
            for key, shape in found.items()
            if shape != tuple(own[key])
        ),
    )
