"""What the environment and the settings files around the current folder say of `Launch`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # pydantic: most commands do without
    from launcher.config.layers import Layers
    from launcher.plan.handle import BackendKind


def current_layers() -> Layers:
    """Read them.

    Raises:
        ConfigError: One of them is refused.
    """
    from launcher.config.layers import read_layers
    from launcher.runs.settings import find_settings, user_file
    from launcher.runs.trusted import TrustedFiles

    files, trusted = find_settings(Path.cwd()), TrustedFiles()
    return read_layers(
        environ=os.environ, files=files.read, ignored=files.ignored,
        trusts=lambda path, content: path == user_file() or trusted.knows(path, content),
    )  # fmt: skip


def choose_backend(asked: BackendKind | None, layers: Layers) -> tuple[BackendKind, str]:
    """Return where jobs run, and what says so."""
    from launcher.config.layers import DEFAULT_BACKEND

    return (asked, "--on") if asked else layers.on or (DEFAULT_BACKEND, "default")


def read_setting(layers: Layers, key: str) -> str | None:
    """Return what the environment or a settings file says of a key of `Launch`."""
    for document in (layers.above, layers.below):
        section = document.values.get("Launch")
        if isinstance(section, dict) and section.get(key) is not None:
            return str(section[key])
    return None
