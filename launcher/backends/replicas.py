"""A manifest -> its pods, as the controller of its kind makes them. What docker and local run. Pure.

A rehearsal is worth something only where it cannot pass over what a cluster would do. So this is a closed
world:

1. What stands around the pod template is the kind's to understand (`JobKind.check_playable`), and the
   template's own fields are checked against what can be honoured here. Whatever is left, a probe, a
   sidecar, a field of next year, is refused by name, all at once, instead of being left out in silence.
2. Each number from 0 becomes a pod: the template's labels with the controller's over them, then the
   variables in Kubernetes' order, the container's own first, the controller's appended, so that these win.
   References `$(NAME)` see only what stands before them (`launcher.render.references`), and a `fieldRef` is
   answered from the labels, annotations and address of the pod that is being made.
3. Only then are commands expanded, with the variables that are final.

Docker gives a pod its own name as its address, local gives 127.0.0.1; that is all the difference there is
here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.backends.podspec import Mount, Problems, Source, read_mounts, require_known
from launcher.errors import UsageError
from launcher.objects import KubeObject
from launcher.render.manifest import Manifest
from launcher.render.references import expand_references
from trainer.protocol.environment import TERMINATION_PATH

_GRACE_S = 30.0  # of a pod that states none, kubernetes.io "Pod Lifecycle"
_POD_IGNORED = {  # where a pod may run and as whom: nothing that its program could notice here
    "affinity", "automountServiceAccountToken", "enableServiceLinks", "imagePullSecrets", "nodeSelector",
    "priorityClassName", "securityContext", "serviceAccountName", "tolerations", "topologySpreadConstraints",
}  # fmt: skip
_POD_KEYS = {"containers", "volumes", "terminationGracePeriodSeconds"} | _POD_IGNORED
_CONTAINER_KEYS = {
    "args", "command", "env", "image", "imagePullPolicy", "name", "ports", "resources", "securityContext",
    "terminationMessagePath", "volumeMounts", "workingDir",
}  # fmt: skip
_MAP_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class ReplicaError(UsageError):
    """A manifest asks for something that only a cluster can do. Names every such thing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pod:
    """One replica.

    Attributes:
        name: As `pod_name` gives it.
        command: Program and arguments, references to variables replaced.
        env: Resolved, the controller's variables last.
        working_dir: In the pod, or None for the image's own.
        termination_path: In the pod.
        grace_s: From SIGTERM to SIGKILL.
        gpus: Devices.
    """

    name: str
    index: int
    labels: Mapping[str, str]
    image: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str | None
    mounts: tuple[Mount, ...]
    termination_path: str
    grace_s: float
    gpus: int


def expand(manifest: Manifest, *, pod_ip: str = "127.0.0.1") -> tuple[Pod, ...]:
    """Return the pods of a manifest, by index.

    Args:
        manifest: As rendered.
        pod_ip: What a pod finds as its own address.

    Raises:
        ReplicaError: It asks for what cannot be honoured; names every such part.
    """
    problems, kind = Problems(), manifest.kind
    kind.check_playable(manifest.job, problems.add)
    try:
        template = manifest.pod_template
    except KeyError:  # said already, or about to be
        template = {}
    _check_template(template, manifest, problems)
    problems.raise_any(ReplicaError)
    container = template["spec"]["containers"][0]
    mounts = read_mounts(template["spec"], container, manifest.config_map, problems)
    pods = tuple(
        _pod(manifest, template, index=index, mounts=mounts, pod_ip=pod_ip, problems=problems)
        for index in range(kind.replicas_of(manifest.job))
    )
    problems.raise_any(ReplicaError)
    return pods


def expand_by_name(manifest: Manifest) -> tuple[Pod, ...]:
    """Return the pods of a manifest where a pod finds its own name as its address.

    Raises:
        ReplicaError: As `expand`.
    """
    return tuple(
        expand(manifest, pod_ip=pod_name(manifest, pod.index))[pod.index] for pod in expand(manifest)
    )


def pod_name(manifest: Manifest, node: int) -> str:
    """Return what a pod is called here: as on a cluster, or as much of it as is not drawn there."""
    return manifest.kind.pod_name(manifest.name, node) or f"{manifest.name}-{node}"


def find_unmapped(pod: Pod, host_folders: Mapping[str, object]) -> tuple[str, ...]:
    """Return the mounts for which nothing of this machine stands."""
    outside = [mount.path for mount in pod.mounts if mount.source is Source.OUTSIDE]
    return tuple(path for path in outside if path not in host_folders)


def _check_template(template: KubeObject, manifest: Manifest, problems: Problems) -> None:
    kind = manifest.kind
    at = kind.pods_field
    require_known(template, {"metadata", "spec"}, at=at, problems=problems)
    metadata = template.get("metadata", {})
    require_known(metadata, {"labels", "annotations"}, at=f"{at}.metadata", problems=problems)
    pod, at = template.get("spec", {}), f"{at}.spec"
    require_known(pod, _POD_KEYS | kind.pod_fields(manifest.name).keys(), at=at, problems=problems)
    names = [container.get("name") for container in pod.get("containers", [])]
    if names != [kind.container]:
        problems.add(f"{at}.containers", f"one named {kind.container}", names)
        return
    container, at = pod["containers"][0], f"{at}.containers[0]"
    require_known(container, _CONTAINER_KEYS, at=at, problems=problems)
    if not container.get("command"):
        problems.add(f"{at}.command", "a command, because the image's own is not known here", None)


def _pod(
    manifest: Manifest, template: KubeObject, *, index: int, mounts: tuple[Mount, ...], pod_ip: str,
    problems: Problems,
) -> Pod:  # fmt: skip
    kind, name = manifest.kind, pod_name(manifest, index)
    metadata, spec = template.get("metadata", {}), template["spec"]
    container = spec["containers"][0]
    labels = {
        **metadata.get("labels", {}),
        **kind.labels_of_pod(manifest.name, index),
    }
    fields = {
        "metadata.name": name,
        "metadata.namespace": manifest.namespace or "default",
        "status.podIP": pod_ip,
    }
    maps = {"labels": labels, "annotations": metadata.get("annotations", {})}
    ports = {str(port.get("name")): int(port["containerPort"]) for port in container.get("ports", [])}
    added = kind.variables_of_pod(manifest.name, index, replicas=kind.replicas_of(manifest.job), ports=ports)
    listed = [*container.get("env", []), *added]
    env = _resolve(listed, fields, maps, problems)
    return Pod(
        name=name,
        index=index,
        labels=labels,
        image=str(container.get("image", "")),
        command=tuple(
            expand_references(str(part), env) for part in (*container["command"], *container.get("args", ()))
        ),
        env=env,
        working_dir=container.get("workingDir"),
        mounts=mounts,
        termination_path=container.get("terminationMessagePath", TERMINATION_PATH),
        grace_s=float(spec.get("terminationGracePeriodSeconds", _GRACE_S)),
        gpus=_count_devices(container),
    )


def _resolve(
    listed: Sequence[Mapping[str, Any]], fields: Mapping[str, str],
    maps: Mapping[str, Mapping[str, str]], problems: Problems,
) -> Mapping[str, str]:  # fmt: skip
    env: dict[str, str] = {}
    for item in listed:
        source = item.get("valueFrom")
        if source is None:
            env[item["name"]] = expand_references(str(item.get("value", "")), env)
            continue
        path = str(source["fieldRef"].get("fieldPath")) if set(source) == {"fieldRef"} else ""
        match = _MAP_FIELD.fullmatch(path)
        if match is not None:
            env[item["name"]] = maps[match[1]].get(match[2], "")  # a missing label is an empty variable
        elif path in fields:
            env[item["name"]] = fields[path]
        else:
            wanted = f"a value, or a fieldRef to labels, annotations, {', '.join(fields)}"
            problems.add(f"env {item['name']}", wanted, source)
    return env


def _count_devices(container: KubeObject) -> int:
    limits = (container.get("resources") or {}).get("limits") or {}
    return sum(
        int(count) for name, count in limits.items() if "/" in name
    )  # extended resources have a domain
