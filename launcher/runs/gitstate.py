"""The git state that a run was submitted from: commit, dirty files, remote without credentials. No diff.

A folder may come from somebody else, and the `.git` in it too. Its config can name programs that `git status`
runs: a file system monitor, hooks, clean filters, and, for objects that are missing, whatever fetches them.
They are switched off by settings of the environment, which count above every file. Filters of the user's own
config (git-lfs) stay: without them a file that one stores elsewhere counts as changed.

Reading `.git` without git was the alternative. It knows the commit, but not what is ignored, nor what a line
ending or git-lfs makes of a file, and says of clean folders that they are dirty.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

GitState = dict[str, object]
"""What goes into git.json."""

_MAX_FILES = 50
_CREDENTIALS = re.compile(r"(?<=://)[^/@]+@")
_OFF = {"core.fsmonitor": "false", "core.hooksPath": os.devnull, "core.pager": "cat"}
_QUIET = {
    "GIT_OPTIONAL_LOCKS": "0",  # an index that is written again runs a hook
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone fetches what it lacks, by a program of its config
    "GIT_NO_LAZY_FETCH": "1",  # the same for git 2.44 and later, which then does not try
    "GIT_TERMINAL_PROMPT": "0",
}
_FILTER = r"^filter\..*\.(clean|smudge|process|required)$"
_USERS = ("system", "global", "command")


def read_git_state(folder: Path) -> GitState | None:
    """Return what goes into git.json; None outside of a repository or without git.

    No program that the folder names is run.
    """
    off = dict(_OFF)
    commit = _git(folder, off, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    filters = _git(folder, off, "config", "--show-scope", "--null", "--get-regexp", _FILTER)
    off |= _without_the_folders(filters or "")
    changed = _git(folder, off, "status", "--porcelain", "--no-renames", "--ignore-submodules=all", "--null")
    status = [entry for entry in (changed or "").split("\0") if entry]
    remote = _git(folder, off, "remote", "get-url", "origin")
    return {
        "commit": commit.strip(),
        "dirty": bool(status),
        "dirty_files": [entry[3:] for entry in status[:_MAX_FILES]],
        "remote": _CREDENTIALS.sub("", remote.strip()) if remote else None,
    }


def describe_git(state: GitState | None) -> dict[str, str]:
    """Return what trackers are told of it: commit, whether files were changed, and the remote."""
    if state is None:
        return {}
    told = {name: state.get(name) for name in ("commit", "dirty", "remote")}
    return {
        f"git.{name}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in told.items()
        if value is not None
    }


def _without_the_folders(listed: str) -> dict[str, str]:
    """Return settings that leave of the filters only what the user's own config says.

    Args:
        listed: Scope and setting in turn, each ended by a zero byte; a setting is name, line break, value.
    """
    parts = listed.split("\0")
    settings: dict[str, str] = {}
    for scope, setting in zip(parts[::2], parts[1::2], strict=False):
        name, _, value = setting.partition("\n")
        off = "false" if name.endswith(".required") else ""
        settings[name] = value if scope in _USERS else settings.get(name, off)
    return settings


def _git(folder: Path, settings: Mapping[str, str], *arguments: str) -> str | None:
    environ = {**os.environ, **_QUIET}
    before = os.environ.get("GIT_CONFIG_COUNT", "0")
    count = int(before) if before.isdigit() else 0
    for number, (name, value) in enumerate(settings.items(), start=count):
        environ |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    environ["GIT_CONFIG_COUNT"] = str(count + len(settings))
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=False, env=environ,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
