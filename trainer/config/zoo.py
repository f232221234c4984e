"""Networks that only the package `paddleclas` has, and what a config that names one needs.

The package cannot be an ordinary dependency: its pins (numpy 1.24, OpenCV 4.6, gast 0.3) go with no current
Python and Paddle. It is installed without its dependencies; what its networks import is the extra `zoo`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from pydantic import ConfigDict

from trainer.config.archs import FOREIGN, BaseArch, DistillationArch
from trainer.config.problems import KeyPath
from trainer.config.registry import STRICT
from trainer.protocol.installation import packages_command


class PaddleClasArch(BaseArch):
    """An architecture of an installed `paddleclas`, with whatever parameters it takes there."""

    model_config = ConfigDict(**STRICT, extra="allow")
    forwards_unknown = True
    reads_stages = False


PACKAGE = "paddleclas"
REQUIREMENTS = (f"{PACKAGE}==2.6.0", "tqdm", "prettytable", "wcwidth", "easydict", "six")
"""The package, and what the part of it that holds the networks imports."""
_FOREIGN = frozenset(FOREIGN)


def find_foreign(arch: BaseArch) -> Iterator[tuple[KeyPath, str]]:
    """Yield the place and the name of each network that the package builds."""
    if isinstance(arch, DistillationArch):
        for index, item in enumerate(arch.models):
            for key, part in item.items():
                if part.name in _FOREIGN:
                    yield ("Arch", "models", index, key, "name"), part.name
    elif arch.name in _FOREIGN:
        yield ("Arch", "name"), arch.name


def is_installed() -> bool:
    """Tell whether this environment has the package; imports nothing of it."""
    return importlib.util.find_spec(PACKAGE) is not None


def install_zoo() -> str:
    """Return the command that installs it beside this copy."""
    return packages_command(("--no-deps", *REQUIREMENTS))


def lacks_package(name: str) -> str:
    """Return the sentence for an environment that has not what a network needs."""
    return f"expected the package {PACKAGE}, which alone has {name}, got none; {install_zoo()}"


def wants_package(name: str) -> str:
    """Return the sentence for who does not run the network himself."""
    return (
        f"{name} is a network of the package {PACKAGE} alone, so Launch.image must hold that, and for --on "
        "local this environment; make image TARGET=cpu-zoo or gpu-zoo builds one (docs/models.md)"
    )
