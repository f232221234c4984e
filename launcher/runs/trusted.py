"""Which files of folders the user has said to trust: by path and content, in the state folder.

`.ftlaunch.yaml` and `.ftlaunch/templates` count without being named on the command line, and a folder may
come from somebody else. As with direnv, they count once the user has said so (`ftlaunch trust`), and no
longer when their content has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from launcher.errors import LaunchError, UsageError
from launcher.runs.paths import state_dir
from trainer.protocol.safe_files import make_private_folder, read_file, replace_file
from trainer.protocol.untrusted import FormatError, parse_json

_SCHEMA = 1
_MAX_FILES = 200
_MAX_BYTES = 1024 * 1024


class TrustError(LaunchError):
    """What the user has said cannot be read or written."""


class TrustedFiles:
    """The user's word, in `trust/files.json` of the state folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = (folder or state_dir() / "trust") / "files.json"

    def knows(self, path: Path, content: bytes) -> bool:
        """Say whether a file with this content is trusted."""
        # By content, and not by time or size: whoever can write the file can set these.
        return self._load().get(str(path.resolve())) == _hash(content)

    def add(self, contents: Mapping[Path, bytes]) -> None:
        """Have files trusted as they are.

        Raises:
            TrustError: The state folder cannot be written, or is open to other users.
        """
        self._save({**self._load(), **{str(path.resolve()): _hash(data) for path, data in contents.items()}})

    def forget(self, folder: Path) -> list[str]:
        """Trust nothing in a folder and below it any more; return what was."""
        files = self._load()
        gone = [name for name in files if Path(name).is_relative_to(folder.resolve())]
        self._save({name: value for name, value in files.items() if name not in gone})
        return gone

    def paths(self) -> list[str]:
        """Return the files that were trusted, whether they are still what they were or not."""
        return sorted(self._load())

    def _load(self) -> dict[str, str]:
        try:
            content = read_file(self._file, max_bytes=_MAX_BYTES)
            document = parse_json(content, where=str(self._file))
        except FileNotFoundError:
            return {}
        except (OSError, FormatError) as error:
            raise TrustError(
                str(error), fix="remove it, and say `ftlaunch trust` again where you need it"
            ) from error
        files = document.get("files") if isinstance(document, dict) else None
        if not isinstance(files, dict):
            return {}
        return {str(name): value for name, value in files.items() if isinstance(value, str)}

    def _save(self, files: Mapping[str, str]) -> None:
        document = json.dumps({"schema": _SCHEMA, "files": files}, indent=2, sort_keys=True)
        try:
            self._file.parent.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            make_private_folder(self._file.parent)
            replace_file(self._file, document.encode("utf-8"), mode=0o600)
        except OSError as error:
            raise TrustError(where=self._file, expected="a file that can be written", said=error) from error


def read_templates(folder: Path) -> dict[Path, bytes]:
    """Read all files of a templates folder: any of them may be included by another.

    Raises:
        UsageError: There are too many, or one cannot be read.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if len(files) > _MAX_FILES:
        raise UsageError(where=folder, expected=f"at most {_MAX_FILES} templates", got=len(files))
    return {path: _read(path) for path in files}


def describe(files: Iterable[Path], folder: Path) -> str:
    """Name files by their paths in a folder."""
    return ", ".join(str(path.relative_to(folder)) for path in files)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(where=path, expected="a template that can be read", said=error) from error
    if len(content) > _MAX_BYTES:
        raise UsageError(where=path, expected=f"a template of at most {_MAX_BYTES} bytes", got="more")
    return content


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
