"""Runs the pods of a job as containers on a network of its own.

A container outlives the supervisor, and its output is not a pipe of ours: it is followed by `logs
--follow`, which ends with the engine, too. So that a stream ends says nothing; the engine is asked, and
where the container lives on, the stream is begun again and what was taken of it already is passed over
(`Output.begin_again`). The next supervisor finds containers by their labels and goes on the same way.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from launcher.backends.docker.arguments import (
    POD_LABEL,
    RESTART_LABEL,
    HostContext,
    create_arguments,
)
from launcher.backends.docker.engine import Engine, EngineError
from launcher.backends.podspec import Source
from launcher.backends.replicas import Pod
from launcher.backends.supervised.identity import identify
from launcher.backends.supervised.kubelet import Adopted, Container, Kubelet, StartError
from launcher.backends.supervised.podlog import Output, count_output
from launcher.backends.supervised.state import JobLayout, Request
from launcher.errors import LaunchError, UnreachableError
from launcher.names import RUN_ID_LABEL
from launcher.render.manifest import parse_manifest
from trainer.protocol import environment
from trainer.protocol.children import start_child_into

_LAST_WORDS_S = 5.0
_ASK_AGAIN_S = 1.0
_GONE = 137  # as the training operator counts a pod that was deleted
_STATE = "{{.State.Status}} {{.State.ExitCode}}"
_ENDED = ("exited", "dead", "stopped")  # the last is Podman's, of a container that it has not cleaned up yet


class EngineContainer(Container):
    """A container that has been started, and a `logs --follow` that shows its output from the beginning."""

    def __init__(self, engine: Engine, name: str, *, log: Path, known_bytes: int = 0) -> None:
        """`known_bytes` of its output are in the log already."""
        self._engine = engine
        self._name = name
        self._ask_at_s = 0.0
        self._exit_code: int | None = None
        # Its writing end stays ours: the stream may end before the container does, and is then begun again.
        reading, self._writing = os.pipe()
        self.output = Output(reading, log=log, known_bytes=known_bytes)
        self._follow()

    def has_ended(self) -> bool:
        """Say whether the container has ended: its stream has, and the engine says so.

        The stream ends with the engine, too; where the container lives on, it is followed again.
        """
        if self._process.poll() is None or time.monotonic() < self._ask_at_s:
            return False
        self._ask_at_s = time.monotonic() + _ASK_AGAIN_S
        try:
            status, code = self._engine.run("inspect", "--format", _STATE, self._name).split()
        except UnreachableError:
            return False
        except EngineError:  # removed by somebody
            self._exit_code = _GONE
            return True
        if status in _ENDED:
            self._exit_code = int(code)
            return True
        self._follow()
        return False

    def stop(self) -> None:
        """Send SIGTERM to the container's first process."""
        self._signal("TERM")

    def kill(self) -> None:
        """Send SIGKILL."""
        self._signal("KILL")

    def close(self) -> int:
        """See `Container.close`."""
        self._process.wait()
        os.close(self._writing)
        self.output.drain(within_s=_LAST_WORDS_S)
        self.output.close()
        return self._exit_code if self._exit_code is not None else _GONE

    def _signal(self, name: str) -> None:
        with contextlib.suppress(LaunchError):  # it has ended; or the next look finds that out
            self._engine.run("kill", "--signal", name, self._name)

    def _follow(self) -> None:
        self.output.begin_again()
        self._process = start_child_into(
            self._writing, [self._engine.program, "logs", "--follow", self._name],
            env=self._engine.environment(),
        )  # fmt: skip
        self.process = None
        with contextlib.suppress(ProcessLookupError):
            self.process = identify(self._process.pid)


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
