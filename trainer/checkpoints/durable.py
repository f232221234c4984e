"""Writing that survives a power cut: data first, then the name, then the folder that holds the name."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from trainer.protocol.safe_files import replace_file

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


def write_file(path: Path, fill: Fill) -> tuple[int, str]:
    """Write and sync a new file.

    Returns:
        Its size in bytes and its SHA-256 in hexadecimal digits.
    """
    with path.open("wb") as file:
        hashing = _Hashing(file)
        fill(cast("BinaryIO", hashing))
        file.flush()
        os.fsync(file.fileno())
    return hashing.size, hashing.digest.hexdigest()


def replace_text(path: Path, text: str) -> None:
    """Replace a small file so that a reader sees the old text or the new one, also after a crash."""
    replace_file(path, text.encode())
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync by themselves
            raise
    finally:
        os.close(fd)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, replacing what had it; copies where the volume knows no hard links."""
    partial = target.with_name(target.name + ".tmp")
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
    try:
        os.link(source, partial)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK, errno.EACCES):
            raise
        shutil.copyfile(source, partial)
    partial.replace(target)


def hash_file(path: Path) -> tuple[int, str]:
    """Return a file's size in bytes and its SHA-256."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()
