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
from launcher.backends.docker.users import choose_user, is_sensitive, make_folder, user_of
from launcher.backends.replicas import Pod, ReplicaError
from launcher.backends.supervised.backend import SupervisedBackend
from launcher.backends.supervised.state import JobLayout, JobRecord, Request, load_request
from launcher.errors import Issue, TakenError, UsageError
from launcher.names import RUN_ID_LABEL
from launcher.plan.handle import BackendKind, Handle
from launcher.render.manifest import Manifest


class DockerBackend(SupervisedBackend):
    """See `SupervisedBackend`. Containers outlive a supervisor that is killed; its successor adopts them."""

    kind: ClassVar[BackendKind] = "docker"
    supervisor_module = "launcher.backends.docker.supervisor"
    pods_outlive = True

    def __init__(
        self, runs_dir: Path, *, engine: Engine | None = None,
        gpus: Callable[[], tuple[str, ...]] = list_gpus,
    ) -> None:  # fmt: skip
        """`engine` runs new jobs; None looks for one then. Jobs remember theirs."""
        super().__init__(runs_dir, gpus=gpus)
        self._engine = engine

    def is_sensitive(self, folder: Path, *, home: Path) -> bool:
        """See `Backend.is_sensitive`."""
        return is_sensitive(folder, home=home)

    def make_host_folder(self, folder: Path, *, manifest: Manifest) -> str | None:
        """See `Backend.make_host_folder`; as root, for the user of the containers."""
        if os.geteuid():
            return super().make_host_folder(folder, manifest=manifest)
        return make_folder(folder, user_of(manifest))

    def command_in(self, handle: Handle, *, node: int, command: Sequence[str], terminal: bool) -> list[str]:
        """See `Backend.command_in`."""
        layout, record = self._require(handle)
        engine = engine_of(load_request(layout.request))
        place = [f"{name}={value}" for name, value in engine.place.items()]
        options = ["--interactive", *(["--tty"] if terminal else [])]
        pod = next((pod.name for pod in record.pods if pod.node == node), None)
        if pod is None:
            raise UsageError(where=handle, expected=f"a pod of node {node}", got=f"{len(record.pods)} pods")
        return ["env", *place, engine.program, "exec", *options, pod, *command]

    def _request(self, submission: Submission, pods: tuple[Pod, ...]) -> Request:
        engine = self._engine or find_engine()
        remote = engine.remote_address()
        if remote is not None:
            raise ReplicaError(
                where=engine.name,
                expected="an engine of this machine, whose folders jobs mount",
                got=f"{remote!r}",
                fix="unset DOCKER_HOST or use another context, or submit where that engine runs",
            )
        engine.run("version")
        manifest = submission.manifest
        refuse_conflicts(engine, job=manifest.name, pods=[pod.name for pod in pods], run_id=manifest.run_id)
        return Request(
            run_id=manifest.run_id, workdir=str(submission.workdir), devices=self._choose_devices(pods),
            host_folders={path: str(folder) for path, folder in submission.host_folders.items()},
            engine={"program": engine.program, **engine.place}, user=choose_user(manifest),
        )  # fmt: skip

    def _check_names(self, layout: JobLayout, record: JobRecord) -> None:
        engine = engine_of(load_request(layout.request))
        refuse_conflicts(engine, job=record.job, pods=[pod.name for pod in record.pods], run_id=record.run_id)

    def _clear(self, record: JobRecord) -> None:
        layout = self._layout(self._runs_dir / record.job)
        with contextlib.suppress(FileNotFoundError):
            remove_all(engine_of(load_request(layout.request)), run_id=record.run_id)


_LISTS = {
    "container": ("ps", "--all", "--format", "{{.Names}}"),
    "network": ("network", "ls", "--format", "{{.Name}}"),
}


def refuse_conflicts(engine: Engine, *, job: str, pods: Sequence[str], run_id: str) -> None:
    """Look whether the names of a job's containers and of its network are free, or its own.

    Args:
        engine: Asked; nothing is changed.
        job: Name of the job, and so of its network.
        pods: Names of its pods, and so of its containers.
        run_id: Whose containers and networks are its own.

    Raises:
        TakenError: Something else has some of them; names all.
    """
    taken = [
        Issue(
            where=f"{kind} {name!r}",
            expected="a free name",
            got="one that is not this run's",
            fix=f"remove it (`{engine.name} {kind} rm`), or choose another name with --name",
        )
        for kind, names in (("container", pods), ("network", (job,)))
        for name in sorted(set(names) & _others(engine, kind, run_id=run_id))
    ]
    if taken:
        raise TakenError(problems=taken)


def _others(engine: Engine, kind: str, *, run_id: str) -> set[str]:
    everything = _LISTS[kind]
    ours = engine.run(*everything, "--filter", f"label={RUN_ID_LABEL}={run_id}").split()
    return set(engine.run(*everything).split()) - set(ours)
