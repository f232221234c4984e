"""What a folder's own .git can have run while its state is read: nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launcher.runs.gitstate import read_git_state


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one committed file; what its config names would write `ran` beside it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    folder = tmp_path / "handed"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main", ".")
    git(folder, "config", "user.email", "a@b")
    git(folder, "config", "user.name", "x")
    (folder / "cfg.yaml").write_text("Global: {}\n")
    return folder


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def program(folder: Path, name: str = "evil") -> Path:
    path = folder.parent / name
    path.write_text(f'#!/bin/sh\necho "$0" >> {folder.parent}/ran\ncat\n')
    path.chmod(0o755)
    return path


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "x")
    os.utime(folder / "cfg.yaml", (978307200, 978307200))  # its content has to be looked at


def plant_monitor(folder: Path) -> None:
    commit(folder)
    git(folder, "config", "core.fsmonitor", str(program(folder)))


def plant_filter(folder: Path, name: str = "x", how: str = "clean") -> None:
    (folder / ".gitattributes").write_text(f"cfg.yaml filter={name}\n")
    commit(folder)
    git(folder, "config", f"filter.{name}.{how}", str(program(folder)))
    git(folder, "config", f"filter.{name}.required", "true")


def plant_included_filter(folder: Path) -> None:
    plant_filter(folder)
    config = folder / ".git" / "config"
    config.rename(folder / ".git" / "more")
    config.write_text("[core]\n\trepositoryformatversion = 0\n[include]\n\tpath = more\n")


def plant_worktree_filter(folder: Path) -> None:
    (folder / ".gitattributes").write_text("cfg.yaml filter=y\n")
    commit(folder)
    git(folder, "config", "extensions.worktreeConfig", "true")
    git(folder, "config", "--worktree", "filter.y.clean", str(program(folder)))


def plant_hook(folder: Path) -> None:
    commit(folder)
    hooks = folder / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "post-index-change").write_text(f"#!/bin/sh\necho hook >> {folder.parent}/ran\n")
    (hooks / "post-index-change").chmod(0o755)


def plant_fetch(folder: Path) -> None:
    commit(folder)
    git(folder, "config", "core.repositoryFormatVersion", "1")
    git(folder, "config", "extensions.partialClone", "origin")
    git(folder, "config", "remote.origin.promisor", "true")
    git(folder, "config", "remote.origin.url", f"ext::{program(folder)} %S")
    git(folder, "config", "protocol.ext.allow", "always")
    tree = git(folder, "rev-parse", "HEAD^{tree}")
    (folder / ".git" / "objects" / tree[:2] / tree[2:]).unlink()


def plant_in_submodule(folder: Path) -> None:
    inner = folder.parent / "inner"
    inner.mkdir()
    git(inner, "init", "-q", "-b", "main", ".")
    git(inner, "-c", "user.email=a@b", "-c", "user.name=x", "commit", "-q", "--allow-empty", "-m", "x")
    git(folder, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    commit(folder)
    git(folder / "sub", "config", "core.fsmonitor", str(program(folder)))


PLANTS = {
    "monitor": plant_monitor, "clean filter": plant_filter, "hook": plant_hook, "missing object": plant_fetch,
    "process filter": lambda folder: plant_filter(folder, how="process"),
    "filter with a sign in its name": lambda folder: plant_filter(folder, name="a=b.c"),
    "included filter": plant_included_filter, "filter of the worktree": plant_worktree_filter,
    "submodule": plant_in_submodule,
}  # fmt: skip


def git_alone_runs_it(repository: Path) -> bool:
    """A fetch of what lacks asks itself for the same again, without an end: it is cut where it is known."""
    child = subprocess.Popen(
        ["git", "-C", str(repository), "status"], start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 20
    while not (ran := (repository.parent / "ran").exists()) and time.monotonic() < until:
        if child.poll() is not None:
            ran = (repository.parent / "ran").exists()
            break
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    return ran


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_no_program_that_a_repository_names_is_run(repository, plant):
    plant(repository)
    (repository.parent / "ran").unlink(missing_ok=True)
    ours = read_git_state(repository)
    assert not (repository.parent / "ran").exists()
    assert git_alone_runs_it(repository), "so that this test can fail"
    assert ours is not None
    assert ours["commit"] == git(repository, "rev-parse", "HEAD")


def test_a_filter_of_the_users_own_config_still_counts(repository):
    upper = repository.parent / "upper"
    upper.write_text(f"#!{sys.executable}\nimport sys\nsys.stdout.write(sys.stdin.read().upper())\n")
    upper.chmod(0o755)
    (repository.parent / "home").mkdir()
    git(repository, "config", "--global", "filter.up.clean", str(upper))
    (repository / ".gitattributes").write_text("cfg.yaml filter=up\n")
    commit(repository)
    state = read_git_state(repository)
    assert state is not None
    assert state["dirty_files"] == []
    git(repository, "config", "filter.up.clean", str(program(repository)))  # the folder's wins in git
    state = read_git_state(repository)
    assert state is not None
    assert (state["dirty"], (repository.parent / "ran").exists()) == (False, False)


def test_names_of_changed_files_are_as_they_are(repository):
    commit(repository)
    (repository / "mit Leerzeichen ä.txt").write_text("x")
    state = read_git_state(repository)
    assert state is not None
    assert state["dirty_files"] == ["mit Leerzeichen ä.txt"]
