"""`Launch.pod_patch`: a strategic merge over the rendered pod template, after everything else. Pure."""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launcher.errors import Issue, UsageError
from launcher.kinds.registry import DEFAULT, KINDS
from launcher.objects import KubeObject
from launcher.render.crds import DIRECTIVE, Fault, FieldPath, find_template_faults, format_fields
from trainer.protocol.environment import CONFIG_MOUNT

# Of k8s.io/api/core/v1 (patchMergeKey); lists of other names are replaced.
_MERGE_KEYS = {
    "containers": "name", "initContainers": "name", "ephemeralContainers": "name", "volumes": "name",
    "env": "name", "volumeMounts": "mountPath", "volumeDevices": "devicePath", "ports": "containerPort",
    "imagePullSecrets": "name", "hostAliases": "ip", "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name", "schedulingGates": "name",
}  # fmt: skip
_OUR_FIELDS = ("command", "args", "workingDir", "terminationMessagePath", "name")


class PatchError(UsageError):
    """`pod_patch` touches what is not its own, or gives what no cluster takes.

    Attributes:
        faults: Each with its path inside the patch, as far as it stands there.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        where = "Launch.pod_patch"
        super().__init__(
            problems=[
                Issue(where=f"{where}: {format_fields(path)}" if path else where, message=message)
                for path, message in faults
            ]
        )


def patch_template(template: KubeObject, patch: Mapping[str, Any], *, container: str) -> KubeObject:
    """Return a pod template with a patch laid over it.

    Args:
        template: As rendered.
        patch: As the config has it.
        container: Name of the trainer's container.

    Raises:
        PatchError: It changes what ftlaunch relies on, or the result is no pod template; says all of it.
    """
    faults = find_patch_faults(patch, container=container)
    patched = _merge(template, patch, "")
    assert isinstance(patched, dict)
    faults += _touched(template, patched, container)
    if not faults:  # what the patch has is right by itself: what lacks, or was merged into a wrong place
        faults += [
            (_locate(path, patch, patched), _named(path, message))
            for path, message in find_template_faults(patched)
        ]
    if faults:
        raise PatchError(faults)
    return patched


def name_trainer(patch: Mapping[str, Any], container: str) -> Mapping[str, Any]:
    """Return a patch whose trainer's container is called as it is in the kind of job that was chosen.

    It may be written by its name in any kind: which one a job is sent as may be the cluster's to say.
    """
    spec = patch.get("spec")
    listed = spec.get("containers") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(listed, list):
        return patch
    names = [item.get("name") if isinstance(item, Mapping) else None for item in listed]
    other = {kind.container for kind in KINDS} - {container}
    if container in names:  # then the other is a container of the user's own
        return patch
    renamed = [
        {**item, "name": container} if name in other else item
        for item, name in zip(listed, names, strict=True)
    ]
    return {**patch, "spec": {**spec, "containers": renamed}}


def find_patch_faults(patch: Mapping[str, Any], *, container: str = DEFAULT.container) -> list[Fault]:
    """Return what of a patch is wrong whatever it is laid over."""
    faults = find_template_faults(dict(patch), partial=True)
    spec = patch.get("spec")
    containers = spec.get("containers") if isinstance(spec, Mapping) else None
    for index, item in enumerate(containers if isinstance(containers, list) else ()):
        if isinstance(item, Mapping) and item.get("name") == container:
            at: FieldPath = ("spec", "containers", index)
            faults += [
                ((*at, field), f"expected {field} of {container!r} as it was rendered, got null")
                for field in _OUR_FIELDS
                if field in item and item[field] is None
            ]
    return faults


def _named(path: FieldPath, message: str) -> str:
    return f"{format_fields(path)}: {message}"


def _locate(path: FieldPath, patch: Any, patched: Any) -> FieldPath:
    """Return where in a patch a place of the result comes from, or the nearest place above it."""
    found: list[str | int] = []
    name = ""
    for part in path:
        if isinstance(patched, list) and isinstance(part, int) and isinstance(patch, list):
            key = _MERGE_KEYS.get(name)
            wanted = patched[part].get(key) if key and isinstance(patched[part], dict) else None
            same = [
                at for at, item in enumerate(patch)
                if isinstance(item, dict) and (item.get(key or "") == wanted if key else at == part)
            ]  # fmt: skip
            if not same:
                break
            here: str | int = same[0]
        elif isinstance(patch, Mapping) and part in patch:
            here = part
        else:
            break
        name = str(part) if isinstance(part, str) else name
        found.append(here)
        patch, patched = patch[here], patched[part]
    return tuple(found)


def _merge(old: Any, patch: Any, name: str) -> Any:
    if isinstance(patch, Mapping):
        if patch.get(DIRECTIVE) == "replace" or not isinstance(old, dict):
            return {key: _merge(None, item, key) for key, item in patch.items() if _kept(key, item)}
        merged = dict(old)
        for key, item in patch.items():
            if item is None:
                merged.pop(key, None)
            elif key != DIRECTIVE:
                merged[key] = _merge(old.get(key), item, key)
        return merged
    if isinstance(patch, list | tuple):
        return _merge_list(old if isinstance(old, list) else [], list(patch), name)
    return copy.deepcopy(patch)


def _kept(key: str, item: Any) -> bool:
    return key != DIRECTIVE and item is not None


def _merge_list(old: list[Any], patch: list[Any], name: str) -> list[Any]:
    key = _MERGE_KEYS.get(name)
    items = [item for item in patch if item != {DIRECTIVE: "replace"}]
    if key is None or len(items) < len(patch) or not all(isinstance(item, Mapping) for item in items):
        return [_merge(None, item, "") for item in items]
    merged = list(old)
    for item in items:
        at = next((index for index, other in enumerate(merged) if other.get(key) == item.get(key)), None)
        if item.get(DIRECTIVE) == "delete":
            merged = [other for other in merged if other.get(key) != item.get(key)]
        elif at is None:
            merged.append(_merge(None, item, ""))
        else:
            merged[at] = _merge(merged[at], item, "")
    return merged


def _touched(old: KubeObject, new: KubeObject, name: str) -> Iterator[Fault]:
    """Say what of ours is no longer as it was rendered."""
    before, after = _container(old, name), _container(new, name)
    if after is None or before is None:
        yield (), f"expected the container {name!r} to stay, got none"
        return
    for field in _OUR_FIELDS:
        if before.get(field) != after.get(field):
            yield (), f"expected {field} of {name!r} as it was rendered, got {after.get(field)!r:.80}"
    if _ours(before) != _ours(after):
        yield (), "expected FTL_* and PADDLE_* variables as they were rendered, got others"
    if _config(before) != _config(after):
        yield (), f"expected the mount {CONFIG_MOUNT} as it was rendered, got another"
    labels, changed = (_mapping(item, "metadata", "labels") for item in (old, new))
    for label, value in labels.items():
        if changed.get(label) != value:
            yield (), f"expected the label {label} as it was rendered, got {changed.get(label)!r:.80}"
    if _mapping(new, "spec").get("restartPolicy") != _mapping(old, "spec").get("restartPolicy"):
        yield (), "expected no other restartPolicy: the operator sets it"


def _mapping(value: object, *keys: str) -> KubeObject:
    """Return what lies below some keys, or nothing: a patch may have put anything there."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _container(template: KubeObject, name: str) -> KubeObject | None:
    containers = _mapping(template, "spec").get("containers")
    listed = containers if isinstance(containers, list) else []
    found = [item for item in listed if isinstance(item, dict) and item.get("name") == name]
    return found[0] if found else None


def _ours(container: KubeObject) -> list[Any]:
    names = ("FTL_", "PADDLE_")
    return [item for item in _items(container, "env") if str(item.get("name")).startswith(names)]


def _config(container: KubeObject) -> list[Any]:
    return [
        item
        for item in _items(container, "volumeMounts")
        if posixpath.normpath(str(item.get("mountPath"))).startswith(CONFIG_MOUNT)
    ]


def _items(container: KubeObject, name: str) -> list[KubeObject]:
    listed = container.get(name)
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
