"""Which class a kind of backend is: the one place that compares their names."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.backends.base import Backend
from launcher.backends.devices import list_gpus
from launcher.errors import UsageError
from launcher.plan.handle import BackendKind

if TYPE_CHECKING:
    from launcher.names import KindName


def open_backend(
    kind: BackendKind,
    *,
    runs_folder: Path,
    namespace: str | None = None,
    context: str | None = None,
    runtime: str | None = None,
    gpu_ids: tuple[str, ...] | None = None,
    api: KindName = "paddlejob",
) -> Backend:
    """Make the backend of a kind, and import that kind alone. Sends nothing.

    Args:
        kind: Which.
        runs_folder: Folder of run folders, where jobs of this machine keep their state.
        namespace: Of jobs whose manifest names none; None for the context's. Kubernetes only, as `context`.
        context: Of the kubeconfig; None for its current one.
        runtime: Container engine of new jobs, by name or path; None for the first that is there. Docker only.
        gpu_ids: GPUs of this machine that jobs may use; None for any. Docker and local only.
        api: Kind of job object that a job was sent as; for a new job, `Backend.negotiate` finds it.

    Raises:
        UsageError: The container runtime that is named does not exist, or jobs of this kind do not run on
            this system.
        UnreachableError: No cluster is configured, or its configuration cannot be used.
    """
    if kind != "kubernetes":
        _require_linux(kind)
    gpus = list_gpus if gpu_ids is None else lambda: gpu_ids
    if kind == "local":
        from launcher.backends.local import LocalBackend

        return LocalBackend(runs_folder, gpus=gpus)
    if kind == "docker":
        from launcher.backends.docker import DockerBackend
        from launcher.backends.docker.engine import find_engine

        return DockerBackend(runs_folder, engine=find_engine(runtime) if runtime else None, gpus=gpus)
    from launcher.backends.kubernetes import KubernetesBackend
    from launcher.kinds.registry import kind_named

    return KubernetesBackend.connect(context=context, namespace=namespace or None, jobs=kind_named(api))


def _require_linux(kind: BackendKind) -> None:
    """Jobs of this machine are kept by a process that finds its own again in /proc, and holds them by pidfd.

    Asked before anything of these backends is imported: their modules need what other systems do not have.
    """
    system = platform.system()
    if system != "Linux":
        name = {"Darwin": "macOS", "": "another system"}.get(system, system)
        here = (
            "in WSL (`wsl --install`)"
            if system == "Windows"
            else "in a virtual machine or on a host with Linux"
        )
        raise UsageError(
            where=f"--on {kind}", expected="Linux", got=name,
            fix=f"run it {here}; what concerns a cluster works here, such as --on kubernetes",
        )  # fmt: skip
