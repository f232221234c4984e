"""Imports the modules of the user that a config names, before its names are checked."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path

from trainer.config.document import Document
from trainer.config.extras import forget_files
from trainer.config.problems import ConfigError, KeyPath, Problem, show
from trainer.protocol.pathmap import PathMap

_LOADED: dict[str, str] = {}
"""Modules of files that this process has imported, and the hash of their files then."""


def import_modules(
    document: Document, *, named: tuple[str, ...], path_map: PathMap, code: Path | None = None
) -> None:
    """Import what `named` holds, or else what `Launch.extra_modules` of the config does, in that order.

    Args:
        document: The config.
        named: Files, folders of packages, or names of installed modules, as typed.
        path_map: Applied to files and folders.
        code: Folder whose modules can be imported besides; it comes last on Python's path.

    Raises:
        ConfigError: One cannot be imported; holds every problem found.
    """
    problems: list[Problem] = []
    if code is not None:
        _append(str(code))
    for path, entry in _entries(document, named, problems):
        message = _import(entry, path_map)
        if message is None:
            continue
        if named:
            problems.append(Problem(file=f"--extra-module {entry}", message=message))
        else:
            problems.append(document.problem(path, message))
    if problems:
        raise ConfigError(problems)


def _entries(
    document: Document, named: tuple[str, ...], problems: list[Problem]
) -> list[tuple[KeyPath, str]]:
    if named:
        return [((), entry) for entry in named]
    launch = document.values.get("Launch")
    listed = launch.get("extra_modules") if isinstance(launch, dict) else None
    path: KeyPath = ("Launch", "extra_modules")
    if listed is None:
        return []
    if not isinstance(listed, list):
        problems.append(document.problem(path, f"expected a list of files, got {show(listed)}"))
        return []
    for index, entry in enumerate(listed):
        if not isinstance(entry, str):
            problems.append(document.problem((*path, index), f"expected a file, got {show(entry)}"))
    return [((*path, index), entry) for index, entry in enumerate(listed) if isinstance(entry, str)]


def _import(entry: str, path_map: PathMap) -> str | None:
    """Import one and return what is wrong with it, or None."""
    if "/" not in entry and not entry.endswith(".py"):
        return _run(entry, None)
    path = Path(path_map.apply(entry)).absolute()
    start = path / "__init__.py" if path.is_dir() else path
    if not start.is_file():
        if path.is_dir():
            return f"expected a package, got {str(path)!r} without __init__.py; add that file"
        return (
            f"expected a Python file or a package's folder, got {str(path)!r}, which is not there; mount it"
        )
    name = path.stem
    if not name.isidentifier() or (start == path and path.suffix != ".py"):
        return f"expected a name that Python can import, such as my_ops.py, got {path.name!r}; rename it"
    folder = str(path.parent)
    _append(folder)
    found = sys.modules[name].__spec__ if name in sys.modules else importlib.util.find_spec(name)
    origin = found.origin if found is not None else None
    if origin is None or Path(origin).resolve() != start.resolve():
        taken = origin or "Python itself"
        return f"expected a name that nothing else has, got {name!r}, which {taken} has; rename the file"
    _forget_changed(name, start, is_package=path.is_dir())
    return _run(name, folder)


def _forget_changed(name: str, start: Path, *, is_package: bool) -> None:
    """Have a module imported again whose files were edited since: a notebook goes on for days.

    Python itself would keep what it imported first, and the config would name code that is no longer there.
    """
    files = sorted(start.parent.rglob("*.py")) if is_package else [start]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    if name in sys.modules and _LOADED.get(name, digest) != digest:
        for known in [other for other in sys.modules if other == name or other.startswith(f"{name}.")]:
            del sys.modules[known]
        forget_files({str(file) for file in files})
        importlib.invalidate_caches()
    _LOADED[name] = digest


def _append(folder: str) -> None:
    if folder not in sys.path:
        sys.path.append(folder)  # last: a file of the user shadows nothing, and may import its neighbours
        importlib.invalidate_caches()


def find_code(document: Document, base: Path) -> Path | None:
    """Return the folder that has to be on Python's path for `Launch.code`, where no job has unpacked it.

    Args:
        document: The config.
        base: Folder that relative paths count from.
    """
    launch = document.values.get("Launch")
    named = launch.get("code") if isinstance(launch, dict) else None
    if not isinstance(named, str):
        return None
    path = (base / Path(named).expanduser()).absolute()
    return path if path.is_dir() and not (path / "__init__.py").is_file() else path.parent


def _run(name: str, folder: str | None) -> str | None:
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever code that is not ours raises
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            return f"expected a module that is installed where the trainer runs, or a file, got {name!r}"
        return (
            f"expected a module that can be imported, got {type(error).__name__}: {error}"
            f"{_where(error, folder)}; mend it"
        )
    return None


def _where(error: BaseException, folder: str | None) -> str:
    if isinstance(error, SyntaxError):  # its text names the line, but not the folder
        return f" [{error.filename}:{error.lineno}]"
    frames = [
        f"{at.filename}:{at.lineno}"
        for at in traceback.extract_tb(error.__traceback__)
        if at.filename != __file__ and "importlib" not in at.filename
        and (folder is None or at.filename.startswith(folder + "/"))
    ]  # fmt: skip
    return f" [{', '.join(reversed(frames))}]" if frames else ""
