"""Weights into a model, by structured name, as far as they fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import paddle

from trainer.checkpoints.pdfiles import Array, UnsafeFileError, read_arrays


class WeightsError(Exception):
    """A file of weights cannot be used."""


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


def read_weights(path: Path) -> dict[str, Array]:
    """Read a `.pdparams`, whose ending may be missing, without running code.

    Raises:
        WeightsError: There is no such file, or it is broken, unsafe or no table of arrays.
    """
    found = next((p for p in (path, path.with_name(path.name + ".pdparams")) if p.is_file()), None)
    if found is None:
        raise WeightsError(f"{path}: expected a .pdparams file, got no such file")
    try:
        return read_arrays(found)
    except (UnsafeFileError, OSError) as error:
        raise WeightsError(str(error)) from error


def model_weights(model: paddle.nn.Layer) -> dict[str, Array]:
    """Copy parameters and buffers to the CPU, by structured name."""
    return {key: tensor.numpy() for key, tensor in model.state_dict().items()}


def apply_weights(model: paddle.nn.Layer, weights: Mapping[str, Array]) -> WeightsReport:
    """Copy all weights that fit into the model and say what did not."""
    own = model.state_dict()
    loaded: list[str] = []
    reshaped: list[Reshaped] = []
    for key, tensor in own.items():
        if key not in weights:
            continue
        expected, found = tuple(tensor.shape), tuple(weights[key].shape)
        if expected == found:
            tensor.set_value(weights[key].astype(tensor.numpy().dtype, copy=False))
            loaded.append(key)
        else:
            reshaped.append(Reshaped(key=key, expected=expected, found=found))
    return WeightsReport(
        loaded=tuple(loaded),
        missing=tuple(key for key in own if key not in weights),
        unexpected=tuple(key for key in weights if key not in own),
        reshaped=tuple(reshaped),
    )
