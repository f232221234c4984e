"""The container engine's command line: which one, where, and its answers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from launcher.errors import LaunchError, UnreachableError, UsageError

RUNTIMES = ("docker", "podman")
_PLACES = ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST")
_PATIENCE_S = 600.0  # a create may pull the image


class EngineError(LaunchError):
    """The engine refuses a command."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """One engine.

    Attributes:
        program: Path of its command line.
        place: Variables that say where it is, of those that Docker and Podman read.
    """

    program: str
    place: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What its program is called."""
        return PurePath(self.program).name

    @property
    def is_podman(self) -> bool:
        """Whether it is Podman, by the program's name."""
        return "podman" in self.name

    def remote_address(self) -> str | None:
        """Return where the engine is if that is another machine, which has none of our folders."""
        address = self.place.get("CONTAINER_HOST" if self.is_podman else "DOCKER_HOST", "")
        if not address and not self.is_podman:
            with contextlib.suppress(
                EngineError
            ):  # the context that is in use, by DOCKER_CONTEXT or for good
                address = self.run("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
        return address if address and not address.startswith(("unix:", "npipe:")) else None

    def environment(self) -> dict[str, str]:
        """Return the environment of the engine's program."""
        outer = {name: value for name, value in os.environ.items() if name not in _PLACES}
        return {**outer, **self.place}

    def run(self, *arguments: str) -> str:
        """Run a command and return what it says.

        Raises:
            EngineError: It failed.
            UnreachableError: There is no engine to talk to.
        """
        try:
            done = subprocess.run(
                [self.program, *arguments], env=self.environment(), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, errors="replace", timeout=_PATIENCE_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnreachableError(where=self.program, expected="an answer", said=error) from error
        if done.returncode:
            said = " ".join(done.stderr.split())[:500] or f"exit code {done.returncode}"
            if "Cannot connect" in said or "connection refused" in said or "permission denied" in said:
                raise UnreachableError(
                    where=self.program, expected="a running engine that lets us in", said=said
                )
            raise EngineError(f"{self.name} {arguments[0]}: {said}")
        return done.stdout.strip()


def find_engine(runtime: str | None = None, *, environ: Mapping[str, str] = os.environ) -> Engine:
    """Return the engine to use.

    Args:
        runtime: A name or a path; None for `FTLAUNCH_CONTAINER_RUNTIME`, else the first of docker and podman.
        environ: Says where it is, too.

    Raises:
        UsageError: There is none.
    """
    asked = runtime or environ.get("FTLAUNCH_CONTAINER_RUNTIME")
    names = (asked,) if asked else RUNTIMES
    path = environ.get("PATH")
    found = next((program for name in names if (program := shutil.which(name, path=path))), None)
    if found is None:
        raise UsageError(
            where="--on docker",
            expected=f"{' or '.join(names)} on PATH",
            got="neither",
            fix="install one, or name it with --container-runtime",
        )
    return Engine(program=found, place={name: environ[name] for name in _PLACES if environ.get(name)})
