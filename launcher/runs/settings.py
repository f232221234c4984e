"""Finding settings files: `.ftlaunch.yaml` of the project, then the user's own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from launcher.runs.paths import PROJECT_FILE, is_ours

USER_FILE = "config.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingsFiles:
    """Those that exist.

    Attributes:
        read: To be read, the strongest first.
        ignored: Another user's, which may not decide what we run; and what is no plain file, such as a pipe.
    """

    read: tuple[Path, ...]
    ignored: tuple[Path, ...]


def find_settings(folder: Path, *, home: Path | None = None) -> SettingsFiles:
    """Look from a folder upwards, to the root of its git repository or the home folder, then for the user's.

    Args:
        folder: Where `ftlaunch` was called.
        home: Of the user; None asks the system.
    """
    found = [path for path in (_project_file(folder.resolve(), home or Path.home()), user_file()) if path]
    existing = [path for path in found if os.path.lexists(path)]
    read = tuple(path for path in existing if path.is_file() and is_ours(path))
    return SettingsFiles(read=read, ignored=tuple(path for path in existing if path not in read))


def user_file() -> Path:
    """Return where the user's own settings are, whether they exist or not."""
    return platformdirs.user_config_path("ftlaunch") / USER_FILE


def _project_file(folder: Path, home: Path) -> Path | None:
    for parent in (folder, *folder.parents):
        if os.path.lexists(parent / PROJECT_FILE):
            return parent / PROJECT_FILE
        if parent == home or (parent / ".git").exists():
            return None
    return None
