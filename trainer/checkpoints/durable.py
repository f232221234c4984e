"""Writing that survives a power cut: data first, then the name, then the folder that holds the name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from trainer.protocol.safe_files import create_file, open_read, replace_file, sync_folder

Fill = Callable[[BinaryIO], None]
"""Writes a file's content."""


class _Hashing:
    """Passes bytes on and hashes them on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        view = memoryview(data).cast("B")
        self.digest.update(view)
        self.size += len(view)
        self._file.write(view)
        return len(view)


def write_file(path: Path, fill: Fill, *, root: Path | None = None) -> tuple[int, str]:
    """Write and sync a new file; below `root` no link is followed.

    Returns:
        Its size in bytes and its SHA-256 in hexadecimal digits.
    """
    with create_file(path, root=root) as file:
        hashing = _Hashing(file)
        fill(cast("BinaryIO", hashing))
        file.flush()
        os.fsync(file.fileno())
    return hashing.size, hashing.digest.hexdigest()


def replace_text(path: Path, text: str, *, root: Path) -> None:
    """Replace a small file so that a reader sees the old text or the new one, also after a crash."""
    replace_file(path, text.encode(), root=root)
    sync_folder(path.parent, root=root)


def hash_file(path: Path, *, root: Path) -> tuple[int, str]:
    """Return a file's size in bytes and its SHA-256."""
    digest, size = hashlib.sha256(), 0
    with open_read(path, root=root) as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()
