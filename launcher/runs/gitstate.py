"""The git state that a run was submitted from: commit, dirty files, remote without credentials. No diff."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

GitState = dict[str, object]
"""What goes into git.json."""

_MAX_FILES = 50
_CREDENTIALS = re.compile(r"(?<=://)[^/@]+@")


def read_git_state(folder: Path) -> GitState | None:
    """Return what goes into git.json; None outside of a repository or without git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    status = (_git(folder, "status", "--porcelain") or "").splitlines()
    remote = _git(folder, "remote", "get-url", "origin")
    return {
        "commit": commit.strip(),
        "dirty": bool(status),
        "dirty_files": [line[3:] for line in status[:_MAX_FILES]],
        "remote": _CREDENTIALS.sub("", remote.strip()) if remote else None,
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
