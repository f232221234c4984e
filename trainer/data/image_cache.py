"""Remembers which image files were found good or bad, so that reading every file is done once a file.

One small database a user (SQLite, which several processes may use at once), in a folder that nobody else may
enter: what is believed here is that a file was read, and another user of the machine must not say so. A file
is known by its path, size, time of change and inode, and by what it was read with. What cannot be kept (no
home, a read-only disk, a broken database) is found anew: the cache decides how long a check takes, never
what it says.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from trainer.protocol.safe_files import make_private_folder

_FILE = "images.sqlite3"
_TABLE = (
    "CREATE TABLE IF NOT EXISTS images (path TEXT, how TEXT, mark TEXT, problem TEXT, warning TEXT, "
    "PRIMARY KEY (path, how)) WITHOUT ROWID"
)
_FACTS = (
    "CREATE TABLE IF NOT EXISTS facts (path TEXT PRIMARY KEY, how TEXT, mark TEXT, facts BLOB) WITHOUT ROWID"
)
_BATCH = 500  # of paths in one question: SQLite's limit of parameters is 999 in old builds
_WAIT_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What reading a file found.

    Attributes:
        problem: Why it cannot be used; empty where it can.
        warning: What is wrong with it though it can be used.
    """

    problem: str = ""
    warning: str = ""


def mark_of(path: str) -> str | None:
    """Return what changes whenever a file does; None where it cannot be asked for."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return f"{found.st_size}/{found.st_mtime_ns}/{found.st_ino}"


class ImageCache:
    """The database, or nothing where it cannot be had; no method raises."""

    def __init__(self, folder: Path | None = None) -> None:
        """Open it in `folder`, which is made private; the user's cache folder where None."""
        self._connection: sqlite3.Connection | None = None
        folder = folder or user_cache_path("ftlaunch") / "images"
        with contextlib.suppress(OSError, sqlite3.Error, RuntimeError):  # RuntimeError: there is no home
            make_private_folder(folder)
            self._connection = sqlite3.connect(folder / _FILE, timeout=_WAIT_S)
            with self._connection:
                self._connection.execute(_TABLE)
                self._connection.execute(_FACTS)

    def find(self, marks: Mapping[str, str], *, how: str) -> dict[str, Verdict]:
        """Return what is known of files that have not changed.

        Args:
            marks: Path -> `mark_of` it now.
            how: What they would be read with.
        """
        found: dict[str, Verdict] = {}
        if self._connection is None:
            return found
        with contextlib.suppress(sqlite3.Error):
            for part in _parts(list(marks)):
                asked = ",".join("?" * len(part))
                query = f"SELECT path, mark, problem, warning FROM images WHERE how = ? AND path IN ({asked})"  # noqa: S608
                for path, mark, problem, warning in self._connection.execute(query, [how, *part]):
                    if mark == marks.get(path) and isinstance(problem, str) and isinstance(warning, str):
                        found[path] = Verdict(problem=problem, warning=warning)
        return found

    def keep(self, verdicts: Mapping[str, Verdict], marks: Mapping[str, str], *, how: str) -> None:
        """Remember verdicts on files; arguments as for `find`."""
        if self._connection is None:
            return
        rows = [(path, how, marks[path], said.problem, said.warning) for path, said in verdicts.items()]
        with contextlib.suppress(sqlite3.Error), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?)", rows)

    def find_facts(self, marks: Mapping[str, str], *, how: str) -> dict[str, bytes]:
        """Return what was measured of files that have not changed; arguments as for `find`."""
        found: dict[str, bytes] = {}
        if self._connection is None:
            return found
        with contextlib.suppress(sqlite3.Error):
            for part in _parts(list(marks)):
                asked = ",".join("?" * len(part))
                query = f"SELECT path, mark, facts FROM facts WHERE how = ? AND path IN ({asked})"  # noqa: S608
                for path, mark, facts in self._connection.execute(query, [how, *part]):
                    if mark == marks.get(path) and isinstance(facts, bytes):
                        found[path] = facts
        return found

    def keep_facts(self, facts: Mapping[str, bytes], marks: Mapping[str, str], *, how: str) -> None:
        """Remember what was measured of files, in place of what another way of measuring found."""
        if self._connection is None:
            return
        rows = [(path, how, marks[path], record) for path, record in facts.items()]
        with contextlib.suppress(sqlite3.Error), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Close the database."""
        if self._connection is not None:
            self._connection.close()


def _parts(paths: list[str]) -> Iterable[list[str]] | Iterator[list[str]]:
    return (paths[begin : begin + _BATCH] for begin in range(0, len(paths), _BATCH))
