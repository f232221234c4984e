"""Finding settings files: `.ftlaunch.yaml` of the project, then the user's own."""

from __future__ import annotations

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
        ignored: Another user's, which may not decide what we run.
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
    existing = [path for path in found if path.is_file()]
    return SettingsFiles(
        read=tuple(path for path in existing if is_ours(path)),
        ignored=tuple(path for path in existing if not is_ours(path)),
    )


def user_file() -> Path:
    """Return where the user's own settings are, whether they exist or not."""
    return platformdirs.user_config_path("ftlaunch") / USER_FILE


def _project_file(folder: Path, home: Path) -> Path | None:
    for parent in (folder, *folder.parents):
        if (parent / PROJECT_FILE).is_file():
            return parent / PROJECT_FILE
        if parent == home or (parent / ".git").exists():
            return None
    return None
