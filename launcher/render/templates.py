"""Finding templates: the user's, then those of the package, then those of a checkout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import launcher
from launcher.errors import UsageError

_PACKAGE = Path(launcher.__file__).parent


def template_folders(users: Sequence[Path] = ()) -> list[Path]:
    """Return the folders to look for a template in, first match wins.

    A wheel carries the templates inside the package; a checkout and an editable install have them in
    `k8s/templates` beside it.

    Raises:
        UsageError: One of the user's is no folder.
    """
    for folder in users:
        if not folder.is_dir():
            raise UsageError(f"--template-dir: expected a folder, got {str(folder)!r}")
    ours = [_PACKAGE / "templates", _PACKAGE.parent / "k8s" / "templates"]
    return [*users, *(folder for folder in ours if folder.is_dir())]
