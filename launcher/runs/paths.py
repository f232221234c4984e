"""Where run folders lie, and which project a folder belongs to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from trainer.protocol.folders import is_own

STATE_VARIABLE = "FTLAUNCH_STATE"
PROJECT_FILE = ".ftlaunch.yaml"
TEMPLATES_FOLDER = ".ftlaunch/templates"


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return `$FTLAUNCH_STATE`, else the platform's state folder."""
    chosen = environ.get(STATE_VARIABLE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_state_path("ftlaunch")


def runs_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of run folders, in the state folder."""
    return state_dir(environ) / "runs"


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where what can be made again lies: below `$FTLAUNCH_STATE`, else below the platform's cache."""
    chosen = environ.get(STATE_VARIABLE)
    return Path(chosen).expanduser() / "cache" if chosen else platformdirs.user_cache_path("ftlaunch")


def project_of(folder: Path) -> Path:
    """Return the project that `folder` is in: that of `.ftlaunch.yaml`, else the git root, else itself."""
    folder = folder.resolve()
    for mark in (PROJECT_FILE, ".git"):
        found = next((parent for parent in (folder, *folder.parents) if (parent / mark).exists()), None)
        if found is not None:
            return found
    return folder


def is_ours(path: Path) -> bool:
    """Say whether a file or folder is this user's or root's; others may not decide what we run.

    On Windows, where no such owner is known, that is left to `ftlaunch trust`, which goes by content.
    """
    return is_own(path.stat(), or_root=True)
