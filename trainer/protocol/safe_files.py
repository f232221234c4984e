"""Reading and writing at names that somebody else may know before: without following links.

Whoever may write to an output folder, or hands one over, can put a link where we are about to write:
`metrics.jsonl` that leads to `~/.bashrc`, `.ftlaunch` that leads to documents. So each function takes `root`,
the folder that the user named. Its own path may lead over links, because users choose it; below it each
folder is opened by its parent's descriptor with O_NOFOLLOW, and what is done to the last name is done by that
descriptor (`openat(2)`, `renameat(2)`). A look beforehand (`Path.is_symlink`) would leave time to put a link
there afterwards. Where a system has no such calls (Windows) a look is what there is: see `folders`.

New content always goes to a new file (O_EXCL), which is renamed to its name: a link or a second (hard) link
that stands there is replaced as a name, and what it leads to is not touched. Only appending writes to a file
that is there, and so takes none that has a second name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit
from trainer.protocol.folders import NEW, Folder, is_own, lets_others_in, open_folder

_MAX_DEPTH = 100
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)
_NO_HARD_LINKS = (errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK, errno.EACCES)


class UnsafePathError(TrainerError, OSError):
    """At a name stands something that is not written to or read: a link, a pipe, somebody else's folder."""

    exit_code = Exit.CHECKPOINT

    def __init__(
        self,
        message: str = "",
        *,
        where: object = "",
        expected: str = "",
        got: str = "",
        fix: str = "remove it",
    ) -> None:
        super().__init__(message, where=where, expected=expected, got=got, fix=fix)


def make_folders(path: Path, *, root: Path) -> None:
    """Make a folder below `root`, with those between; `root` too.

    Raises:
        UnsafePathError: A part below `root` is a link or no folder.
        OSError: They cannot be made.
    """
    root.mkdir(parents=True, exist_ok=True)
    with _folder_of(path / "x", root, make=True):
        pass


def replace_file(
    path: Path, data: bytes, *, root: Path | None = None, partial: Path | None = None, mode: int = 0o666
) -> None:
    """Replace a small file so that a reader, and the next boot, see the old content or the new one.

    Args:
        path: What is replaced, or made; a link there is replaced itself.
        data: Its whole content.
        root: Below it no link is followed; the file's folder where None.
        partial: What is written first, in the same folder; `<name>.tmp` where None. Processes that may
            replace one file at the same time need one each.
        mode: Of a new file, before the umask.

    Raises:
        UnsafePathError: A part of the way below `root` is a link or no folder.
        OSError: The folder cannot be written.
    """
    partial = partial or path.with_name(path.name + ".tmp")
    with _folder_of(path, root) as (folder, name), _naming(path):
        try:
            with os.fdopen(_open_new(partial.name, folder, mode), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            folder.replace(partial.name, folder, name)
        except BaseException:  # Ctrl-C too: half a file would be of no use, and fill a full disk still more
            with contextlib.suppress(OSError):
                folder.unlink(partial.name)
            raise


def create_file(path: Path, *, root: Path | None = None, mode: int = 0o666) -> BinaryIO:
    """Open a new file for writing, for reading too; a file or link of that name is removed before.

    Raises:
        UnsafePathError: A part of the way below `root` is a link or no folder.
        OSError: The folder cannot be written, or a folder has that name.
    """
    with _folder_of(path, root) as (folder, name), _naming(path):
        return os.fdopen(_open_new(name, folder, mode), "w+b")


def open_append(path: Path, *, root: Path | None = None, mode: int = 0o666) -> BinaryIO:
    """Open a file for appending, made where it is not there.

    Raises:
        UnsafePathError: It is a link, no regular file, or has a second name: what is appended would stand in
            another file too.
        OSError: It cannot be opened.
    """
    with _folder_of(path, root) as (folder, name), _naming(path):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        file = _open_regular(name, folder, flags, path, mode)
        found = os.fstat(file)
        if found.st_nlink > 1:
            os.close(file)
            got = f"one of {found.st_nlink} names of the same file"
            raise UnsafePathError(
                where=path, expected="a file of its own", got=got, fix="replace it by a copy"
            )
        return os.fdopen(file, "ab")


def open_read(path: Path, *, root: Path | None = None) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        UnsafePathError: It is a link or no regular file.
        FileNotFoundError: It is not there, nor perhaps a folder on the way.
        OSError: It cannot be read.
    """
    with _folder_of(path, root) as (folder, name), _naming(path):
        return os.fdopen(_open_regular(name, folder, os.O_RDONLY, path), "rb")


def read_file(path: Path, *, max_bytes: int, root: Path | None = None) -> bytes:
    """Read a regular file.

    Raises:
        UnsafePathError: It is a link, no regular file, or larger than `max_bytes`.
        FileNotFoundError: It is not there, nor perhaps a folder on the way.
        OSError: It cannot be read.
    """
    with open_read(path, root=root) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise UnsafePathError(where=path, expected=f"at most {max_bytes} bytes", got="more")
    return data


def rename(source: Path, target: Path, *, root: Path) -> None:
    """Give a file or folder another name below `root`; a file that has it is replaced.

    Raises:
        UnsafePathError: A part of either way below `root` is a link or no folder.
        OSError: It cannot be renamed.
    """
    with _folder_of(source, root) as (old, name), _folder_of(target, root) as (new, other), _naming(target):
        old.replace(name, new, other)


def link_or_copy(source: Path, target: Path, *, root: Path) -> None:
    """Give a file a second name, replacing what had it; copies where the volume knows no hard links.

    Raises:
        UnsafePathError: A part of either way below `root` is a link or no folder; the source is no file.
        OSError: It cannot be linked or copied.
    """
    with _folder_of(source, root) as (old, name), _folder_of(target, root) as (new, other), _naming(target):
        file = _open_regular(name, old, os.O_RDONLY, source)
        partial = other + ".tmp"
        with os.fdopen(file, "rb") as content:
            _unlink(partial, new)
            try:
                old.link(name, new, partial)
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                with os.fdopen(_open_new(partial, new, 0o666), "wb") as copy:
                    shutil.copyfileobj(content, copy, 1 << 20)
        new.replace(partial, new, other)
        _unlink(partial, new)  # rename(2) does nothing where both are names of one file already


def remove(path: Path, *, root: Path) -> None:
    """Remove a file, a link (not what it leads to), or a folder with all that is in it; nothing is no error.

    Raises:
        UnsafePathError: A part of the way below `root` is a link or no folder.
        OSError: It cannot be removed.
    """
    try:
        with _folder_of(path, root) as (folder, name), _naming(path):
            _remove(name, folder)
    except FileNotFoundError:
        return


def sync_folder(path: Path, *, root: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        UnsafePathError: A part of the way below `root` is a link or no folder.
        OSError: It cannot be opened or synced.
    """
    with _folder_of(path / "x", root) as (folder, _):
        folder.sync()


def make_private_folder(path: Path) -> None:
    """Make a folder that no other user may enter, or check that it is one.

    For what is believed when it is read again: another user of the machine must not have written it. What
    the words mean on Windows: see `folders.is_own`.

    Raises:
        UnsafePathError: It is a link, another user's, or open to others.
        OSError: It cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafePathError(where=path, expected="a folder", got=_describe(found.st_mode))
    if not is_own(found):
        raise UnsafePathError(where=path, expected="a folder of yours", got=f"one of user {found.st_uid}")
    if lets_others_in(found):
        got = f"mode {stat.S_IMODE(found.st_mode):03o}"
        raise UnsafePathError(
            where=path, expected="a folder that others cannot enter", got=got, fix="chmod 700 it"
        )


@contextlib.contextmanager
def _folder_of(path: Path, root: Path | None, *, make: bool = False) -> Iterator[tuple[Folder, str]]:
    """Open the folder that holds `path`; yields it and the last name."""
    root = path.parent if root is None else root
    *between, name = path.relative_to(root).parts
    if ".." in (*between, name):
        raise ValueError(f"{path}: expected a path without '..' below {root}")
    folder = open_folder(root)
    try:
        here = root
        for part in between:
            here = here / part
            with _naming(here):
                if make:
                    with contextlib.suppress(FileExistsError):
                        folder.make(part)
                below = _open_below(part, folder, here)
            folder.close()
            folder = below
        yield folder, name
    finally:
        folder.close()


def _open_below(name: str, folder: Folder, where: Path) -> Folder:
    try:
        return folder.below(name)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        mode = folder.stat(name).st_mode
        raise UnsafePathError(where=where, expected="a folder", got=_describe(mode)) from error


def _open_regular(name: str, folder: Folder, flags: int, where: Path, mode: int = 0) -> int:
    try:
        file = folder.open(name, flags, mode)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):  # link, folder, pipe without a reader
            raise
        found = folder.stat(name).st_mode
        raise UnsafePathError(where=where, expected="a file", got=_describe(found)) from error
    found = os.fstat(file).st_mode
    if not stat.S_ISREG(found):
        os.close(file)
        raise UnsafePathError(where=where, expected="a file", got=_describe(found))
    return file


def _open_new(name: str, folder: Folder, mode: int) -> int:
    _unlink(name, folder)
    return folder.open(name, NEW, mode)


def _unlink(name: str, folder: Folder) -> None:
    with contextlib.suppress(FileNotFoundError):
        folder.unlink(name)


def _remove(name: str, folder: Folder, *, depth: int = 0) -> None:
    if depth > _MAX_DEPTH:  # each level holds a descriptor
        raise OSError(errno.ELOOP, "expected fewer folders within each other")
    try:
        folder.unlink(name)
    except OSError:  # EISDIR on Linux; EPERM is what POSIX asks for
        if not stat.S_ISDIR(folder.stat(name).st_mode):
            raise
    else:
        return
    below = folder.below(name)
    try:
        for inner in below.names():
            _remove(inner, below, depth=depth + 1)
    finally:
        below.close()
    folder.rmdir(name)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let errors name the whole path: calls by descriptor know its last part only."""
    try:
        yield
    except UnsafePathError:
        raise
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def _describe(mode: int) -> str:
    return next((kind for test, kind in _KINDS if test(mode)), "a device")
