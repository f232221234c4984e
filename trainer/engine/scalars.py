"""The numbers of a training for VisualDL (`Global.use_visualdl`), where that package is installed.

Tags and steps are PaddleClas's (d178931, ppcls/engine/train/utils.py and ppcls/engine/engine.py):
`train_loss`, `train_top1`, `lr` by step, `eval_top1` by epoch, in the output folder itself.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NO_SCALARS = frozenset({"epoch", "iter", "step", "samples", "reader_s"})


class Scalars:
    """Writes rows of the run log as VisualDL's scalars."""

    def __init__(self, folder: Path) -> None:
        """Open a log in `folder`.

        Raises:
            ImportError: VisualDL is not installed.
            OSError: The folder cannot be written.
        """
        self._writer: Any = importlib.import_module("visualdl").LogWriter(logdir=str(folder))

    def take(self, event: str, values: Mapping[str, object]) -> None:
        """Write what is a number of a `step` or an `eval`."""
        prefix, axis = {"step": ("train", "step"), "eval": ("eval", "epoch")}.get(event, ("", ""))
        at = values.get(axis)
        if not isinstance(at, int):
            return
        for key, value in values.items():
            if key not in _NO_SCALARS and isinstance(value, int | float):
                tag = key if key == "lr" else f"{prefix}_{key}"
                self._writer.add_scalar(tag=tag, step=at, value=float(value))

    def close(self) -> None:
        """Write what is buffered."""
        self._writer.close()


def is_installed() -> bool:
    """Say whether VisualDL is here."""
    return importlib.util.find_spec("visualdl") is not None
