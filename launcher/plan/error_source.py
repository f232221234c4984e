"""Which key of the config a field of the manifest comes from. Pure.

The way back through plan and templates, for what a cluster finds wrong with an object that we made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from launcher.config.launch import LaunchSection
from launcher.config.load import RunConfig
from launcher.kinds.base import JobKind
from launcher.kinds.registry import DEFAULT, find_kind
from launcher.objects import KubeObject
from trainer.config.problems import KeyPath, Problem

_SECTION = "Launch"
_TOKEN = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")
_MAIN: KeyPath = ("spec", "containers", 0)
_JOB: dict[KeyPath, KeyPath] = {
    ("metadata", "name"): ("name",),
    ("metadata", "namespace"): ("namespace",),
}
_TEMPLATE: dict[KeyPath, KeyPath] = {
    ("spec", "nodeSelector"): ("node_selector",),
    ("spec", "affinity"): ("topology_key",),
    ("spec", "affinity", "nodeAffinity"): ("avoid_nodes",),
    ("spec", "priorityClassName"): ("priority_class",),
    ("spec", "serviceAccountName"): ("service_account",),
    ("spec", "imagePullSecrets"): ("image_pull_secrets",),
    ("spec", "terminationGracePeriodSeconds"): ("grace_period",),
    ("spec", "securityContext"): ("run_as",),
    ("spec", "securityContext", "runAsUser"): ("run_as", "user"),
    ("spec", "securityContext", "runAsGroup"): ("run_as", "group"),
    ("spec", "securityContext", "fsGroup"): ("run_as", "fs_group"),
    ("spec", "securityContext", "supplementalGroups"): ("run_as", "supplemental_groups"),
    (*_MAIN, "image"): ("image",),
    (*_MAIN, "imagePullPolicy"): ("image_pull_policy",),
    (*_MAIN, "securityContext", "capabilities"): ("rdma",),
    (*_MAIN, "resources"): ("resources",),
}
_VOLUME_PARTS = {
    "claimName": "claim", "persistentVolumeClaim": "claim", "hostPath": "host_path", "mountPath": "mount",
    "subPath": "sub_path", "secretName": "name", "items": "key",
}  # fmt: skip


def read_field(field: str, *, kind: JobKind = DEFAULT) -> KeyPath:
    """Split a field as servers write it: `spec.a[Worker].b[0]`, `limits[nvidia.com/gpu]`."""
    tokens = _TOKEN.findall(field)
    path = tuple(int(inside) if inside.isdigit() else inside or plain for inside, plain in tokens)
    return _complete(path, kind)


def _complete(path: KeyPath, kind: JobKind) -> KeyPath:
    """Put in what a webhook leaves out that cannot decode a value: our one kind of pods, and container."""
    path = kind.complete_path(path)
    if "containers" in path:
        at = path.index("containers") + 1
        if at < len(path) and not isinstance(path[at], int):
            path = (*path[:at], 0, *path[at:])
    return path


def find_key(
    field: str, job: KubeObject, config: RunConfig, *, beside: Sequence[KubeObject] = ()
) -> KeyPath | None:
    """Return the key of the config that a field of a job object was made from; None where it is ours alone.

    Args:
        field: As a server names it.
        job: The object that was sent.
        config: What it was made from.
        beside: Its companions.
    """
    kind, launch = find_kind(job) or DEFAULT, config.job.launch
    path = read_field(field, kind=kind)
    found: KeyPath | None
    at = len(kind.pods_path)
    if path[:at] == kind.pods_path:
        found = _of_template(path[at:], kind.pod_template_of(job, beside), launch)
    else:
        found = _of_metadata(path, launch) or _longest(path, {**_JOB, **kind.keys})
    return None if found is None else (_SECTION, *found)


def to_problem(field: str, message: str, *, key: KeyPath | None, config: RunConfig) -> Problem:
    """Say what a server finds wrong at the place in the config that it comes from."""
    said = f"{field}: {message}" if field else message
    key = key or ()
    for length in range(len(key), 0, -1):
        location = config.document.locations.get(key[:length])
        if location is not None and location.source:
            return Problem(file=location.source, path=key, message=said)
        if location is not None:
            name = config.document.name
            return Problem(file=name, line=location.line, column=location.column, path=key, message=said)
    return Problem(file=config.document.name, path=key, message=said)


def _of_template(path: KeyPath, template: Any, launch: LaunchSection) -> KeyPath | None:
    if launch.pod_patch and (patched := _of_patch(path, template, launch.pod_patch)):
        return "pod_patch", *patched
    for prefix, read in _LISTS.items():
        if path[: len(prefix)] == prefix:
            return read(path[len(prefix) :], _at(template, prefix), launch)
    return _of_metadata(path, launch) or _longest(path, _TEMPLATE)


def _of_metadata(path: KeyPath, launch: LaunchSection) -> KeyPath | None:
    if path[:1] != ("metadata",) or path[1:2] not in (("labels",), ("annotations",)):
        return None
    kind, name = str(path[1]), ".".join(map(str, path[2:]))  # a label's name has dots of its own
    own: Mapping[str, str] = getattr(launch, kind)
    if name in own:
        return kind, name
    if kind == "labels" and launch.queue and name.startswith("kueue"):
        return "queue", "kueue"
    return (kind,) if own else None


def _longest(path: KeyPath, table: Mapping[KeyPath, KeyPath]) -> KeyPath | None:
    prefixes = (path[:length] for length in range(len(path), 0, -1))
    return next((table[prefix] for prefix in prefixes if prefix in table), None)


def _of_volume(path: KeyPath, items: Any, launch: LaunchSection) -> KeyPath | None:
    del launch
    name = _name_at(items, path)
    part = next((_VOLUME_PARTS[str(item)] for item in reversed(path) if str(item) in _VOLUME_PARTS), None)
    if name == "weights":
        return "weights", "path" if part == "mount" else "claim"
    if name == "shm":
        return "resources", "shm"
    if name == "api-access":
        return ("publish_progress",)
    kind, _, number = name.partition("-")
    if kind not in ("volume", "secret") or not number.isdigit():
        return None
    return (f"{kind}s", int(number), part) if part else (f"{kind}s", int(number))


def _of_env(path: KeyPath, items: Any, launch: LaunchSection) -> KeyPath | None:
    name = _name_at(items, path)
    return ("env", name) if name in launch.env else None


def _of_toleration(path: KeyPath, items: Any, launch: LaunchSection) -> KeyPath | None:
    ours = len(items or ()) - len(launch.tolerations)
    index = path[0] if path else ours
    return ("tolerations", index - ours) if isinstance(index, int) and index >= ours else None


def _of_resource(path: KeyPath, items: Any, launch: LaunchSection) -> KeyPath | None:
    del items
    name = ".".join(map(str, path[1:]))  # as in nvidia.com/gpu
    if name == launch.gpu_resource:
        return ("gpus",)
    return ("resources", name) if name in ("cpu", "memory") else ("resources",)


_LISTS: dict[KeyPath, Callable[[KeyPath, Any, LaunchSection], KeyPath | None]] = {
    ("spec", "volumes"): _of_volume,
    ("spec", "tolerations"): _of_toleration,
    (*_MAIN, "volumeMounts"): _of_volume,
    (*_MAIN, "env"): _of_env,
    (*_MAIN, "resources"): _of_resource,
}
"""Parts whose items tell by their names where they come from."""


def _name_at(items: Any, path: KeyPath) -> str:
    """Return the name of the item of a list that a path leads through."""
    item = _at(items, path[:1])
    return str(item.get("name", "")) if isinstance(item, Mapping) else ""


def _at(value: Any, path: KeyPath) -> Any:
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


def _of_patch(path: KeyPath, template: Any, patch: Any) -> KeyPath | None:
    """Return the place in a pod patch that a field of the patched template comes from, or None."""
    here: list[str | int] = []
    for part in path:
        item = _at(template, (part,))
        if isinstance(patch, Mapping) and part in patch:
            step = part
        elif isinstance(patch, list):
            step = next((number for number, own in enumerate(patch) if _is_same(own, item)), -1)
        else:
            return None if isinstance(patch, Mapping) else tuple(here)
        if step == -1:
            return None
        here.append(step)
        patch, template = patch[step], item
    return tuple(here)


def _is_same(own: Any, item: Any) -> bool:
    """Say whether an item of a patch is the one that became an item of a list."""
    if isinstance(own, Mapping) and isinstance(item, Mapping) and "name" in own:
        return bool(own["name"] == item.get("name"))
    return bool(own == item)
