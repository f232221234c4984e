"""List files of images, held against the folder that they are about."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from launcher.errors import UsageError

_SHOWN = 20


def find_lists(folder: Path) -> list[Path]:
    """Return the list files of a folder by their names, `*_list.txt` (PaddleClas's and `make-lists`' own)."""
    return sorted(path for path in folder.glob("*_list.txt") if path.is_file())


def require_listed(lists: Sequence[Path], paths: Collection[str]) -> int:
    """Return how many lines there are; each names a file that is there.

    Args:
        lists: Of `path label` lines, or path, tab, label.
        paths: Relative to the folder that the lists' paths are relative to.

    Raises:
        UsageError: Something is missing; shows the first 20 lines of each list.
    """
    problems, count = [], 0
    for listed in lists:
        missing = []
        try:
            lines = listed.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{listed}: expected a readable list in UTF-8, got: {error}") from error
        for number, line in enumerate(lines, start=1):
            if line.strip():
                count += 1
                path = line.rpartition("\t" if "\t" in line else " ")[0].strip()
                if path.removeprefix("./") not in paths:
                    missing.append(f"{listed}:{number}: expected a file of the folder, got {path[:80]!r}")
        problems += missing[:_SHOWN]
        if len(missing) > _SHOWN:
            problems.append(f"{listed}: … and {len(missing) - _SHOWN} lines more")
    if problems:
        raise UsageError("\n".join(problems))
    return count
