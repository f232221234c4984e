"""What a run was made of beside its config: versions and hashes of lists, noted when it was submitted."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from trainer.protocol.codec import decode, encode
from trainer.protocol.safe_files import open_read, read_file, replace_file
from trainer.protocol.untrusted import FormatError

ORIGIN = "origin.json"
SCHEMA = 1
_MAX_BYTES = 1024 * 1024
_MAX_LIST_BYTES = 512 * 1024 * 1024
"""A second of reading; longer lists are not hashed."""
_PACKAGES = ("ftlaunch", "paddlepaddle", "paddlepaddle-gpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What a run was made of.

    Attributes:
        versions: Name -> version; of a job in containers those of the machine that submitted it.
        lists: Path in the config -> SHA-256 of the list file, where it lay on that machine.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)


def read_versions() -> dict[str, str]:
    """Return the versions of this Python, of ftlaunch, and of Paddle where it is installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hash_file(path: Path) -> str | None:
    """Return the SHA-256 of a regular file; None where there is none that can be read, or it is too long."""
    digest, left = hashlib.sha256(), _MAX_LIST_BYTES
    try:
        with open_read(path) as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
                left -= len(piece)
                if left < 0:
                    return None
    except OSError:
        return None
    return digest.hexdigest()


def save_origin(run_folder: Path, origin: Origin) -> None:
    """Write it into a run folder.

    Raises:
        OSError: It cannot be written.
    """
    replace_file(run_folder / ORIGIN, (json.dumps(encode(origin, schema=SCHEMA), indent=2) + "\n").encode())


def load_origin(run_folder: Path) -> Origin | None:
    """Read it; None where an earlier release submitted the run, or it is broken."""
    try:
        return decode(
            Origin, read_file(run_folder / ORIGIN, max_bytes=_MAX_BYTES), where=ORIGIN, schema=SCHEMA
        )
    except (OSError, FormatError):
        return None
