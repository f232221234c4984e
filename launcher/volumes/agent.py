"""Lists, sends and receives the files below a folder. Runs beside a volume as `python -c`, and here.

Its text is sent to whatever Python 3 an image has: the standard library only, and nothing else of ftlaunch.
A request is one line of JSON on standard input; files pass as a tar archive, each from the byte on that the
other side already has. What was received in part stays, under a name of its own, until the rest has come and
the hash is right.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

OFFSET = "FTLAUNCH.offset"
"""Key of the archive's extended header: where in the file the member's content begins."""
PART_PREFIX, PART_SUFFIX = ".", ".ftlaunch-part"
_BLOCK, _PIECE = 1 << 20, 1 << 16
_FEW = 64
"""So many files are held open at once; a process may have 1,024, or 256 on macOS."""
_EXIT_REFUSED = 9
EXIT_DENIED, EXIT_READ_ONLY, EXIT_FULL = 10, 11, 12
"""Exit codes for what a user has to mend at the volume."""
_EXITS = {
    errno.EACCES: EXIT_DENIED, errno.EPERM: EXIT_DENIED, errno.EROFS: EXIT_READ_ONLY, errno.ENOSPC: EXIT_FULL,
    getattr(errno, "EDQUOT", errno.ENOSPC): EXIT_FULL,
}  # fmt: skip
# O_NONBLOCK: nobody waits for the reader of a pipe that stands there. What Windows does not know is left out.
_INTO_PART = os.O_WRONLY | os.O_CREAT
_INTO_PART |= sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
_SEPARATORS = "" if os.sep == "/" else "\\:"
"""What besides `/` parts the names of a path on this system, and so is in no name."""


class RefusedError(Exception):
    """What came is not what was asked for, or a file cannot be had."""


class DiffersError(RefusedError):
    """A file that has come whole has not the hash that it should have."""


class CutShortError(RefusedError):
    """What came is no whole archive."""


def part_of(target: Path) -> Path:
    """Return where a file lies until it is whole."""
    return target.with_name(f"{PART_PREFIX}{target.name}{PART_SUFFIX}")


def walk(root: Path, *, under: str = "") -> Iterator[str]:
    """Yield the plain files below a folder, relative to it, in order; links and parts are passed over."""
    for path, _ in _walk(root, under):
        yield path


def look(root: Path, *, under: str, texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield what `walk` finds as `path` and `size`; of files under the names `texts` also the `text`.

    One request, so that little happens meanwhile in a folder that somebody writes to. A folder's own files
    come before those of the folders in it.
    """
    for path, size in _walk(root, under):
        found: dict[str, Any] = {"path": path, "size": size}
        if path.rpartition("/")[2] in texts:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                found["text"] = resolve(root, path).read_text("utf-8", "replace")
        yield found


def _walk(root: Path, under: str) -> Iterator[tuple[str, int]]:
    for folder, folders, names in os.walk(root / under):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            with contextlib.suppress(FileNotFoundError):  # somebody writes there
                found = path.lstat()
                if stat.S_ISREG(found.st_mode) and not name.endswith(PART_SUFFIX):
                    yield path.relative_to(root).as_posix(), found.st_size


def hash_file(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def stat_files(root: Path, paths: Sequence[str], *, hashes: bool) -> Iterator[dict[str, Any]]:
    """Yield what is there of each file: `path`, `size`, `sha256` where asked for, `part` that has come."""
    for path in paths:
        found: dict[str, Any] = {"path": path}
        target = resolve(root, path)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found["part"] = part_of(target).lstat().st_size
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found["size"] = target.stat().st_size
            if hashes:
                found["sha256"] = hash_file(target)
        yield found


def send_files(root: Path, files: Sequence[Sequence[Any]], out: IO[bytes]) -> None:
    """Write files into an archive.

    Args:
        root: Folder that they are below.
        files: Path, offset from which on it is sent, and offset at which it ends for the asker; without that,
            the whole of it. Of a log that grows an asker knows the hash of what it has seen. Where they are
            few, all are opened before the first is sent: a job that deletes them meanwhile does not take them
            from the asker.
        out: Takes the archive.

    Raises:
        RefusedError: One of them is not there, or changes meanwhile.
    """
    with (
        contextlib.ExitStack() as held,
        tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        opened = [held.enter_context(_open(root, path)) for path, *_ in files] if len(files) <= _FEW else []
        for index, (path, offset, *ends) in enumerate(files):
            try:
                with opened[index] if opened else _open(root, path) as file:
                    member = tarfile.TarInfo(path)
                    member.size = max(0, min([os.fstat(file.fileno()).st_size, *ends]) - offset)
                    member.pax_headers = {OFFSET: str(offset)}
                    file.seek(offset)
                    archive.addfile(member, file)
            except OSError as error:
                raise RefusedError(f"{path}: {error.strerror or error}") from error


def _open(root: Path, path: str) -> IO[bytes]:
    try:
        return resolve(root, path).open("rb")
    except OSError as error:
        raise RefusedError(f"{path}: {error.strerror or error}") from error


def receive_files(root: Path, wanted: Mapping[str, Mapping[str, Any]], source: IO[bytes]) -> Iterator[str]:
    """Read files from an archive into a folder; yield the path of each once it is whole.

    Args:
        root: Nothing is written outside of it, whatever the archive says.
        wanted: What may come: path -> `size` and `sha256`.
        source: The archive.

    Raises:
        RefusedError: Something else came. What is whole stays, and so does what is in part.
    """
    try:
        with tarfile.open(fileobj=source, mode="r|") as archive:
            for member in archive:
                entry = wanted.get(member.name)
                if entry is None or not member.isreg():
                    raise RefusedError(f"{member.name!r}: expected files that were asked for, as plain files")
                _receive_one(
                    resolve(root, member.name, make=True), member, archive.extractfile(member), entry
                )
                yield member.name
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:  # of its headers
        raise CutShortError(f"expected a whole archive: {error}") from error


def _receive_one(
    target: Path, member: tarfile.TarInfo, content: IO[bytes] | None, entry: Mapping[str, Any]
) -> None:
    offset = int(member.pax_headers.get(OFFSET, "0"))
    if content is None or not offset >= 0 or offset + member.size != entry["size"]:
        raise RefusedError(f"{member.name}: expected {entry['size']} bytes, got {offset} + {member.size}")
    part = part_of(target)
    fd = os.open(part, _INTO_PART, 0o666)
    with os.fdopen(fd, "wb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or os.fstat(fd).st_nlink > 1:
            raise RefusedError(f"{part}: expected a file of its own, got one with another name; remove it")
        if os.fstat(fd).st_size < offset:
            raise RefusedError(f"{member.name}: expected all from byte {os.fstat(fd).st_size}, got {offset}")
        file.truncate(offset)
        file.seek(offset)
        while piece := content.read(_PIECE):  # of a piece that is cut short nothing comes
            file.write(piece)
            file.flush()
        os.fsync(fd)
    if hash_file(part) != entry["sha256"]:
        part.unlink()
        raise DiffersError(f"{member.name}: expected the SHA-256 {entry['sha256']}, got another content")
    part.replace(target)


def resolve(root: Path, path: str, *, make: bool = False) -> Path:
    """Return where a relative path leads, which is below `root` without going through a link.

    Args:
        root: May itself be reached through links.
        path: As it came from the other side.
        make: Make the folders on the way.

    Raises:
        RefusedError: It leads elsewhere.
    """
    parts = path.split("/")
    if not path or {"\0", *_SEPARATORS} & {*path} or any(part in ("", ".", "..") for part in parts):
        raise RefusedError(f"{path!r}: expected a path below the folder")
    here = root
    for part in parts[:-1]:
        here = here / part
        if make:
            here.mkdir(exist_ok=True)
        if here.is_symlink():
            raise RefusedError(f"{path!r}: expected folders on the way, got a link")
    if (here / parts[-1]).is_symlink():
        raise RefusedError(f"{path!r}: expected a plain file, got a link")
    return here / parts[-1]


def exit_of(error: Exception) -> int:
    """Return the exit code that says what is to be mended."""
    return _EXITS.get(error.errno or 0, _EXIT_REFUSED) if isinstance(error, OSError) else _EXIT_REFUSED


def describe_error(error: Exception) -> str:
    """Say what went wrong; of what is denied also to whom, and whose it is."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    said = error.strerror[:1].lower() + error.strerror[1:]
    if not isinstance(error.filename, str):
        return said
    path = Path(error.filename)
    if path.name.endswith(PART_SUFFIX):
        path = path.parent
    getuid, getgid = getattr(os, "getuid", None), getattr(os, "getgid", None)  # Windows has neither
    if exit_of(error) != EXIT_DENIED or getuid is None or getgid is None:
        return f"{path}: {said}"
    found = _stat_nearest(path)
    if found is None:
        return f"{path}: {said} for user {getuid()} and group {getgid()}"
    path, status = found
    mode = stat.S_IMODE(status.st_mode)
    return (
        f"{path}: {said} for user {getuid()} and group {getgid()}: "
        f"it belongs to user {status.st_uid} and group {status.st_gid}, with mode {mode:o}"
    )


def _stat_nearest(path: Path) -> tuple[Path, os.stat_result] | None:
    """Return what can be seen of a path, or of the folder above it: whose that is says who may make it."""
    for seen in (path, *path.parents):
        with contextlib.suppress(OSError):
            return seen, seen.stat()
    return None


def _answer(line: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(line).encode() + b"\n")
    sys.stdout.buffer.flush()


def main(operation: str, root: str) -> None:
    """Do what one request asks; `ready` comes first."""
    folder = Path(root)
    _answer({"ready": folder.is_dir(), "writable": os.access(folder, os.W_OK)})
    request = json.loads(sys.stdin.buffer.readline())
    if operation == "walk":
        for found in look(folder, under=request["under"], texts=request.get("texts", ())):
            _answer(found)
    elif operation == "stat":
        for found in stat_files(folder, request["files"], hashes=request["hashes"]):
            _answer(found)
    elif operation == "read":
        for path in request["files"]:
            with contextlib.suppress(FileNotFoundError):
                _answer({"path": path, "text": resolve(folder, path).read_text("utf-8", "replace")})
    elif operation == "send":
        send_files(folder, request["files"], sys.stdout.buffer)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        for _ in receive_files(folder, request["files"], sys.stdin.buffer):
            pass


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (RefusedError, OSError) as error:
        sys.stderr.write(f"{describe_error(error)}\n")
        sys.exit(exit_of(error))
