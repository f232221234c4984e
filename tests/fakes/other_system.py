"""Runs our code without what only POSIX systems have, as on Windows. A pytest plugin, or `hide()`.

Every module of `launcher`, `ftlaunch` and `trainer` gets an `__import__` of its own. It refuses the modules
that Windows' Python lacks, has a `msvcrt` whose locks are made of `lockf`, and gives `os`, `signal`,
`select`, `socket`, `platform` and `sys` without the names that are missing there. Tests, pytest and
libraries see the real ones. So what is tried is our own code's independence of POSIX; paths, the console
and the calls of Windows themselves are not.
"""

from __future__ import annotations

import builtins
import fcntl
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

OURS = ("launcher", "ftlaunch", "trainer")
MISSING_MODULES = frozenset(
    ("fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "spwd", "syslog", "termios", "tty", "nis")
)
"""Python's library reference, "Availability: Unix"."""
_OS = frozenset(
    (
        "O_CLOEXEC", "O_DIRECTORY", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "WNOHANG",
        "chown", "chroot", "ctermid", "fchdir", "fchmod", "fchown", "fork", "forkpty", "fstatvfs",
        "getegid", "geteuid", "getgid", "getgroups", "getloadavg", "getpgid", "getpgrp", "getpriority",
        "getresuid", "getsid", "getuid", "killpg", "lchown", "lockf", "major", "minor", "mkfifo",
        "mknod", "nice", "openpty", "pidfd_open", "pread", "preadv", "pwrite", "pwritev",
        "posix_fadvise", "posix_fallocate", "posix_spawn", "readv", "sched_getaffinity", "sched_yield",
        "sendfile", "setgid", "setpriority", "setsid", "setuid", "statvfs", "sync", "sysconf", "uname",
        "wait3", "wait4", "writev", "fdatasync", "memfd_create",
    )
)  # fmt: skip
_SIGNALS = frozenset(
    (
        "SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGIO", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP",
        "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2", "SIGWINCH", "alarm", "pause",
        "pidfd_send_signal", "pthread_kill", "pthread_sigmask", "setitimer", "siginterrupt",
        "sigpending", "sigwait", "getitimer",
    )
)  # fmt: skip


def _lock_as_windows(fd: int, mode: int, count: int) -> None:
    fcntl.lockf(fd, fcntl.LOCK_UN if mode == 0 else fcntl.LOCK_EX | fcntl.LOCK_NB, count)


class _View(ModuleType):
    """A module without some of its names, and with others in their place."""

    def __init__(self, real: ModuleType, *, without: frozenset[str], instead: Mapping[str, object]) -> None:
        super().__init__(real.__name__)
        self.__dict__.update(_real=real, _without=without, _instead=instead)

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__["_without"]:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on this system")
        instead: Mapping[str, object] = self.__dict__["_instead"]
        return instead[name] if name in instead else getattr(self.__dict__["_real"], name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.__dict__["_real"], name, value)


def _views() -> dict[str, ModuleType]:
    import os
    import platform
    import select
    import signal
    import socket

    msvcrt = ModuleType("msvcrt")
    msvcrt.__dict__.update(LK_NBLCK=2, LK_UNLCK=0, locking=_lock_as_windows)
    none: frozenset[object] = frozenset()
    return {
        "msvcrt": msvcrt,
        "os": _View(os, without=_OS, instead={"supports_dir_fd": none}),
        "platform": _View(platform, without=frozenset(), instead={"system": lambda: "Windows"}),
        "select": _View(select, without=frozenset({"poll", "epoll", "kqueue"}), instead={}),
        "signal": _View(signal, without=_SIGNALS, instead={}),
        "socket": _View(socket, without=frozenset({"AF_UNIX", "socketpair"}), instead={}),
        "sys": _View(sys, without=frozenset(), instead={"platform": "win32"}),
    }  # fmt: skip


class _OurLoader(Loader):
    def __init__(self, loader: Any, importing: Callable[..., Any]) -> None:
        self._loader, self._importing = loader, importing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = {**builtins.__dict__, "__import__": self._importing}
        code = self._loader.get_code(module.__name__)
        exec(code, module.__dict__)


class _OurFinder(MetaPathFinder):
    def __init__(self) -> None:
        self._views = _views()
        self._is_searching = False

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in OURS or self._is_searching:
            return None
        self._is_searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._is_searching = False
        if spec is not None and hasattr(spec.loader, "get_code") and spec.origin is not None:
            spec.loader = _OurLoader(spec.loader, self._import)
        return spec

    def _import(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] in MISSING_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r} on this system", name=name)
        imported = self._views.get(name) if name == "msvcrt" else builtins.__import__(name, *args, **kwargs)
        if name == "importlib":  # `importlib.import_module("msvcrt")`
            return _View(importlib, without=frozenset(), instead={"import_module": self._import_module})
        return self._views.get(name) or imported

    def _import_module(self, name: str, package: str | None = None) -> ModuleType:
        if name.partition(".")[0] in MISSING_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r} on this system", name=name)
        return self._views.get(name) or importlib.import_module(name, package)


def hide() -> None:
    """Hide from now on; none of our modules may have been imported before."""
    already = [name for name in sys.modules if name.partition(".")[0] in OURS]
    if already:
        raise RuntimeError(f"expected none of our modules yet, got {already[:5]}")
    sys.meta_path.insert(0, _OurFinder())


def pytest_load_initial_conftests() -> None:
    """Hide before any test or conftest is imported."""
    hide()
