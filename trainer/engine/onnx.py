"""The exported model as ONNX, for runtimes that do not read Paddle's files.

paddle2onnx 2.1 converts what `trainer export` wrote; onnxruntime answers with it, so that it can be compared.
Both are optional, the extra `onnx`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.engine.predict import Network
from trainer.errors import CheckpointError
from trainer.protocol.installation import install_command

NAME = "inference.onnx"
OPSET = 17
"""onnxruntime reads it from 1.12 on (https://onnxruntime.ai/docs/reference/compatibility.html)."""


def find_missing() -> list[str]:
    """Return the packages that ONNX needs and that are not installed."""
    return [name for name in ("paddle2onnx", "onnxruntime") if importlib.util.find_spec(name) is None]


def refuse_without_packages() -> None:
    """Say before anything is done what is missing.

    Raises:
        CheckpointError: A package is not installed.
    """
    missing = find_missing()
    if missing:
        raise CheckpointError(
            where="ONNX",
            expected=f"{' and '.join(missing)} to be installed",
            got="none",
            fix=_how_to_install(missing),
        )


def _how_to_install(missing: Sequence[str]) -> str:
    """Name the command; paddle2onnx 2.1 has wheels for Python 3.10 to 3.12 (its files on PyPI)."""
    if "paddle2onnx" in missing and sys.version_info >= (3, 13):
        return "paddle2onnx is not to be had for this Python; export with Python 3.10 to 3.12"
    return str(install_command("onnx"))


def write_onnx(model: Path, weights: Path, target: Path) -> None:
    """Convert Paddle's inference files.

    Args:
        model: `inference.json`.
        weights: `inference.pdiparams`.
        target: The file to write.

    Raises:
        CheckpointError: paddle2onnx does not know an operator of the model.
        OSError: The file cannot be written.
    """
    import paddle2onnx

    with quiet():
        try:
            # Without its optimizers: one of them installs packages by itself.
            content = paddle2onnx.export(
                str(model), str(weights), None, opset_version=OPSET, verbose=False, optimize_tool="none"
            )
        except (RuntimeError, UnboundLocalError):  # it logs what went wrong, and then has nothing to return
            content = None
    if not content:
        raise CheckpointError(
            where="ONNX",
            expected="paddle2onnx to know all operators of the model",
            got="one that it does not",
            fix="export without --onnx",
        )
    target.write_bytes(content)


def open_onnx(path: Path) -> Network:
    """Open a model with onnxruntime on the CPU: images float32 [B, 3, H, W] -> probabilities [B, K]."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; it warns of constants that the converter left over
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def network(images: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = session.run(None, {name: np.ascontiguousarray(images)})[0]
        return found

    return network


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what this process writes to standard output and standard error, C++ libraries included."""
    # The converter is C++ and writes to the process's own standard output.
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a file
        for number in kept:
            os.dup2(nowhere.fileno(), number)
        try:
            yield
        finally:
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)
