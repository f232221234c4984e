"""What commands need of this machine, whatever runs the jobs, and what docker and local need besides."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path, PurePath

from launcher.backends.devices import list_gpus
from launcher.backends.docker.engine import Engine, EngineError, find_engine
from launcher.doctor.findings import Finding, fail, ok, warn
from launcher.errors import LaunchError, UnreachableError, UsageError
from launcher.kinds.registry import KINDS
from launcher.render.crds import known_versions
from launcher.render.templates import template_folders
from trainer.protocol import installation
from trainer.protocol.folders import lets_others_in

PYTHONS = ((3, 10), (3, 13))
CLIENTS = (35, 37)
_SHM = Path("/dev/shm")  # noqa: S108 - not a temporary file: ranks pass batches through it
_SHM_BYTES = 1 << 30


def check_python() -> list[Finding]:
    """Look at the interpreter and at ourselves."""
    here = sys.version_info[:2]
    message = f"Python {platform.python_version()}, ftlaunch {metadata.version('ftlaunch')}"
    if not PYTHONS[0] <= here <= PYTHONS[1]:
        low, high = (".".join(map(str, version)) for version in PYTHONS)
        return [warn("python", message, f"use Python {low} to {high}, which ftlaunch is tested with")]
    return [ok("python", message)]


def check_client() -> list[Finding]:
    """Look at the Kubernetes library and at kubectl, which `exec` runs."""
    version = metadata.version("kubernetes")
    major = int(version.partition(".")[0])
    if not CLIENTS[0] <= major <= CLIENTS[1]:
        fix = installation.packages_command([f"kubernetes>={CLIENTS[0]},<{CLIENTS[1] + 1}"])
        return [warn("client", f"kubernetes {version}, which ftlaunch is not tested with", fix)]
    if shutil.which("kubectl") is None:
        return [warn("client", f"kubernetes {version}, no kubectl", "`ftlaunch exec` needs it: install it")]
    return [ok("client", f"kubernetes {version}, and kubectl")]


def check_templates() -> list[Finding]:
    """Look for the templates and schemas that belong to this release."""
    names = {path.name for folder in template_folders() for path in folder.glob("*.j2")}
    try:
        kinds = known_versions()
    except LaunchError:
        kinds = []
    if not {kind.template for kind in KINDS} <= names or not kinds:
        return [fail("templates", "those of this release are missing", "install ftlaunch again")]
    return [ok("templates", f"{len(names)} templates, schemas of {', '.join(kinds)}")]


def check_state(folder: Path) -> list[Finding]:
    """Look at the folder of run records, or where it is going to be."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    fix = "make it yours, or name another folder in FTLAUNCH_STATE"
    if not os.access(place, os.W_OK | os.X_OK):
        return [fail("state", f"{place} cannot be written", fix)]
    if place == folder and lets_others_in(folder.stat()):
        return [warn("state", f"{folder} can be read by others", f"chmod 700 {folder}")]
    return [ok("state", str(folder))]


def check_trainer() -> list[Finding]:
    """Look for Paddle, which `--on local` runs in this very environment."""
    if importlib.util.find_spec("paddle") is None:
        return [fail("paddle", "no PaddlePaddle in this environment", installation.trainer_fix())]
    names = ("paddlepaddle", "paddlepaddle-gpu")
    here = [f"{name} {metadata.version(name)}" for name in names if _is_installed(name)]
    if len(here) > 1:
        return [fail("paddle", " and ".join(here), "pip uninstall one: they share their files")]
    return [ok("paddle", here[0] if here else "of no known version")]


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def check_devices() -> list[Finding]:
    """Count the GPUs and the memory that ranks share."""
    gpus = list_gpus()
    found = [ok("gpus", f"{len(gpus)} here" if gpus else "none here: jobs run as CPU ranks over gloo")]
    if _SHM.is_dir():
        size = shutil.disk_usage(_SHM).total
        if size < _SHM_BYTES:
            fix = f"mount -o remount,size=1G {_SHM}"
            return [*found, warn("shm", f"{_SHM} has {size >> 20} MiB, jobs expect 1 GiB", fix)]
        found.append(ok("shm", f"{_SHM} has {size >> 30} GiB"))
    return found


def check_engine(runtime: str | None) -> list[Finding]:
    """Find it, ask for its version, and see whether it shares our folders.

    Args:
        runtime: A name or a path; None for the first of docker and podman.
    """
    try:
        engine = find_engine(runtime)
    except UsageError as error:
        return [fail("engine", str(replace(error.issue, where="", fix="")), error.fix)]
    name = PurePath(engine.program).name
    try:
        version = engine.run("version", "--format", "{{.Client.Version}}" if engine.is_podman else _SERVER)
        address = engine.remote_address()
    except UnreachableError as error:
        fix = "start it; `docker info` has to answer as this user (group docker, or rootless)"
        return [fail("engine", str(error), fix)]
    except EngineError as error:
        return [fail("engine", str(error), f"see `{name} info`")]
    if address:
        fix = "unset DOCKER_HOST, DOCKER_CONTEXT and CONTAINER_HOST: jobs mount folders of this machine"
        return [fail("engine", f"{name} is that of another machine, {address}", fix)]
    return [ok("engine", f"{name} {version}"), *_check_gpus(engine)]


_SERVER = "{{.Server.Version}}"


def _check_gpus(engine: Engine) -> list[Finding]:
    """Say whether containers can have GPUs (NVIDIA Container Toolkit: the runtime, or CDI devices)."""
    if engine.is_podman:
        return []
    try:
        runtimes = engine.run("info", "--format", "{{json .Runtimes}}")
    except (EngineError, UnreachableError) as error:
        return [warn("gpus", str(error), "see `docker info`")]
    if "nvidia" in runtimes:
        return [ok("gpus", "the engine has NVIDIA's runtime")]
    return [ok("gpus", "the engine has no NVIDIA runtime: jobs run as CPU ranks, or over CDI")]
