"""Is there a container engine that `--on docker` can use?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

from launcher.backends.docker.engine import Engine, EngineError, find_engine
from launcher.doctor.findings import Finding, fail, ok, warn
from launcher.errors import UnreachableError, UsageError


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
