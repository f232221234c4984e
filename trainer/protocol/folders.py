"""A folder to open, make, rename and remove names in, none of which is followed where it is a link.

Two forms with the same methods. `DescriptorFolder` holds the folder itself (`openat(2)` and the calls beside
it): what stands at a name cannot be exchanged between a look and the act. Windows has no such calls, so there
`PathFolder` looks at the name first and then acts; another process that may write to the folder can put a
link there in between. What keeps others out of a folder there is its access list: those of a user's profile
let in nobody else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from pathlib import Path
from typing import Protocol

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
# Python's descriptors are not inherited (PEP 446), so that O_CLOEXEC, which Windows lacks, is not asked for.
_ALWAYS = getattr(os, "O_BINARY", 0)
# A pipe at the name would block whoever opens it; with O_NONBLOCK it is opened, seen and refused.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL
_NAME_SURROGATE = 0x20000000  # bit of a reparse tag: the entry stands for another place, as a junction does
_IN_USE_S = 2.0
"""How long a name on Windows may be held by a program that reads it, until replacing it is given up."""


class Folder(Protocol):
    """See the module. Methods raise OSError as the calls of `os` of the same names do.

    A link is ELOOP for `open` and `below`, where a file stands instead of a folder it is ENOTDIR.
    """

    def open(self, name: str, flags: int, mode: int = 0) -> int:
        """Return a descriptor of a file, which the caller closes; without waiting for a pipe's other end."""

    def below(self, name: str) -> Folder:
        """Return a folder in this one, which the caller closes."""

    def stat(self, name: str) -> os.stat_result:
        """Look at the name itself, not at what it leads to."""

    def make(self, name: str) -> None:
        """Make a folder."""

    def replace(self, name: str, target: Folder, other: str) -> None:
        """Give what stands at `name` the name `other` in `target`."""

    def link(self, name: str, target: Folder, other: str) -> None:
        """Give a file a second name."""

    def unlink(self, name: str) -> None:
        """Remove a name that is no folder."""

    def rmdir(self, name: str) -> None:
        """Remove an empty folder."""

    def names(self) -> list[str]:
        """Return what is in the folder."""

    def sync(self) -> None:
        """Make its names durable, where the system lets a program ask for that."""

    def close(self) -> None:
        """Let go of it."""


class DescriptorFolder:
    """A folder by its descriptor."""

    def __init__(self, path: Path) -> None:
        """`path` may lead over links."""
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    @classmethod
    def _of(cls, fd: int) -> DescriptorFolder:
        made = cls.__new__(cls)
        made._fd = fd
        return made

    def open(self, name: str, flags: int, mode: int = 0) -> int:
        """See `Folder`."""
        return os.open(name, flags | _NO_FOLLOW | _NO_WAIT, mode, dir_fd=self._fd)

    def below(self, name: str) -> DescriptorFolder:
        """See `Folder`."""
        return self._of(os.open(name, os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW, dir_fd=self._fd))

    def stat(self, name: str) -> os.stat_result:
        """See `Folder`."""
        return os.stat(name, dir_fd=self._fd, follow_symlinks=False)

    def make(self, name: str) -> None:
        """See `Folder`."""
        os.mkdir(name, dir_fd=self._fd)

    def replace(self, name: str, target: Folder, other: str) -> None:
        """See `Folder`."""
        assert isinstance(target, DescriptorFolder)
        os.replace(name, other, src_dir_fd=self._fd, dst_dir_fd=target._fd)

    def link(self, name: str, target: Folder, other: str) -> None:
        """See `Folder`."""
        assert isinstance(target, DescriptorFolder)
        os.link(name, other, src_dir_fd=self._fd, dst_dir_fd=target._fd, follow_symlinks=False)

    def unlink(self, name: str) -> None:
        """See `Folder`."""
        os.unlink(name, dir_fd=self._fd)

    def rmdir(self, name: str) -> None:
        """See `Folder`."""
        os.rmdir(name, dir_fd=self._fd)

    def names(self) -> list[str]:
        """See `Folder`."""
        return os.listdir(self._fd)  # noqa: PTH208 - a descriptor

    def sync(self) -> None:
        """See `Folder`."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            # some network file systems sync by themselves
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise

    def close(self) -> None:
        """See `Folder`."""
        os.close(self._fd)


class PathFolder:
    """A folder by its path, for systems that open nothing relative to a descriptor."""

    def __init__(self, path: Path) -> None:
        """`path` may lead over links."""
        self._path = path
        if not path.is_dir():
            number = errno.ENOTDIR if path.exists() else errno.ENOENT
            raise OSError(number, os.strerror(number), str(path))

    def open(self, name: str, flags: int, mode: int = 0) -> int:
        """See `Folder`."""
        with contextlib.suppress(FileNotFoundError):
            found = self.stat(name)
            if _is_link(found):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
            if stat.S_ISDIR(found.st_mode):  # Windows calls that a permission that is missing
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        return os.open(self._path / name, flags | _ALWAYS | _NO_WAIT, mode)

    def below(self, name: str) -> PathFolder:
        """See `Folder`."""
        found = self.stat(name)
        if _is_link(found) or not stat.S_ISDIR(found.st_mode):
            number = errno.ELOOP if _is_link(found) else errno.ENOTDIR
            raise OSError(number, os.strerror(number), name)
        return PathFolder(self._path / name)

    def stat(self, name: str) -> os.stat_result:
        """See `Folder`."""
        return (self._path / name).lstat()

    def make(self, name: str) -> None:
        """See `Folder`."""
        (self._path / name).mkdir()

    def replace(self, name: str, target: Folder, other: str) -> None:
        """See `Folder`."""
        assert isinstance(target, PathFolder)
        give_up_s = time.monotonic() + _IN_USE_S
        while True:
            try:
                (self._path / name).replace(target._path / other)
            except PermissionError:  # Windows: somebody reads what stands there, and will be done soon
                if time.monotonic() > give_up_s:
                    raise
                time.sleep(0.02)
            else:
                return

    def link(self, name: str, target: Folder, other: str) -> None:
        """See `Folder`."""
        assert isinstance(target, PathFolder)
        os.link(self._path / name, target._path / other)

    def unlink(self, name: str) -> None:
        """See `Folder`."""
        (self._path / name).unlink()

    def rmdir(self, name: str) -> None:
        """See `Folder`."""
        (self._path / name).rmdir()

    def names(self) -> list[str]:
        """See `Folder`."""
        return [path.name for path in self._path.iterdir()]

    def sync(self) -> None:
        """See `Folder`. Windows opens no folder for a program to sync."""

    def close(self) -> None:
        """See `Folder`. Nothing is held."""


def open_folder(path: Path) -> Folder:
    """Return a folder in the safest form that this system has; `path` itself may lead over links.

    Raises:
        OSError: It is no folder, or cannot be opened.
    """
    by_descriptor = bool(_NO_FOLLOW) and os.open in os.supports_dir_fd
    return DescriptorFolder(path) if by_descriptor else PathFolder(path)


def is_own(found: os.stat_result, *, or_root: bool = False) -> bool:
    """Say whether a file or folder is this user's.

    On Windows files have access lists, and no number of an owner that could be compared: there the answer is
    yes, and what is believed is kept where the list lets nobody else write, in the user's profile.

    Args:
        found: What `stat` or `lstat` says of it.
        or_root: The administrator's counts too.
    """
    if not hasattr(os, "geteuid"):
        return True
    return found.st_uid == os.geteuid() or (or_root and found.st_uid == 0)


def lets_others_in(found: os.stat_result) -> bool:
    """Say whether the mode lets other users in; on Windows it says nothing of them, and the answer is no."""
    return hasattr(os, "geteuid") and bool(found.st_mode & 0o077)


def _is_link(found: os.stat_result) -> bool:
    return stat.S_ISLNK(found.st_mode) or bool(getattr(found, "st_reparse_tag", 0) & _NAME_SURROGATE)
