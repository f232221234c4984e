"""Runs the pods of a job as containers on a network of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from launcher.backends.docker.arguments import (
    POD_LABEL,
    RESTART_LABEL,
    HostContext,
    create_arguments,
)
from launcher.backends.docker.container import EngineContainer
from launcher.backends.docker.engine import Engine
from launcher.backends.podspec import Source
from launcher.backends.replicas import Pod
from launcher.backends.supervised.kubelet import Adopted, Container, Kubelet, StartError
from launcher.backends.supervised.podlog import count_output
from launcher.backends.supervised.state import JobLayout, Request
from launcher.errors import LaunchError
from launcher.names import RUN_ID_LABEL
from launcher.render.manifest import parse_manifest
from trainer.protocol import environment

_ADOPTION = '{{.State.Status}} {{index .Config.Labels "' + RESTART_LABEL + '"}}'
_NEVER_STARTED = ("created", "configured", "initialized")


def find_weights(environ: Mapping[str, str]) -> str | None:
    """Return the user's folder of weights: that of FTL_WEIGHTS, else PaddleClas's own; None where none is."""
    named = environ.get(environment.WEIGHTS) or environ.get(environment.OLD_WEIGHTS, "")
    home = environ.get("HOME")
    for folder in (
        Path(named).expanduser() if named and not named.lstrip().startswith("{") else None,
        Path(home) / ".paddleclas" / "weights" if home else None,
    ):
        if folder is not None and folder.is_dir():
            return str(folder.resolve())
    return None


def is_offline(environ: Mapping[str, str]) -> bool:
    """Say whether the user wants no downloads."""
    said = environ.get(environment.OFFLINE) or environ.get(environment.OLD_OFFLINE, "")
    return said.lower() not in ("", "0", "false", "no", "off")


def engine_of(request: Request) -> Engine:
    """Return the engine that a job runs in."""
    place = {name: value for name, value in request.engine.items() if name != "program"}
    return Engine(program=request.engine["program"], place=place)


def remove_all(engine: Engine, *, run_id: str) -> None:
    """Remove the containers and the network of a run.

    Raises:
        LaunchError: The engine does not let us.
    """
    label = f"label={RUN_ID_LABEL}={run_id}"
    if containers := engine.run("ps", "--all", "--quiet", "--filter", label).split():
        engine.run("rm", "--force", *containers)
    if networks := engine.run("network", "ls", "--quiet", "--filter", label).split():
        engine.run("network", "rm", *networks)


class DockerKubelet(Kubelet):
    """Makes containers; the engine runs them, and they outlive this process if it is killed."""

    def __init__(self, layout: JobLayout, request: Request) -> None:
        """Make the job's network where there is none.

        Raises:
            LaunchError: The engine does not let us.
        """
        self._layout = layout
        self._request = request
        self._manifest = parse_manifest(layout.manifest.read_text(encoding="utf-8"))
        self._engine = engine_of(request)
        ours = f"{RUN_ID_LABEL}={request.run_id}"
        if not self._engine.run("network", "ls", "--quiet", "--filter", f"label={ours}"):
            self._engine.run("network", "create", "--label", ours, self._manifest.name)

    def start(self, pod: Pod, *, restart: int, devices: tuple[str, ...]) -> Container:
        """See `Kubelet.start`."""
        try:
            sources = self._prepare(pod)
            host = HostContext(
                restart=restart, sources=sources, user=self._request.user, devices=devices,
                cpus=os.cpu_count() or 1, podman=self._engine.is_podman,
                rootless=os.geteuid() != 0, weights=find_weights(os.environ), offline=is_offline(os.environ),
            )  # fmt: skip
            if earlier := self._list(pod):
                self._engine.run("rm", "--force", *earlier)
            self._engine.run("create", *create_arguments(pod, self._manifest, host))
            self._engine.run("start", pod.name)
            return EngineContainer(self._engine, pod.name, log=self._layout.log(pod.name, restart))
        except (OSError, ValueError, LaunchError) as error:
            raise StartError(expected="a container that starts", said=error) from error

    def adopt(self, pod: Pod) -> Adopted | None:
        """See `Kubelet.adopt`. One that was made and never started is left to `start`."""
        try:
            if not self._list(pod):
                return None
            status, restart = self._engine.run("inspect", "--format", _ADOPTION, pod.name).split()
            if status in _NEVER_STARTED:
                return None
            log = self._layout.log(pod.name, int(restart))
            container = EngineContainer(self._engine, pod.name, log=log, known_bytes=count_output(log))
            return Adopted(container=container, restart=int(restart))
        except (OSError, ValueError, LaunchError):  # it is made again
            return None

    def _list(self, pod: Pod) -> list[str]:
        """Return this run's containers of a pod."""
        labels = (f"{RUN_ID_LABEL}={self._request.run_id}", f"{POD_LABEL}={pod.name}")
        filters = (part for label in labels for part in ("--filter", f"label={label}"))
        return self._engine.run("ps", "--all", "--quiet", *filters).split()

    def sweep(self, running: tuple[Container, ...], *, kill: bool) -> None:
        """A container leaves nothing behind."""

    def close(self) -> None:
        """Remove containers and network; the logs are in the run folder."""
        with contextlib.suppress(LaunchError):  # `delete` tries again
            remove_all(self._engine, run_id=self._request.run_id)

    def _prepare(self, pod: Pod) -> dict[str, str]:
        """Make the files that a pod mounts and return where everything lies; its user must read them."""
        folder = self._layout.pod(pod.name)
        folder.mkdir(parents=True, exist_ok=True)
        termination = self._layout.termination(pod.name)
        termination.write_bytes(b"")
        termination.chmod(0o666)
        sources = {pod.termination_path: str(termination), **self._request.host_folders}
        for mount in pod.mounts:
            if mount.source is not Source.FILES:
                continue
            root = folder / "files" / mount.volume
            for name, content in mount.files.items():
                file = root / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                file.chmod(0o644)
            for made in (root, *(path for path in root.rglob("*") if path.is_dir())):
                made.chmod(0o755)
            sources[mount.path] = str(Path(root) / mount.sub_path)
        return sources
