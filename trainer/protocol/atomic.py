"""Replaces a small file so that a reader, and the next boot, see the old content or the new one."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, data: bytes, *, partial: Path | None = None) -> None:
    """Write beside the file, sync, and rename over it.

    Args:
        path: What is replaced, or made.
        data: Its whole content.
        partial: What is written first, in the same folder; `<name>.tmp` where None. Processes that may
            replace one file at the same time need one each.

    Raises:
        OSError: The folder cannot be written.
    """
    partial = partial or path.with_name(path.name + ".tmp")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
