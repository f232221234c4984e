"""Finding templates: the user's, then those of the package or a checkout. And keeping them compiled."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket

import launcher
from launcher.errors import UsageError
from trainer.protocol.folders import is_own
from trainer.protocol.safe_files import replace_file

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
            raise UsageError(where="--template-dir", expected="a folder", got=f"{str(folder)!r}")
    ours = [_PACKAGE / "templates", _PACKAGE.parent / "k8s" / "templates"]
    return [*users, *(folder for folder in ours if folder.is_dir())]


class KeptTemplates(jinja2.BytecodeCache):
    """Templates as code, in a folder of the user's own; compiling them takes longer than rendering.

    Jinja holds what it finds against the template's text and its own version.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load_bytecode(self, bucket: Bucket) -> None:
        """See `jinja2.BytecodeCache`."""
        with contextlib.suppress(OSError):
            path = self._folder / bucket.key
            if is_own(path.stat()):  # it is run
                with path.open("rb") as file:
                    bucket.load_bytecode(file)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """See `jinja2.BytecodeCache`. A folder that cannot be written to does no harm."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial = self._folder / f"{bucket.key}.{os.getpid()}.tmp"
            replace_file(self._folder / bucket.key, bucket.bytecode_to_string(), partial=partial)
