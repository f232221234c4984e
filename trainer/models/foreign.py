"""Architectures that only PaddleClas has, from its own package where that is installed.

Its top module wants things that a trainer does not need (faiss among them), and its pins cannot be met beside
current packages (numpy 1.24, OpenCV 4.6). So it is installed without its dependencies, its folder goes onto
the path, its logger is set up first (constructors that warn use it), and `ppcls.arch` alone is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from paddle import nn

from trainer.config.arch_foreign import PaddleClasArch
from trainer.config.problems import ConfigError, Problem

INSTALL = (
    "install it beside this trainer with `pip install --no-deps paddleclas`, and what `ppcls.arch` imports "
    "with `pip install tqdm prettytable wcwidth easydict six`"
)


class ForeignModelError(ConfigError):
    """An architecture of PaddleClas cannot be built. The message says how it could."""

    def __init__(self, message: str) -> None:
        super().__init__([Problem(file="config", path=("Arch", "name"), message=message)])


def build_foreign(arch: PaddleClasArch) -> nn.Layer:
    """Build an architecture of the installed PaddleClas.

    Raises:
        ForeignModelError: PaddleClas is not installed, is broken, or refuses the parameters.
    """
    constructors = _constructors(arch.name)
    if arch.name not in constructors:
        raise ForeignModelError(
            f"expected an architecture of the installed paddleclas, got {arch.name!r}, which it has not; "
            "install a version that has it"
        )
    try:
        stages = (
            {}
            if arch.return_stages is None or arch.return_patterns
            else {"return_stages": _plain_stages(arch)}
        )
        model = constructors[arch.name](class_num=arch.class_num, **stages, **dict(arch.model_extra or {}))
    except Exception as error:  # whatever a constructor that is not ours raises for bad parameters
        raise ForeignModelError(
            f"expected parameters that PaddleClas takes for {arch.name}, got {type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, nn.Layer):
        raise ForeignModelError(f"expected a network under {arch.name!r}, got {type(model).__name__}")
    return model


def _plain_stages(arch: PaddleClasArch) -> object:
    """PaddleClas tells a list from a tuple."""
    return list(arch.return_stages) if isinstance(arch.return_stages, tuple) else arch.return_stages


def _constructors(name: str) -> Mapping[str, Callable[..., object]]:
    found = importlib.util.find_spec("paddleclas")
    if found is None or not found.submodule_search_locations:
        raise ForeignModelError(
            f"expected the package paddleclas, which alone has {name}, got none; {INSTALL}"
        )
    folder = str(Path(next(iter(found.submodule_search_locations))))
    if folder not in sys.path:
        sys.path.append(folder)  # last: it holds common names such as `docs` and `deploy`
    try:
        importlib.import_module("ppcls.utils.logger").init_logger()
        return vars(importlib.import_module("ppcls.arch.backbone"))
    except ImportError as error:
        raise ForeignModelError(
            f"expected paddleclas with what it imports, got {error}; {INSTALL}"
        ) from error
