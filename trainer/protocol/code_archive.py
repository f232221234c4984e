"""The user's Python of a job as one archive: the same bytes for the same files, named by what is in it.

A tar archive that is compressed by gzip. Names are sorted, and owners, times and modes (0644, or 0755 for
what can be run) are made equal, so that neither a clone nor another machine changes anything. It is known by
the SHA-256 of the archive before it is compressed: what zlib makes of it differs between releases of zlib.

`pack` and `read_names` are for whoever submits; `unpack` is the node process', which trusts the hash that
came with node.json and nothing else: not the archive, which may have lain on a shared volume.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit

MAX_FILES = 10_000
MAX_BYTES = 64 << 20
"""Of all files together. More is data, which belongs on a volume."""
_TAR_BYTES = MAX_BYTES + 2048 * MAX_FILES  # headers and padding
_PIECE = 1 << 20


class CodeError(TrainerError):
    """An archive of code that is not what the job was submitted with, or cannot be unpacked."""

    exit_code = Exit.CONFIG


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeArchive:
    """An archive.

    Attributes:
        data: Compressed.
        sha256: Of the archive before that, 64 hexadecimal digits.
        files: How many there are in it.
        size_bytes: Of all of them.
    """

    data: bytes
    sha256: str
    files: int
    size_bytes: int


def pack(files: Mapping[str, Path]) -> CodeArchive:
    """Make the archive of some files.

    Args:
        files: Name in the archive, with `/` between its parts, to the file on this machine.

    Raises:
        OSError: One cannot be read.
    """
    tar, size = io.BytesIO(), 0
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            content = files[name].read_bytes()
            size += len(content)
            member = tarfile.TarInfo(name)  # owner 0 without a name, time 0
            member.size = len(content)
            member.mode = 0o755 if files[name].stat().st_mode & 0o100 else 0o644
            archive.addfile(member, io.BytesIO(content))
    plain = tar.getvalue()
    return CodeArchive(
        data=gzip.compress(plain, 9, mtime=0),
        sha256=hashlib.sha256(plain).hexdigest(),
        files=len(files),
        size_bytes=size,
    )


def unpack(source: Path, into: Path, *, sha256: str) -> int:
    """Unpack an archive into an empty folder; return the number of files.

    Nothing is written before the whole archive was seen to be the one that is meant, within its bounds.

    Args:
        source: The archive.
        into: Exists.
        sha256: See `CodeArchive`.

    Raises:
        CodeError: It is another archive, or holds what none of ours does: links, absolute names, too much.
        OSError: It cannot be read, or the folder not written.
    """
    with _reading(source) as plain:
        digest, size = hashlib.sha256(), 0
        while piece := plain.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            if size > _TAR_BYTES:
                raise CodeError(where=source, expected=f"at most {_TAR_BYTES:,} bytes of code", got="more")
    if digest.hexdigest() != sha256:
        raise CodeError(
            where=source, expected=f"the code with the SHA-256 {sha256}", got=digest.hexdigest(),
            fix="submit again, which brings it anew",
        )  # fmt: skip
    with _reading(source) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        number = 0
        for number, member in enumerate(archive, start=1):
            content = archive.extractfile(member) if member.isreg() else None
            if number > MAX_FILES or content is None or not _is_below(member.name):
                raise CodeError(
                    where=source, expected="plain files with relative names", got=repr(member.name)
                )
            target = into.joinpath(*PurePosixPath(member.name).parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                while piece := content.read(_PIECE):
                    file.write(piece)
            target.chmod(0o755 if member.mode & 0o100 else 0o644)
    return number


@contextmanager
def _reading(source: Path) -> Iterator[gzip.GzipFile]:
    try:
        with gzip.open(source) as plain:
            yield plain
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
        raise CodeError(
            where=source, expected="an archive of code", got=f"something broken: {error}"
        ) from error


def _is_below(name: str) -> bool:
    parts = name.split("/")
    return "\0" not in name and "\\" not in name and all(part not in ("", ".", "..") for part in parts)
