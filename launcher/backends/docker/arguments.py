"""A pod of a rendered manifest -> the arguments of the engine's `create`. Pure.

A container differs from the cluster's in what `DIFFERENCES` names; a test holds all else equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launcher.backends.podspec import Source
from launcher.backends.replicas import Pod
from launcher.names import RUN_ID_LABEL
from launcher.quantity import read_quantity
from launcher.render.manifest import Manifest
from trainer.protocol import environment

DIFFERENCES: Mapping[str, str] = {
    "POD_IP_DUMMY": "an address is known only once the container runs; its name leads to it",
    "PADDLE_MASTER": "as POD_IP_DUMMY, on node 0",
    environment.WEIGHTS: "the user's folder of pretrained weights, mounted read-only, where there is one",
    environment.OFFLINE: "the user's, where it is set",
}
JOB_LABEL = "ftlaunch.io/job"
POD_LABEL = "ftlaunch.io/pod"
RESTART_LABEL = "ftlaunch.io/incarnation"
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the mount of that name
_PULL = {"Always": "always", "IfNotPresent": "missing", "Never": "never"}


@dataclass(frozen=True, kw_only=True, slots=True)
class HostContext:
    """What a container gets of this machine.

    Attributes:
        restart: Which start of the pod this is, from 0.
        sources: Mount path -> file or folder, for all that is no empty volume.
        user: `uid:gid`.
        devices: GPUs of this pod.
        cpus: Of this machine: the engine refuses a limit above it.
        podman: The engine is Podman.
        weights: Folder of this machine with pretrained weights, or None.
        offline: Nothing is to be downloaded.
        rootless: It is an ordinary user's, who is user 0 in its containers unless it is told otherwise.
    """

    restart: int
    sources: Mapping[str, str]
    user: str
    devices: tuple[str, ...] = ()
    cpus: int
    podman: bool = False
    rootless: bool = False
    weights: str | None = None
    offline: bool = False


def create_arguments(pod: Pod, manifest: Manifest, host: HostContext) -> list[str]:
    """Return the arguments after `create`."""
    spec = manifest.pod_spec
    container = spec["containers"][0]
    program, *rest = pod.command
    return [
        "--name", pod.name, "--hostname", pod.name, "--network", manifest.name, "--network-alias", pod.name,
        "--label", f"{RUN_ID_LABEL}={manifest.run_id}", "--label", f"{JOB_LABEL}={manifest.name}",
        "--label", f"{POD_LABEL}={pod.name}", "--label", f"{RESTART_LABEL}={host.restart}",
        "--pull", _PULL[container.get("imagePullPolicy", "IfNotPresent")],
        "--restart", "no", "--user", host.user, "--stop-timeout", str(math.ceil(pod.grace_s)),
        *_security(spec, container, host), *_resources(container, host), *_gpus(host),
        *_mounts(pod, spec, host),
        *(["--workdir", pod.working_dir] if pod.working_dir else []),
        *(part for name, value in pod.env.items() for part in ("--env", f"{name}={value}")),
        *_weights(host),
        "--entrypoint", program, pod.image, *rest,
    ]  # fmt: skip


def _security(spec: Mapping[str, Any], container: Mapping[str, Any], host: HostContext) -> list[str]:
    pod, own = spec.get("securityContext") or {}, container.get("securityContext") or {}
    arguments = ["--read-only"] if own.get("readOnlyRootFilesystem") else []
    if own.get("allowPrivilegeEscalation") is False:
        arguments += ["--security-opt", "no-new-privileges"]
    capabilities = own.get("capabilities") or {}
    arguments += [part for name in capabilities.get("drop", ()) for part in ("--cap-drop", name)]
    arguments += [part for name in capabilities.get("add", ()) for part in ("--cap-add", name)]
    groups = dict.fromkeys([pod.get("fsGroup"), *pod.get("supplementalGroups", ())])
    arguments += [part for group in groups if group is not None for part in ("--group-add", str(group))]
    return [*arguments, "--userns", "keep-id"] if host.podman and host.rootless else arguments


def _resources(container: Mapping[str, Any], host: HostContext) -> list[str]:
    limits = (container.get("resources") or {}).get("limits") or {}
    arguments = []
    if "cpu" in limits:
        arguments += ["--cpus", str(min(float(read_quantity(str(limits["cpu"]))), host.cpus))]
    if "memory" in limits:
        memory = str(int(read_quantity(str(limits["memory"]))))
        arguments += ["--memory", memory, "--memory-swap", memory]  # no swap, as on a node
    return arguments


def _gpus(host: HostContext) -> list[str]:
    if not host.devices:
        return []
    if host.podman:
        return [part for device in host.devices for part in ("--device", f"nvidia.com/gpu={device}")]
    return ["--gpus", f'"device={",".join(host.devices)}"']  # the quotes keep the commas in one field


def _mounts(pod: Pod, spec: Mapping[str, Any], host: HostContext) -> list[str]:
    sizes = {
        volume["name"]: volume["emptyDir"]["sizeLimit"]
        for volume in spec.get("volumes", [])
        if (volume.get("emptyDir") or {}).get("sizeLimit") is not None
    }
    arguments = []
    for mount in pod.mounts:
        size = int(read_quantity(str(sizes[mount.volume]))) if mount.volume in sizes else None
        if mount.path == _SHARED_MEMORY:
            arguments += ["--shm-size", str(size)] if size is not None else []
        elif mount.source in (Source.EMPTY, Source.MEMORY) and mount.path not in host.sources:
            limit = f",size={size}" if size is not None else ""
            arguments += ["--tmpfs", f"{mount.path}:rw,nosuid,nodev,mode=1777{limit}"]
        else:
            arguments += ["--mount", _bind(host.sources[mount.path], mount.path, mount.read_only)]
    return [*arguments, "--mount", _bind(host.sources[pod.termination_path], pod.termination_path, False)]


def _weights(host: HostContext) -> list[str]:
    """Show a container the weights that its user keeps, as `trainer` typed by hand finds them."""
    arguments = ["--env", f"{environment.OFFLINE}=1"] if host.offline else []
    if host.weights is None:
        return arguments
    place = environment.USERS_WEIGHTS
    mount = _bind(host.weights, place, True)
    return [*arguments, "--mount", mount, "--env", f"{environment.WEIGHTS}={place}"]


def _bind(source: str, target: str, read_only: bool) -> str:
    # Both engines read the value as a line of CSV.
    fields = ["type=bind", f"source={source}", f"target={target}", *(["readonly"] if read_only else [])]
    return ",".join(
        '"' + field.replace('"', '""') + '"' if set(field) & set('",') else field for field in fields
    )
