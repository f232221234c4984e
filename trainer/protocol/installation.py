"""How this copy of ftlaunch was installed, and so what to type to get one of its extras beside it.

Every message that asks for a package takes its command from here. `pip install 'ftlaunch[trainer]'` alone
would be wrong for most copies: no index may have the project, an editable checkout has its own `make setup`,
and a `pip` on the path may be that of another environment.

Source: PEP 610, `direct_url.json`, which installers write for whatever did not come from an index.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import re
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

PROJECT = "ftlaunch"
PADDLE_INDEX = "https://www.paddlepaddle.org.cn/packages/stable/cu126/"
"""Where Paddle publishes paddlepaddle-gpu; PyPI's ends at 2.6.2."""
_LINUX_MACHINES = ("x86_64",)
"""Source: the files of paddlepaddle 3.3.1 on PyPI: manylinux on x86-64, macOS and Windows; none for musl."""
_TRAINER_PACKAGES = {"paddle": "PaddlePaddle", "numpy": "NumPy", "cv2": "OpenCV", "PIL": "Pillow"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What the installed copy was made of.

    Attributes:
        kind: `editable` and `folder` are source folders, `file` is a wheel or an archive of this machine,
            `url` is any other address, `index` is everything that no address was recorded for.
        place: Path of a folder or a file, or the address; empty for `index`.
        requirements: What each extra asks for, as `(extra, requirement)`.
    """

    kind: Literal["editable", "folder", "file", "url", "index"]
    place: str = ""
    requirements: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """The Python environment that a package has to get into.

    Attributes:
        python: Its interpreter.
        prefix: Its folder.
        has_pip: Whether `python -m pip` works.
        pip: The `pip` that a shell would start; empty where there is none.
        uv: The same of `uv`.
    """

    python: str
    prefix: str
    has_pip: bool
    pip: str
    uv: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """What a package with compiled parts has to fit.

    Attributes:
        system: As `sys.platform`.
        machine: As `platform.machine()`.
        host: The GNU name of the system that the interpreter was built for, such as
            `x86_64-alpine-linux-musl`; empty on Windows.
    """

    system: str
    machine: str
    host: str


def missing_packages() -> list[str]:
    """Return the packages that the trainer needs and that are not installed, by their projects' names."""
    return [name for module, name in _TRAINER_PACKAGES.items() if not _is_here(module)]


def is_trainer_package(module: str | None) -> bool:
    """Tell whether a module, as in `ModuleNotFoundError.name`, belongs to what the extra `trainer` brings."""
    return (module or "").partition(".")[0] in _TRAINER_PACKAGES


def trainer_fix() -> str:
    """Return what to do where the packages of the trainer are missing, for the CPU and for GPUs."""
    if instead := train_elsewhere():
        return instead
    return f"{install_command('trainer')} (for GPUs: {install_command('gpu')})"


def train_elsewhere(interpreter: Interpreter | None = None) -> str:
    """Return what to do where PaddlePaddle publishes no package for this system; empty where it does.

    Args:
        interpreter: None is the one that runs.
    """
    found = interpreter or read_interpreter()
    if found.system != "linux":
        return ""
    if "musl" in found.host:
        return (
            "PaddlePaddle has no package for Linux with musl, such as Alpine; train on a cluster or in the "
            "image (--on kubernetes, --on docker), or install this on a Linux with glibc, such as Debian"
        )
    if found.machine not in _LINUX_MACHINES:
        return (
            f"PaddlePaddle has no package for Linux on {found.machine}; train on a cluster "
            "(--on kubernetes), or install this on x86-64"
        )
    return ""


def read_interpreter() -> Interpreter:
    """Look at the interpreter that runs."""
    host = sysconfig.get_config_var("HOST_GNU_TYPE") or ""
    return Interpreter(system=sys.platform, machine=platform.machine(), host=str(host))


def missing_library(error: ImportError) -> str:
    """Return the library of the system whose absence made an import fail; empty for other failures.

    Source: what glibc's `dlopen` says, which CPython makes the text of its ImportError.
    """
    found = re.match(r"(\S+\.so[.\d]*): cannot open shared object file", str(error))
    return found[1] if found else ""


def install_command(
    extra: str, *, origin: Origin | None = None, environment: Environment | None = None
) -> str:
    """Return the shell command that installs an extra beside this very copy, into its own environment.

    Args:
        extra: One of pyproject.toml.
        origin: None looks it up.
        environment: None is the one that runs.
    """
    origin = origin or read_origin()
    environment = environment or read_environment()
    if extra == "trainer" and _is_made_by_make(origin, environment):
        return shlex.join(["make", "-C", origin.place, "setup"])
    words = _pip(environment)
    if extra == "gpu":
        words += ["--extra-index-url", PADDLE_INDEX]
    return shlex.join([*words, *_what(extra, origin)])


def packages_command(requirements: Iterable[str], *, environment: Environment | None = None) -> str:
    """Return the shell command that installs packages of other projects into this environment."""
    return shlex.join([*_pip(environment or read_environment()), *requirements])


def read_origin() -> Origin:
    """Look up how the copy that runs was installed."""
    try:
        found = metadata.distribution(PROJECT)
    except metadata.PackageNotFoundError:  # run from a folder on PYTHONPATH
        root = Path(__file__).resolve().parents[2]
        is_checkout = (root / "pyproject.toml").is_file()
        return Origin(kind="folder", place=str(root)) if is_checkout else Origin(kind="index")
    requirements = tuple(_by_extra(found.requires or ()))
    return parse_origin(found.read_text("direct_url.json"), requirements=requirements)


def parse_origin(text: str | None, *, requirements: Sequence[tuple[str, str]] = ()) -> Origin:
    """Read `direct_url.json`; what cannot be read counts as none."""
    asked = tuple(requirements)
    try:
        record = json.loads(text or "{}")
        url = str(record.get("url", "")) if isinstance(record, dict) else ""
    except (ValueError, RecursionError):
        record, url = {}, ""
    if not url:
        return Origin(kind="index", requirements=asked)
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "file":
        vcs = record.get("vcs_info")
        name = vcs.get("vcs") if isinstance(vcs, dict) else None
        return Origin(kind="url", place=f"{name}+{url}" if name else url, requirements=asked)
    folder = record.get("dir_info")
    if isinstance(folder, dict):
        kind: Literal["editable", "folder"] = "editable" if folder.get("editable") is True else "folder"
        return Origin(kind=kind, place=path, requirements=asked)
    return Origin(kind="file", place=path, requirements=asked)


def read_environment() -> Environment:
    """Look at the environment that runs."""
    return Environment(
        python=sys.executable,
        prefix=sys.prefix,
        has_pip=_is_installed("pip"),
        pip=shutil.which("pip") or "",
        uv=shutil.which("uv") or "",
    )


def _what(extra: str, origin: Origin) -> list[str]:
    """Return the words that name the extra of this copy.

    A copy whose source is no longer there is completed by the requirements that it recorded itself.
    """
    if origin.kind == "url":
        return [f"{PROJECT}[{extra}] @ {origin.place}"]
    if origin.kind == "index":
        # pip takes the copy that is installed already, and asks the index only for what the extra adds.
        return [f"{PROJECT}[{extra}]"]
    if not Path(origin.place).exists():
        own = [requirement for key, requirement in origin.requirements if key == extra]
        return own or [f"{PROJECT}[{extra}]"]
    place = f"{origin.place}[{extra}]"
    return ["-e", place] if origin.kind == "editable" else [place]


def _pip(environment: Environment) -> list[str]:
    own = str(Path(environment.python).parent)
    if environment.has_pip:
        is_own = environment.pip and str(Path(environment.pip).parent) == own
        return ["pip", "install"] if is_own else [environment.python, "-m", "pip", "install"]
    if environment.uv:  # its environments have no pip
        return ["uv", "pip", "install", "--python", environment.python]
    return ["pip", "--python", environment.python, "install"]


def _is_made_by_make(origin: Origin, environment: Environment) -> bool:
    """Tell whether this is the `.venv` that `make setup` of the checkout makes, and has yet to fill."""
    root = Path(origin.place)
    return (
        origin.kind == "editable"
        and (root / "Makefile").is_file()
        and Path(environment.prefix) == root / ".venv"
        and not (root / ".venv" / "run.stamp").exists()  # with it, make finds nothing to do
    )


def _by_extra(requires: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Yield `(extra, requirement)` of `Requires-Dist` lines such as `numpy>=1.26; extra == 'trainer'`."""
    for line in requires:
        requirement, _, marker = line.partition(";")
        found = re.search(r"""extra\s*==\s*['"]([^'"]+)['"]""", marker)
        if found:
            yield found[1], requirement.strip()


def _is_here(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # ValueError: a module that somebody put into sys.modules by hand
        return False


def _is_installed(project: str) -> bool:
    # Not `find_spec`: setuptools hooks into the search for pip, and warns there of what it does to distutils.
    try:
        metadata.distribution(project)
    except metadata.PackageNotFoundError:
        return False
    return True
