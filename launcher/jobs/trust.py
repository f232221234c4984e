"""Which settings and templates of a folder count: those that the user has said to trust, as they are."""

from __future__ import annotations

from pathlib import Path

from launcher.errors import UsageError
from launcher.runs.paths import TEMPLATES_FOLDER, is_ours, project_of
from launcher.runs.settings import find_settings, user_file
from launcher.runs.trusted import TrustedFiles, read_templates


def trust_folder(folder: Path) -> list[Path]:
    """Have the settings and templates of a folder count as they are now, and return their files.

    Raises:
        UsageError: It has none that are this user's.
    """
    contents = _contents(folder)
    if not contents:
        raise UsageError(
            where=folder,
            expected=f".ftlaunch.yaml or {TEMPLATES_FOLDER} for this folder",
            got="neither of yours",
        )
    TrustedFiles().add(contents)
    return list(contents)


def _contents(folder: Path) -> dict[Path, bytes]:
    from trainer.config.load import read_content

    found = {path: read_content(path) for path in find_settings(folder.resolve()).read if path != user_file()}
    templates = project_of(folder) / TEMPLATES_FOLDER
    if templates.is_dir() and is_ours(templates):
        found |= read_templates(templates)
    return found
