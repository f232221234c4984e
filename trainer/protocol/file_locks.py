"""Files that one process at a time holds, until it lets go or ends: `flock(2)`, on Windows `LockFile`.

The lock is the system's, so that one whose process was killed is free. The file's content means nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import fcntl
else:
    try:
        import fcntl
    except ImportError:  # Windows
        fcntl = None

_AGAIN_S = 0.02


class HeldFile:
    """A file that this process holds. `close` lets go of it."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def close(self, *, remove: bool = False) -> None:
        """Let go, and remove the file first where that is asked for."""
        again = False
        if remove:
            try:
                self.path.unlink(missing_ok=True)
            except PermissionError:  # Windows removes no file that is open
                again = True
        os.close(self._fd)
        if again:
            with contextlib.suppress(OSError):  # somebody has opened it to wait for us: it is theirs now
                self.path.unlink(missing_ok=True)


def try_hold(path: Path) -> HeldFile | None:
    """Hold a file, made where it is not there; None where another process holds it.

    Raises:
        OSError: It cannot be made or opened.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if lock(fd, wait=False):
            return HeldFile(path, fd)
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


@contextmanager
def hold_new(path: Path) -> Iterator[None]:
    """Hold a file that exists only while it is held; waits for whoever holds it now.

    Raises:
        OSError: It cannot be made or opened.
    """
    held = _wait_for(path)
    try:
        yield
    finally:
        held.close(remove=True)


def _wait_for(path: Path) -> HeldFile:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            lock(fd)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(fd)):
                    return HeldFile(path, fd)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # its last holder has removed the file that we waited for: others lock a new one


def lock(fd: int, *, wait: bool = True) -> bool:
    """Lock an open file until it is closed; False where another process has it and is not waited for."""
    if not fcntl:
        return _lock_byte(fd, wait=wait)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _lock_byte(fd: int, *, wait: bool) -> bool:
    """Lock a file's first byte, whether it has one or not, as Windows does it."""
    msvcrt = importlib.import_module("msvcrt")
    while True:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # what waits, `LK_LOCK`, gives up after ten seconds
        except PermissionError:  # EACCES: it is another's
            if not wait:
                return False
            time.sleep(_AGAIN_S)
        else:
            return True
