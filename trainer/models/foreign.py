"""Architectures that only PaddleClas has, from its own package where that is installed.

Its top module wants things that a trainer does not need (faiss among them), and its pins cannot be met beside
current packages (numpy 1.24, OpenCV 4.6). So it is installed without its dependencies, its folder goes onto
the path, its logger is set up first (constructors that warn use it), and `ppcls.arch` alone is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from paddle import nn

from trainer.config.problems import ConfigError, Problem
from trainer.config.zoo import PaddleClasArch, install_zoo, lacks_package
from trainer.models.foreign_swin_v2 import give_forward, lacks_forward


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
        constructor = constructors[arch.name]
        arguments = {"class_num": arch.class_num, **(arch.model_extra or {})}
        if "pretrained" in inspect.signature(constructor).parameters:
            arguments["pretrained"] = False  # some download their weights where nothing is said
        if arch.return_stages is not None and not arch.return_patterns:
            arguments["return_stages"] = _plain_stages(arch)
        model = constructor(**arguments)
    except Exception as error:  # whatever a constructor that is not ours raises for bad parameters
        raise ForeignModelError(
            f"expected parameters that PaddleClas takes for {arch.name}, got {type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, nn.Layer):
        raise ForeignModelError(f"expected a network under {arch.name!r}, got {type(model).__name__}")
    if lacks_forward(model):
        give_forward(model)
    return model


def _plain_stages(arch: PaddleClasArch) -> object:
    """PaddleClas tells a list from a tuple."""
    return list(arch.return_stages) if isinstance(arch.return_stages, tuple) else arch.return_stages


def _constructors(name: str) -> Mapping[str, Callable[..., object]]:
    found = importlib.util.find_spec("paddleclas")
    if found is None or not found.submodule_search_locations:
        raise ForeignModelError(lacks_package(name))
    folder = str(Path(next(iter(found.submodule_search_locations))))
    if folder not in sys.path:
        sys.path.append(folder)  # last: it holds common names such as `docs` and `deploy`
    try:
        importlib.import_module("ppcls.utils.logger").init_logger()
        return vars(importlib.import_module("ppcls.arch.backbone"))
    except ImportError as error:
        raise ForeignModelError(
            f"expected paddleclas with what it imports, got {error}; {install_zoo()}"
        ) from error
