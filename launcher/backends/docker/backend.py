"""Jobs as containers of Docker or Podman."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from launcher.backends.base import Submission
from launcher.backends.devices import list_gpus
from launcher.backends.docker.engine import Engine, find_engine
from launcher.backends.docker.kubelet import engine_of, remove_all
from launcher.backends.kept.backend import KeptBackend
from launcher.backends.kept.state import JobRecord, Request, load_request
from launcher.backends.replicas import Pod, ReplicaError
from launcher.errors import LaunchError
from launcher.plan.handle import BackendKind, Handle
from launcher.render.manifest import Manifest


class DockerBackend(KeptBackend):
    """See `KeptBackend`. Containers outlive a keeper that is killed; `resume` and `delete` remove them."""

    kind: ClassVar[BackendKind] = "docker"
    keeper_module = "launcher.backends.docker.keeper"
    lost_reason = "its containers may still run"

    def __init__(
        self, runs_dir: Path, *, engine: Engine | None = None,
        gpus: Callable[[], tuple[str, ...]] = list_gpus,
    ) -> None:  # fmt: skip
        """`engine` runs new jobs; None looks for one then. Jobs remember theirs."""
        super().__init__(runs_dir, gpus=gpus)
        self._engine = engine

    def command_in(self, handle: Handle, *, node: int, command: Sequence[str], terminal: bool) -> list[str]:
        """See `Backend.command_in`."""
        layout, _ = self._require(handle)
        engine = engine_of(load_request(layout.request))
        place = [f"{name}={value}" for name, value in engine.place.items()]
        options = ["--interactive", *(["--tty"] if terminal else [])]
        return [
            "env", *place, engine.program, "exec", *options, f"{handle.job}-worker-{node}", *command
        ]  # fmt: skip

    def _request(self, submission: Submission, pods: tuple[Pod, ...]) -> Request:
        engine = self._engine or find_engine()
        engine.run("version")
        remote = engine.remote_address()
        if remote is not None:
            raise ReplicaError(
                f"DOCKER_HOST: expected an engine of this machine, whose folders jobs mount, got {remote!r}; "
                "unset it, or submit where that engine runs"
            )
        folders = {path: str(folder) for path, folder in submission.host_folders.items()}
        user = _choose_user(
            submission.manifest, [path for pod in pods[:1] for path in _written(pod, folders)]
        )
        return Request(
            run_id=submission.manifest.run_id, host_folders=folders, workdir=str(submission.workdir),
            devices=self._choose_devices(pods), engine={"program": engine.program, **engine.place}, user=user,
        )  # fmt: skip

    def _clear(self, record: JobRecord) -> None:
        layout = self._layout(self._runs_dir / record.job)
        with contextlib.suppress(FileNotFoundError):
            remove_all(engine_of(load_request(layout.request)), run_id=record.run_id)

    def cancel(self, handle: Handle) -> None:
        """See `Backend.cancel`; where the keeper was killed, the containers are told themselves."""
        layout, record = self._require(handle)
        super().cancel(handle)
        if not record.keeper.is_running() and not record.state.is_terminal:
            engine = engine_of(load_request(layout.request))
            for pod in record.pods:
                with contextlib.suppress(LaunchError):
                    engine.run("kill", "--signal", "TERM", pod.name)


def _written(pod: Pod, folders: dict[str, str]) -> list[str]:
    return [folders[mount.path] for mount in pod.mounts if mount.path in folders and not mount.read_only]


def _choose_user(manifest: Manifest, written: list[str]) -> str:
    """Return `uid:gid` of the containers: whoever submits, and for root the manifest's.

    As root the folders to write to are given to the manifest's fsGroup, as the kubelet does with a volume.
    """
    if os.geteuid():
        return f"{os.geteuid()}:{os.getegid()}"
    spec = manifest.job["spec"]["paddleReplicaSpecs"]["Worker"]["template"]["spec"]
    context = spec.get("securityContext") or {}
    group = context.get("fsGroup", 1000)
    for folder in map(Path, written):
        if folder.is_dir() and folder.stat().st_gid != group:
            os.chown(folder, -1, group)
            folder.chmod(folder.stat().st_mode | 0o2770)
    return f"{context.get('runAsUser', 1000)}:{context.get('runAsGroup', 1000)}"
