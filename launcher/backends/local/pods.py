"""Starts one pod of a local job as a process: its folders, its environment, its program.

There is no mount namespace and no cluster network here, so a few variables differ from what the operator
gives: `DIFFERENCES` names them, and a test holds all others equal.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from launcher.backends.podspec import Mount, Source
from launcher.backends.replicas import Pod
from launcher.backends.supervised.state import JobLayout, Request
from trainer.protocol import environment
from trainer.protocol.children import start_child
from trainer.protocol.pathmap import PathMap, format_path_map
from trainer.protocol.python_command import python_command

DIFFERENCES: Mapping[str, str] = {
    "PADDLE_MASTER": "pods share this machine's loopback, and its port must be free",
    environment.COORDINATOR: "as PADDLE_MASTER, for the node processes",
    environment.PATH_MAP: "there is no mount namespace",
    "HOME": "the container's own is a folder of this machine",
    "TMPDIR": "as HOME",
    environment.HOME: "as HOME: weights that were downloaded lie below the user's own, and stay there",
    environment.WEIGHTS: "the user's folder of weights, where this process has one",
    environment.OFFLINE: "as that",
    "CUDA_VISIBLE_DEVICES": "stands for the device plugin, which shows a pod its own GPUs only",
    "PATH": "the image's is not known; this interpreter's folder comes first",
    "LANG": "as PATH",
    "LD_LIBRARY_PATH": "as PATH; drivers and CUDA may lie there",
    "PYTHONSAFEPATH": "pods run in the user's folder, whose own modules must not shadow ours (Python 3.11)",
    "PYTHONPATH": "only where this process has one, which its packages may need",
}
_FROM_HERE = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH")
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the mount of that name, which this machine has too
_PROGRAMS = ("python", "python3")


def prepare_pod(pod: Pod, *, layout: JobLayout, scratch: Path) -> None:
    """Make a pod's folders and files as the kubelet mounts them; empty volumes begin empty."""
    layout.pod(pod.name).mkdir(parents=True, exist_ok=True)
    layout.termination(pod.name).unlink(missing_ok=True)
    shutil.rmtree(scratch / str(pod.index), ignore_errors=True)
    for mount in pod.mounts:
        if mount.source in (Source.EMPTY, Source.MEMORY):
            (_empty_volume(mount, pod, scratch) / mount.sub_path).mkdir(parents=True, exist_ok=True)
        for name, content in mount.files.items():
            file = _files_volume(mount, pod, layout) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def map_paths(pod: Pod, *, layout: JobLayout, request: Request, scratch: Path) -> PathMap:
    """Return where the paths of a pod lie on this machine."""
    prefixes = {mount.path: str(_place(mount, pod, layout, request, scratch)) for mount in pod.mounts}
    prefixes[environment.WORKSPACE] = request.workdir
    prefixes[pod.termination_path] = str(layout.termination(pod.name))
    return PathMap(prefixes)


def pod_environment(
    pod: Pod, *, paths: PathMap, coordinator: str, master: str, devices: tuple[str, ...],
    here: Mapping[str, str],
) -> dict[str, str]:  # fmt: skip
    """Return a pod's environment: the container's, with the few differences that this backend may make.

    Args:
        pod: As the operator makes it.
        paths: Where its paths lie here.
        coordinator: `host:port` for FTL_COORDINATOR: there is no DNS that knows `<job>-worker-0`.
        master: `host:port` for PADDLE_MASTER, of this machine too.
        devices: GPUs of this pod.
        here: This machine's environment, of which only what an image would set is taken.
    """
    base = {name: here[name] for name in _FROM_HERE if name in here}
    python = str(Path(sys.executable).parent)
    base["PATH"] = os.pathsep.join(filter(None, (python, base.get("PATH"))))
    given = dict(pod.env)
    for name in ("HOME", "TMPDIR"):
        if name in given and (moved := paths.apply(given[name])) != given.pop(name):
            given[name] = moved
    return {
        **base,
        **_weights(here),
        **given,
        "CUDA_VISIBLE_DEVICES": ",".join(devices),
        "PADDLE_MASTER": master,
        "PYTHONSAFEPATH": "1",
        environment.COORDINATOR: coordinator,
        environment.PATH_MAP: format_path_map(_of_the_config(paths, pod)),
    }


def _weights(here: Mapping[str, str]) -> dict[str, str]:
    """Return what has the trainer find weights as it does outside of a job, by today's names."""
    found = {environment.HOME: here["HOME"]} if here.get("HOME") else {}
    for name, old in (
        (environment.WEIGHTS, environment.OLD_WEIGHTS), (environment.OFFLINE, environment.OLD_OFFLINE),
    ):  # fmt: skip
        value = here.get(name) or here.get(old, "")
        if not value or value.lstrip().startswith("{"):
            continue
        found[name] = str(Path(value).expanduser()) if name == environment.WEIGHTS else value
    return found


def _of_the_config(paths: PathMap, pod: Pod) -> PathMap:
    # A config that says /tmp/out here means this machine's /tmp: what a pod's own held would be gone with it.
    # A volume with nothing but `local:` is empty in the manifest too, but has its folder here.
    empty = {
        mount.path
        for mount in pod.mounts
        if mount.source in (Source.EMPTY, Source.MEMORY)
        and (
            mount.path == _SHARED_MEMORY
            or paths.prefixes[mount.path].endswith(f"/{pod.index}/{mount.volume}")
        )
    }
    empty -= {environment.WORKSPACE}
    return PathMap({path: here for path, here in paths.prefixes.items() if path not in empty})


def start_pod(pod: Pod, *, env: Mapping[str, str], workdir: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a pod's command in a session of its own; it dies with this process.

    Returns:
        The process, and the reading end of the pipe that its stdout and stderr share.

    Raises:
        OSError: It could not be started.
    """
    program, *arguments = pod.command
    if program in _PROGRAMS and arguments[:1] == ["-m"] and len(arguments) > 1:
        return start_child(python_command(arguments[1], arguments[2:]), env=env, workdir=workdir)
    found = sys.executable if program in _PROGRAMS else shutil.which(program, path=env["PATH"])
    if found is None:
        raise FileNotFoundError(f"{program}: expected a program of this machine, got none of this name")
    return start_child([found, *arguments], env=env, workdir=workdir)


def _place(mount: Mount, pod: Pod, layout: JobLayout, request: Request, scratch: Path) -> Path | str:
    if mount.path in request.host_folders:
        return request.host_folders[mount.path]
    if mount.source is Source.FILES:
        return _files_volume(mount, pod, layout) / mount.sub_path
    return _empty_volume(mount, pod, scratch) / mount.sub_path


def _files_volume(mount: Mount, pod: Pod, layout: JobLayout) -> Path:
    return layout.pod(pod.name) / "files" / mount.volume


def _empty_volume(mount: Mount, pod: Pod, scratch: Path) -> Path:
    if mount.path == _SHARED_MEMORY:
        return Path(_SHARED_MEMORY)
    return scratch / str(pod.index) / mount.volume
